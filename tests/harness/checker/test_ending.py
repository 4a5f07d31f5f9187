"""The end-of-sequence probe: counts of endings, and the exact bound on a share."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from harness.base.reply import ANSWERED, Call, Reply
from harness.checker.ending import Endings, endings, upper


def test_each_ending_is_counted_and_a_failed_request_is_none() -> None:
    call = Call(id="1", name="now", arguments="{}")
    replies = [
        Reply(outcome=ANSWERED, finish_reason="stop", content="Yes."),
        Reply(outcome=ANSWERED, finish_reason="stop", content=" "),
        Reply(outcome=ANSWERED, finish_reason="stop", reasoning="Hm."),
        Reply(outcome=ANSWERED, finish_reason="stop", reasoning="Hm.\n"),
        Reply(outcome=ANSWERED, finish_reason="length", reasoning="Hm"),
        Reply(outcome=ANSWERED, finish_reason="stop", calls=(call,)),
        Reply(outcome="stalled"),
        Reply(outcome="stalled", finish_reason="length"),
    ]
    counts = endings(iter(replies))
    assert counts == Endings(asked=8, answered=6, empty=1, reasoning_only=2, cut=1)
    assert counts.silent == 3


@pytest.mark.parametrize("of", [1, 2, 30, 3000])
def test_of_none_the_bound_has_a_closed_form(of: int) -> None:
    assert upper(0, of) == pytest.approx(1 - 0.05 ** (1 / of), rel=1e-9)
    assert upper(of, of) == 1


def test_three_thousand_answers_without_one_are_below_one_in_a_thousand() -> None:
    assert upper(0, 3000) < 0.001 < upper(0, 2900)


@given(st.integers(0, 400), st.integers(1, 400), st.sampled_from([0.9, 0.95, 0.99]))
def test_at_the_bound_so_few_have_the_chance_that_is_left(
    count: int, more: int, confidence: float
) -> None:
    of = count + more
    bound = upper(count, of, confidence=confidence)
    assert count / of < bound < 1
    assert math.isclose(float(binom.cdf(count, of, bound)), 1 - confidence, rel_tol=1e-6)


@pytest.mark.parametrize(("count", "of"), [(0, 0), (-1, 3), (4, 3)])
def test_of_no_answers_there_is_no_bound(count: int, of: int) -> None:
    with pytest.raises(ValueError, match="a share needs one answer or more"):
        upper(count, of)
