"""Who calls a tool where: counted by hand, whatever failed in every bound and in no estimate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.base.trigger import Trigger
from harness.checker.tasks import f1_differences
from harness.checker.tasks.ratios import Measure
from harness.checker.tasks.triggering import (
    TriggerFinding,
    against_itself,
    compare,
    finish_reasons,
    schema,
    usage,
)

FINISHES = {"1": "tool_calls", "0": "stop", "?": None, "l": "length", "f": "content_filter"}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def answer(
    case: str,
    finish_reason: str | None,
    *,
    repeat: int = 0,
    calls: int | None = None,
    valid: bool | None = None,
    tokens: tuple[int | None, int | None] = (None, None),
) -> Trigger:
    return Trigger(
        case=case,
        repeat=repeat,
        finish_reason=finish_reason,
        calls=calls,
        valid=valid,
        prompt_tokens=tokens[0],
        completion_tokens=tokens[1],
    )


def run(*cases: str) -> list[Trigger]:
    """A case a word, a repeat a letter: 1 calls, 0 does not, ? failed, l was cut off,
    f ended in another way."""
    return [
        answer(f"c{number:03}", FINISHES[letter], repeat=repeat)
        for number, letters in enumerate(cases)
        for repeat, letter in enumerate(letters)
    ]


def found(reference: Sequence[str], candidate: Sequence[str]) -> TriggerFinding:
    return compare(run(*reference), run(*candidate), rng())


# Ten cases. Both call in 4 (TP), the candidate alone in 1 (FP), the reference alone in 2 (FN),
# neither in 3 (TN).
#   precision  4 / (4 + 1)             = 4/5
#   recall     4 / (4 + 2)             = 2/3
#   F1         2 (4/5)(2/3) / (22/15)  = (16/15) / (22/15) = 8/11, and 2*4 / (2*4 + 1 + 2) = 8/11
REFERENCE = "1111011000"
CANDIDATE = "1111100000"


def test_f1_is_computed_for_the_user() -> None:
    ten = found(REFERENCE, CANDIDATE)
    assert (ten.cases, ten.pairs) == (10, 10)
    assert (ten.tp, ten.fp, ten.fn, ten.tn) == (4, 1, 2, 3)
    assert ten.precision.estimate == pytest.approx(4 / 5)
    assert ten.recall.estimate == pytest.approx(2 / 3)
    assert ten.f1.estimate == pytest.approx(8 / 11)
    for measure in (ten.precision, ten.recall, ten.f1):
        assert measure.bounds == (measure.estimate, measure.estimate)


def test_schema_accuracy_is_of_the_answers_that_call() -> None:
    # 5 answers call, of which 3 are valid, 1 is not, and 1 calls nothing: 3/5
    answers = [
        *(answer(f"good {i}", "tool_calls", calls=2, valid=True) for i in range(3)),
        answer("bad", "tool_calls", calls=1, valid=False),
        answer("empty", "tool_calls", calls=0),
        *(answer(f"said {i}", "stop", calls=0) for i in range(4)),
    ]
    assert schema(answers).estimate == pytest.approx(3 / 5)
    # two that nobody knows of: 3/7 where both call wrongly, 5/7 where both call rightly
    unknown = [answer("failed", None), answer("not judged", "tool_calls", calls=1)]
    assert schema([*answers, *unknown]).bounds == pytest.approx((3 / 7, 5 / 7))
    assert schema([*answers, *unknown]).estimate == pytest.approx(3 / 5)


def test_a_request_that_failed_is_no_call_that_was_left_out() -> None:
    """Sixteen of twenty are answered, all as the reference did: not 1, and not 16/20 of a hit."""
    twenty = found(["1"] * 20, ["1"] * 16 + ["?"] * 4)
    assert (twenty.tp, twenty.fn, twenty.unanswered, twenty.pairs) == (16, 0, 4, 20)
    assert twenty.recall.estimate == 1
    assert twenty.recall.bounds == pytest.approx((16 / 20, 1))
    assert twenty.f1.bounds == pytest.approx((2 * 16 / (2 * 16 + 4), 1))
    assert twenty.f1.interval is not None
    assert twenty.f1.interval[0] < 0.8


def test_any_other_end_of_a_whole_answer_is_no_call() -> None:
    three = found("1ff", "f1f")
    assert (three.tp, three.fp, three.fn, three.tn) == (0, 1, 1, 1)
    assert three.unanswered == three.reference_unanswered == 0


@pytest.mark.parametrize("letter", "?l")
def test_an_answer_that_failed_or_was_cut_off_is_unanswered_on_either_side(letter: str) -> None:
    ours = found(["1", "0", letter], ["1", "0", "1"])
    theirs = found(["1", "0", "1"], ["1", "0", letter])
    assert (ours.unanswered, ours.reference_unanswered) == (0, 1)
    assert (theirs.unanswered, theirs.reference_unanswered) == (1, 0)
    assert ours.f1.bounds == theirs.f1.bounds == pytest.approx((2 / 3, 1))
    assert theirs.pairs == 3 and theirs.tp + theirs.fp + theirs.fn + theirs.tn == 2


def test_a_case_that_the_candidate_has_no_record_of_is_unanswered() -> None:
    ten = compare(run(*REFERENCE), run(*CANDIDATE)[:8], rng())
    assert (ten.pairs, ten.unanswered, ten.missing) == (10, 2, 2)
    # two cases without a call of the reference: TN or FP
    assert ten.precision.bounds == pytest.approx((4 / 7, 4 / 5))
    assert ten.schema.bounds == (0, 1)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("10?"), st.sampled_from("10?")), max_size=4))
def test_the_bounds_are_the_ends_of_all_that_the_unanswered_could_have_done(
    pairs: list[tuple[str, str]],
) -> None:
    ours, theirs = [p[0] for p in pairs], [p[1] for p in pairs]
    actual = found(ours, theirs)
    options = ["10" if letter == "?" else letter for letter in (*ours, *theirs)]
    every = [found(f[: len(pairs)], f[len(pairs) :]) for f in product(*options)]
    for name in ("precision", "recall", "f1"):
        possible = [e for f in every if (e := getattr(f, name).estimate) is not None]
        bounds = getattr(actual, name).bounds
        assert bounds == (pytest.approx((min(possible), max(possible))) if possible else None)


def test_no_data_is_no_number() -> None:
    nobody: list[TriggerFinding] = [compare([], [], rng()), found("000", "000")]
    for nothing in nobody:
        for measure in (nothing.precision, nothing.recall, nothing.f1, nothing.schema):
            assert measure == Measure(estimate=None, bounds=None, interval=None)
        assert nothing.f1_resampled is None
    assert compare([], [], rng()).usage.prompt_tokens is None


def test_precision_without_a_call_of_the_candidate_is_no_number() -> None:
    silent = found("110", "000")
    assert silent.precision.estimate is None
    assert (silent.recall.estimate, silent.f1.estimate) == (0, 0)
    unasked = found("000", "100")
    assert unasked.recall.estimate is None
    assert (unasked.precision.estimate, unasked.f1.estimate) == (0, 0)


def test_nothing_answered_leaves_all_open() -> None:
    nothing = found("11", "??")
    assert nothing.f1.estimate is nothing.precision.estimate is nothing.recall.estimate is None
    assert nothing.f1.bounds == nothing.recall.bounds == (0, 1)
    assert nothing.precision.bounds == (1, 1)  # of two calls of the reference, none can be an FP
    assert nothing.f1.interval == (0, 1)


def test_twenty_cases_that_agree_do_not_make_an_f1_of_one_for_certain() -> None:
    all_right = found(["1"] * 20, ["1"] * 20)
    assert all_right.f1.estimate == 1
    assert all_right.f1_resampled is None  # no draw is another one
    assert all_right.f1.interval is not None
    # Clopper and Pearson: r = .025^(1/20) = .8316, and F1 = 2 r / (1 + r) = .9080
    assert all_right.f1.interval == pytest.approx((0.9080, 1), abs=1e-4)


def test_a_case_that_the_reference_answered_once_is_held_against_every_repeat() -> None:
    repeated = found(["1", "0"], ["110?", "0001"])
    assert (repeated.cases, repeated.pairs) == (2, 8)
    assert (repeated.tp, repeated.fn, repeated.tn, repeated.fp) == (2, 1, 3, 1)
    assert (repeated.unanswered, repeated.missing) == (1, 0)


def test_repeats_on_both_sides_are_held_against_each_other_one_by_one() -> None:
    repeated = found(["10", "01"], ["11", "0"])
    assert (repeated.tp, repeated.fp, repeated.fn, repeated.tn) == (1, 1, 0, 1)
    assert (repeated.pairs, repeated.unanswered, repeated.missing) == (4, 1, 1)


def test_repeats_of_a_case_are_not_as_many_cases() -> None:
    one = found(["1"] * 16 + ["0"] * 4, ["1"] * 20)
    eight = found(["1"] * 16 + ["0"] * 4, ["1" * 8] * 20)
    assert one.f1.interval is not None and eight.f1.interval is not None
    assert eight.f1.estimate == one.f1.estimate
    assert eight.f1.interval == pytest.approx(one.f1.interval, abs=0.01)


def test_a_record_that_stands_twice_or_has_no_partner_is_refused() -> None:
    with pytest.raises(ValueError, match="'c000', repeat 0: stands there twice"):
        compare(run("1"), [*run("1"), *run("0")], rng())
    with pytest.raises(ValueError, match="'c001', repeat 0: the reference has no such one"):
        compare(run("1"), run("1", "1"), rng())
    with pytest.raises(ValueError, match="'c000', repeat 2: the reference has no such one"):
        compare(run("11"), run("111"), rng())


def test_finish_reasons_are_counted_and_a_failed_request_has_none() -> None:
    answers = run(*"0110?l0")
    assert list(finish_reasons(answers).items()) == [("stop", 3), ("tool_calls", 2), ("length", 1)]
    both = found("1l", "00")
    assert both.finish_reasons == {"stop": 2}
    assert both.reference_finish_reasons == {"length": 1, "tool_calls": 1}


def test_calls_under_another_finish_reason_are_counted_apart() -> None:
    reference = run(*"11110")
    candidate = [
        answer("c000", "tool_calls", calls=1, valid=True),
        answer("c001", "stop", calls=1, valid=True),
        answer("c002", "tool_calls", calls=0),
        answer("c003", "length", calls=1),  # cut off; nothing is said of it
        answer("c004", "stop", calls=0),
    ]
    contradicted = compare(reference, candidate, rng())
    assert contradicted.contradicted == 2
    assert (contradicted.tp, contradicted.fn, contradicted.tn) == (2, 1, 1)


def test_tokens_are_summed_over_the_answers_that_tell_them() -> None:
    answers = [
        answer("a", "stop", tokens=(10, 5)),
        answer("b", "stop", tokens=(7, 0)),
        answer("c", "stop"),
        answer("d", "stop", tokens=(3, None)),
        answer("e", None),
    ]
    told = usage(answers)
    assert (told.prompt_tokens, told.completion_tokens, told.untold) == (20, 5, 2)


def test_without_any_usage_the_tokens_are_unknown_and_not_zero() -> None:
    untold = usage(run(*"01"))
    assert (untold.prompt_tokens, untold.completion_tokens, untold.untold) == (None, None, 2)


def test_the_reference_against_itself_is_the_yardstick() -> None:
    # cases 0-3 as in the first run; of 4 and 5 the second run and the candidate each miss one
    recorded, again, candidate = run(*"111111"), run(*"111101"), run(*"111110")
    beside = against_itself(recorded, again, candidate, rng())
    assert beside.itself.estimate == beside.candidate.estimate == pytest.approx(10 / 11)
    assert beside.difference.estimate == 0
    assert beside.difference.interval is not None and beside.difference.resampled is not None
    for low, high in (beside.difference.interval, beside.difference.resampled):
        assert low < 0 < high and low == pytest.approx(-high, abs=0.03)


def test_a_candidate_that_is_worse_than_the_reference_itself_is_seen() -> None:
    source = rng(5)
    often = source.beta(0.8, 0.4, 1500)
    runs = [
        run(*("01"[int(source.random() < p * share)] for p in often)) for share in (1, 1, 1, 0.85)
    ]
    recorded, again, third, dropping = runs
    same = against_itself(recorded, again, third, rng())
    worse = against_itself(recorded, again, dropping, rng())
    assert same.difference.interval is not None and worse.difference.interval is not None
    assert same.difference.interval[0] < 0 < same.difference.interval[1]
    assert worse.difference.interval[1] < 0
    assert worse.difference.resampled == pytest.approx(worse.difference.interval, abs=0.005)


def test_what_failed_widens_the_difference_from_itself() -> None:
    recorded, again = run(*"1111100000" * 4), run(*"1111000001" * 4)
    whole = against_itself(recorded, again, run(*"1111000001" * 4), rng()).difference
    lacking = against_itself(recorded, again, run(*"111?00000?" * 4), rng()).difference
    # itself: TP 16, FP 4, FN 4: 4/5. The candidate: TP 12 .. 16, FP 0 .. 4, FN 4 .. 8
    assert whole.bounds == (0, 0)
    assert lacking.bounds == pytest.approx((24 / 36 - 4 / 5, 32 / 36 - 4 / 5))
    assert lacking.estimate == pytest.approx(24 / 28 - 4 / 5)


def test_a_seed_gives_the_same_finding_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f1_differences, "REDRAWN", 199)
    reference, candidate = run(*REFERENCE * 8), run(*CANDIDATE * 8)
    one, same, other = (compare(reference, candidate, rng(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one.f1 == other.f1
    assert one.f1_resampled != other.f1_resampled


RUNS = st.lists(
    st.tuples(st.sampled_from("10?"), st.sampled_from("10?")), min_size=1, max_size=30
).map(lambda pairs: tuple([p[side] for p in pairs] for side in (0, 1)))


@settings(deadline=None, max_examples=50)
@given(RUNS)
def test_f1_lies_between_precision_and_recall(runs: tuple[list[str], list[str]]) -> None:
    one = found(*runs)
    p, r, f1 = one.precision.estimate, one.recall.estimate, one.f1.estimate
    assume(p is not None and r is not None)
    assert p is not None and r is not None and f1 is not None
    assert min(p, r) - 1e-12 <= f1 <= max(p, r) + 1e-12
    if p + r:
        assert f1 == pytest.approx(2 * p * r / (p + r))


@settings(deadline=None, max_examples=50)
@given(RUNS)
def test_with_the_sides_swapped_precision_and_recall_are_too(
    runs: tuple[list[str], list[str]],
) -> None:
    one, other = found(*runs), found(*reversed(runs))
    assert (one.precision, one.recall) == (other.recall, other.precision)
    assert (one.f1, one.f1_resampled) == (other.f1, other.f1_resampled)


@settings(deadline=None, max_examples=30)
@given(RUNS, st.randoms())
def test_the_order_of_records_and_the_names_of_cases_change_nothing(
    runs: tuple[list[str], list[str]], random: Random
) -> None:
    reference, candidate = run(*runs[0]), run(*runs[1])
    one = compare(reference, candidate, rng())
    random.shuffle(reference)
    random.shuffle(candidate)
    assert compare(reference, candidate, rng()) == one
    order = list(range(len(runs[0])))
    random.shuffle(order)
    assert found([runs[0][i] for i in order], [runs[1][i] for i in order]) == one


@settings(deadline=None, max_examples=50)
@given(RUNS)
def test_the_interval_holds_the_bounds_and_the_estimate(runs: tuple[list[str], list[str]]) -> None:
    one = found(*runs)
    beside = against_itself(run(*runs[0]), run(*runs[0]), run(*runs[1]), rng()).difference
    for measure in (one.precision, one.recall, one.f1, one.schema, beside):
        if measure.bounds is None:
            assert measure.estimate is measure.interval is None
            continue
        assert measure.interval is not None
        assert measure.interval[0] <= measure.bounds[0] <= measure.bounds[1] <= measure.interval[1]
        if measure.estimate is not None:
            assert measure.bounds[0] <= measure.estimate <= measure.bounds[1]
