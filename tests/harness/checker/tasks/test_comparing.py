"""Two runs compared: the word, its direction, and a name for everything that cannot be said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from harness.base.scored import Scored
from harness.checker.outcome import Word
from harness.checker.tasks import telling
from harness.checker.tasks.comparing import TasksFinding, compare
from harness.checker.tasks.suite import Question
from harness.checker.tasks.within import p_over_cases
from tests.scored_records import Score, once, repeated

BINARY = st.lists(st.tuples(*[st.sampled_from([0.0, 1.0])] * 2), min_size=1, max_size=25)
GAPPED = st.lists(st.tuples(*[st.sampled_from([0.0, 1.0, None])] * 2), min_size=1, max_size=5)


def found(
    reference: list[Scored],
    candidate: list[Scored],
    *,
    alpha: float = 0.005,
    margin: float | None = None,
    sequential: bool = False,
) -> TasksFinding:
    question = Question(alpha=alpha, margin=margin, sequential=sequential)
    return compare(reference, candidate, question, np.random.default_rng(0))


def losing(lost: int, won: int, same: int) -> tuple[list[float], list[float]]:
    """Scores of a reference and of a candidate that lost and won so many cases."""
    return [1.0] * lost + [0.0] * won + [1.0] * same, [0.0] * lost + [1.0] * won + [1.0] * same


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize(
    ("lost", "won", "direction"), [(30, 4, "worse"), (4, 30, "better"), (60, 0, "worse")]
)
def test_a_clear_direction_is_different_and_said(
    sequential: bool, lost: int, won: int, direction: str
) -> None:
    reference, candidate = losing(lost, won, 200)
    result = found(once(reference, "maths"), once(candidate, "maths"), sequential=sequential)
    assert (result.word, result.different) == (Word.DIFFERENT, ("maths",))
    said = telling.headline(result)
    points = 100 * (won - lost) / (lost + won + 200)
    assert f"maths, {direction} ({points:+.1f} pt, {lost} lost and {won} won of" in said


@pytest.mark.parametrize("sequential", [False, True])
def test_a_small_difference_is_inconclusive_with_the_drop_that_could_be_seen(
    sequential: bool,
) -> None:
    reference, candidate = losing(9, 6, 200)
    result = found(once(reference), once(candidate), sequential=sequential)
    assert (result.word, result.different) == (Word.INCONCLUSIVE, ())
    assert "do not show a difference" in telling.headline(result)
    (suite,) = result.suites
    assert suite.smallest is not None and 0.05 < suite.smallest < 0.2


def test_holm_makes_one_of_many_suites_need_more() -> None:
    reference, candidate = losing(12, 1, 50)
    alone = found(once(reference, "a"), once(candidate, "a"))
    names = [f"s{i}" for i in range(9)]
    more = [record for name in names for record in once([1.0] * 20, name)]
    together = found([*once(reference, "a"), *more], [*once(candidate, "a"), *more])
    assert (alone.word, together.word) == (Word.DIFFERENT, Word.INCONCLUSIVE)
    p = alone.suites[0].p
    assert p is not None
    assert together.suites[0].p_holm == pytest.approx(10 * p)


def test_suites_may_differ_together_and_none_by_itself() -> None:
    reference, candidate = losing(16, 1, 50)
    both = [[*once(scores, "a"), *once(scores, "b")] for scores in (reference, candidate)]
    result = found(both[0], both[1], sequential=True)
    assert (result.word, result.different) == (Word.DIFFERENT, ())
    assert "together and none by itself" in telling.headline(result)


@given(BINARY)
@settings(max_examples=40, deadline=None)
def test_swapping_the_sides_turns_the_direction_and_nothing_else(
    pairs: list[tuple[float, float]],
) -> None:
    first, second = zip(*pairs, strict=True)
    one, other = found(once(first), once(second)), found(once(second), once(first))
    a, b = one.suites[0], other.suites[0]
    assert (one.word, a.p, a.p_worse, a.lost) == (other.word, b.p, b.p_better, b.won)
    assert a.log10_worse == pytest.approx(b.log10_better)
    assert a.difference is not None and b.difference is not None
    assert a.difference[0] == -b.difference[1]


@given(GAPPED)
@settings(max_examples=40, deadline=None)
def test_nothing_is_said_that_depends_on_what_a_failed_request_was_worth(
    pairs: list[tuple[Score, Score]],
) -> None:
    first, second = zip(*pairs, strict=True)
    (gapped,) = found(once(first), once(second), margin=0.1).suites
    assert gapped.difference is not None and gapped.log10_within is not None
    for worth in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
        filled = [
            [w if s is None else s for s in side]
            for side, w in zip((first, second), worth, strict=True)
        ]
        (whole,) = found(once(filled[0]), once(filled[1]), margin=0.1).suites
        assert (gapped.p or 1.0) >= (whole.p or 1.0) - 1e-9
        assert gapped.log10_worse <= whole.log10_worse + 1e-9
        assert gapped.log10_better <= whole.log10_better + 1e-9
        assert whole.log10_within is not None
        assert gapped.log10_within <= whole.log10_within + 1e-9
        assert whole.difference is not None
        assert gapped.difference[0] - 1e-9 <= whole.difference[0] <= gapped.difference[1] + 1e-9


def test_failed_requests_alone_show_no_difference_and_are_said() -> None:
    result = found(once([1.0] * 100), once([1.0] * 60 + [None] * 40))
    assert result.word is Word.INCONCLUSIVE
    assert any("candidate 40, of 100; they stay in" in note for note in telling.notes(result))


@pytest.mark.parametrize(
    ("reference", "candidate", "said"),
    [
        (once([]), once([]), []),
        (once([1.0], "a"), once([1.0], "b"), ["a: no case is on both", "b: no case is on both"]),
        (once([1.0]), once([1.0]), ["there is no discordant pair", "with 99 % power, however"]),
        (once([1.0]), once([0.0]), ["sees no spread", "with 99 % power, however"]),
        (once([0.0] * 50), once([0.0] * 50), ["there is no discordant pair", "no spread"]),
        (once([1.0] * 50), once([1.0] * 50), ["there is no discordant pair", "no spread"]),
        (repeated([[0.5, 1]] * 9), repeated([[0.5, 1]] * 9), ["no smallest difference"]),
    ],
)
def test_what_cannot_be_said_is_named_and_is_no_number(
    reference: list[Scored], candidate: list[Scored], said: list[str]
) -> None:
    result = found(reference, candidate)
    assert result.word is Word.INCONCLUSIVE
    notes = "\n".join(telling.notes(result))
    for words in said:
        assert words in notes
    for suite in result.suites:
        assert suite.interval is None
        assert "there is no discordant pair" not in notes or suite.p is None
    assert "nan" not in telling.headline(result) + notes


def test_all_lost_is_different_though_a_bootstrap_sees_no_spread() -> None:
    result = found(once([1.0] * 20), once([0.0] * 20))
    assert result.word is Word.DIFFERENT
    assert result.suites[0].interval is None


def test_a_margin_is_a_statement_of_its_own_beside_the_word() -> None:
    reference, candidate = losing(30, 4, 1966)
    result = found(once(reference), once(candidate), margin=0.05)
    assert (result.word, result.within) == (Word.DIFFERENT, True)
    said = telling.margin(result)
    assert said is not None and said.startswith("not worse by more than 5 pt in any suite")
    assert telling.margin(found(once([1.0]), once([1.0]))) is None


def test_a_margin_is_not_shown_by_few_cases_nor_by_those_that_the_candidate_kept() -> None:
    few = found(once([1.0] * 20), once([1.0] * 20), margin=0.05)
    kept = found(once([1.0] * 500), once([1.0] * 400), margin=0.05)
    gone = found([*once([1.0] * 500), *once([1.0], "b")], once([1.0] * 500), margin=0.05)
    for result, words in ((few, "evidence 10^"), (kept, "left cases out"), (gone, "b, no case")):
        said = telling.margin(result)
        assert not result.within
        assert said is not None and "is not shown" in said and words in said


def test_cases_with_repeats_are_judged_whole() -> None:
    rng = np.random.default_rng(5)
    solved = rng.beta(8, 1, 30)
    reference = repeated((rng.random((30, 32)) < solved[:, None]).astype(float).tolist())
    same = repeated((rng.random((30, 32)) < solved[:, None]).astype(float).tolist())
    worse = repeated((rng.random((30, 32)) < 0.85 * solved[:, None]).astype(float).tolist())
    healthy, faulty = (found(reference, x, margin=0.08) for x in (same, worse))
    assert (healthy.word, faulty.word) == (Word.INCONCLUSIVE, Word.DIFFERENT)
    assert (healthy.within, faulty.within) == (True, False)
    assert healthy.suites[0].test == "sign flips, cases whole"
    assert found(reference, same, margin=0.08, sequential=True).within is False


def test_engines_that_are_the_same_are_called_different_no_more_often_than_promised() -> None:
    """Three suites, 200 runs at alpha .05, seeded. With other seeds a right test fails in 1 of
    1,000 runs."""
    rng = np.random.default_rng(20260402)
    at_once = at_any_moment = 0
    for _ in range(200):
        reference, candidate = (
            [r for name in "abc" for r in once((rng.random(40) < 0.7).tolist(), name)]
            for _ in range(2)
        )
        result = found(reference, candidate, alpha=0.05)
        at_once += result.word is Word.DIFFERENT
        assert result.log10_average is not None
        at_any_moment += result.log10_average >= np.log10(20)
    assert max(at_once, at_any_moment) <= binom.ppf(0.999, 200, 0.05)


def test_a_drop_of_just_the_margin_passes_over_cases_in_about_the_promised_share() -> None:
    """30 cases of 32 repeats, 4,000 suites, seeded; the true mean drop over all cases that might
    have been asked is 5 points. An approximation: at most 1.5 times its alpha."""
    rng = np.random.default_rng(20260403)
    solved = rng.beta(8, 1, (4000, 30))
    loss = rng.beta(1, 3, (4000, 30)) * 4 * 0.05 / (8 / 9)  # (S, C) of what would be solved
    answers = rng.binomial(32, [solved * (1 - loss), solved]) / 32
    lowest = answers[0] - answers[1]
    passed = np.mean([p_over_cases(row, 0.05) <= 0.05 for row in lowest])
    assert 0.03 < passed < 0.075


def test_a_margin_over_cases_needs_spread() -> None:
    for values in ([], [0.1], [0.1] * 5):
        with pytest.raises(ValueError, match="without spread"):
            p_over_cases(np.array(values), 0.05)
