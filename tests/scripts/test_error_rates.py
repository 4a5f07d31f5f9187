"""False alarms counted without an engine: who is left out, what is judged, what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.checker.distance import between
from harness.checker.outcome import Word
from harness.checker.tolerance import ClassTolerances, calibrate
from scripts import error_rates
from scripts.answer_sets import AnswerSet, Outcome, corpus_of, judged, units
from scripts.error_rates import HALF, LESS_ALL, LESS_ONE, WHOLE, Checked
from tests.harness.levels import test_forced as level
from tests.scripts.made_up import CORPUS, PROMPTS, SETTINGS, answers, right


def calibrated(rest: Sequence[AnswerSet]) -> ClassTolerances:
    return calibrate("fp32", units(rest, CORPUS), tuple(CORPUS.strata))


def words_of(sets: Sequence[AnswerSet], kind: str = LESS_ONE) -> dict[str, set[Word]]:
    """What is said of each answer set, left out."""
    words: dict[str, set[Word]] = {}
    for one in error_rates.left_out(sets, CORPUS, calibrated, SETTINGS, "made up", kind):
        words.setdefault(one.answers, set()).add(one.outcome.word)
    return words


def ended(word: Word, count: int, digest: str = "a") -> list[Checked]:
    """Checks that ended so, of one answer set."""
    outcome = Outcome(word=word, prompts=8, tokens=800, rows=())
    one = Checked(kind=WHOLE, of="made up", answers="x", digest=digest, seed=0, outcome=outcome)
    return [one] * count


@pytest.mark.parametrize("change", [level.off_by(level.ERROR), level.off_by(1.0)])
def test_answers_are_judged_to_the_digit_as_a_check_judges_them(
    tmp_path: Path, change: level.Change
) -> None:
    check, word, _ = level.judged(tmp_path, change)
    trace = check.trace
    distances = [between(trace[row].scores, change(trace[row].scores)) for row in range(len(trace))]
    outcome = judged(distances, corpus_of(trace), check.tolerances, check.settings)
    assert outcome.word is word is not Word.INCONCLUSIVE
    assert outcome.rows == check.judges[0].rows()
    if word is Word.EQUIVALENT:  # else the worst sequence was asked again
        assert outcome.tokens == check.tokens


def test_the_one_broken_configuration_of_a_pool_is_found_out_and_no_other() -> None:
    words = words_of([*right(6), answers("broken", "two", seed=99, size=0.05)])
    assert words.pop("broken") == {Word.DIFFERENT}
    assert set(words) == {one.name for one in right(6)}
    assert all(found == {Word.EQUIVALENT} for found in words.values())


def test_its_other_loads_and_its_twins_to_the_bit_do_not_hide_it() -> None:
    loads = [answers("broken", "two", seed=seed, size=0.05, load=seed) for seed in (98, 99)]
    twin = answers("twin", "one", seed=99, size=0.05)
    words = words_of([*right(6), *loads, twin])
    for name in ("broken at 98", "broken at 99", "twin"):
        assert words[name] == {Word.DIFFERENT}, name


def test_a_broken_implementation_is_found_out_where_all_of_it_is_left_out() -> None:
    """Its two configurations hide each other where one alone is left out."""
    broken = [answers(f"broken {seed}", "three", seed=seed, size=0.05) for seed in (98, 99)]
    sets = [*right(6), *broken]
    assert words_of(sets)["broken 98"] == {Word.EQUIVALENT}
    assert words_of(sets, LESS_ALL)["broken 98"] == {Word.DIFFERENT}


def test_nothing_is_judged_where_nothing_is_left_to_judge_by() -> None:
    alone = [answers(f"right {seed}", "one", seed=seed) for seed in range(3)]
    assert not words_of(alone, LESS_ALL)
    assert len(words_of(alone, LESS_ONE)) == 3


def test_right_answers_against_their_own_tolerances_are_equivalent_in_whole_and_in_half() -> None:
    tolerances = calibrated(right(6))
    sets = [answers("right", "three", seed=50), answers("faulty", "three", seed=51, size=0.05)]
    found = list(error_rates.against_trace(sets, CORPUS, tolerances, SETTINGS, "made up"))
    assert {(one.answers, one.kind, one.seed) for one in found} == {
        (name, kind, how.seed)
        for name in ("right", "faulty")
        for kind in (WHOLE, HALF)
        for how in SETTINGS
    }
    wrong = {one.kind: one.outcome.word for one in found if one.answers == "faulty"}
    assert wrong == {WHOLE: Word.DIFFERENT, HALF: Word.DIFFERENT}
    assert all(o.outcome.word is not Word.DIFFERENT for o in found if o.answers == "right")
    assert all(o.outcome.word is Word.EQUIVALENT for o in found[:6] if o.kind == WHOLE)
    halves = [one.outcome for one in found if one.kind == HALF]
    assert all(row.population == PROMPTS // 2 for outcome in halves for row in outcome.rows)


def test_a_half_is_a_random_half_of_each_stratum() -> None:
    half = CORPUS.half(0)
    for name, rows in CORPUS.strata.items():
        assert len(set(half.strata[name])) == PROMPTS // 2
        assert set(half.strata[name]) < set(rows)
    assert half == CORPUS.half(0) != CORPUS.half(1)


def test_bounds_are_over_checks_and_over_distinct_answer_sets() -> None:
    """0 of n: the upper bound is 1 - 0.05^(1/n)."""
    checks = [*ended(Word.EQUIVALENT, 100), *ended(Word.EQUIVALENT, 100, "b")]
    found = error_rates.summary(checks)
    assert found["words"]["DIFFERENT"]["upper_95"] == pytest.approx(1 - 0.05 ** (1 / 200))
    assert found["words"]["EQUIVALENT"]["lower_95"] == pytest.approx(0.05 ** (1 / 200))
    assert found["answer_sets"] == 2
    assert found["answer_sets_ever_different_upper_95"] == pytest.approx(1 - 0.05 ** (1 / 2))
    alarmed = error_rates.summary([*checks, *ended(Word.DIFFERENT, 3, "b")])
    assert alarmed["words"]["DIFFERENT"]["count"] == 3
    assert alarmed["answer_sets_ever_different"] == 1


@pytest.mark.parametrize(
    ("right_ones", "wrong_ones", "acceptable"),
    [(199, 0, False), (200, 0, True), (199, 1, True), (397, 2, False), (398, 2, True)],
)
def test_one_false_alarm_in_200_checks_is_accepted_and_fewer_checks_are_not(
    right_ones: int, wrong_ones: int, acceptable: bool
) -> None:
    checks = [*ended(Word.EQUIVALENT, right_ones), *ended(Word.DIFFERENT, wrong_ones)]
    assert error_rates.acceptable(checks) is acceptable


def test_every_false_alarm_is_told_with_the_statistic_that_raised_it() -> None:
    sets = [*right(6), answers("broken", "two", seed=99, lost=15)]
    found = list(error_rates.left_out(sets, CORPUS, calibrated, SETTINGS[:1], "made up", LESS_ONE))
    (alarm,) = error_rates.alarms(found)
    assert alarm.startswith("DIFFERENT: a configuration out, made up, broken, seed 0: F in ")
    lines = error_rates.table(found).splitlines()
    assert lines[2].startswith("| a configuration out | made up | 7 | 1 (")
    assert lines[3].startswith("| A/A and configurations out | all | 7 | 1 (")
