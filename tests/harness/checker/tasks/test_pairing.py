"""The same cases on both sides; what failed or has no partner is counted, and never a score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.scored import Scored
from harness.checker.tasks.pairing import Paired, pair
from tests.scored_records import Score, once, record, repeated

SCORES = st.none() | st.sampled_from([0.0, 0.25, 1.0])
SUITES = st.integers(1, 3).flatmap(
    lambda repeats: st.lists(
        st.tuples(*[st.lists(SCORES, min_size=repeats, max_size=repeats)] * 2), min_size=1
    )
)


def of(reference: list[Scored], candidate: list[Scored]) -> Paired:
    (suite,) = pair(reference, candidate)
    return suite


def test_records_without_a_partner_are_counted_and_in_no_mean() -> None:
    reference = [*once([1, 0, 1]), record("s", "only here", 0, 1.0)]
    found = of(reference, [*once([0, 0]), record("s", "q00000", 1, 1.0)])
    assert (found.cases, found.pairs) == (("q00000", "q00001"), 2)
    assert (found.reference_alone, found.candidate_alone) == (2, 1)
    assert (found.reference_mean, found.candidate_mean) == ((0.5, 0.5), (0.0, 0.0))
    assert found.lowest.tolist() == found.highest.tolist() == [-1, 0]


def test_a_suite_on_one_side_alone_is_there_with_no_case() -> None:
    first, second = pair(once([1], "a"), once([1, 1], "b"))
    assert (first.suite, first.cases, first.reference_alone) == ("a", (), 1)
    assert (second.suite, second.reference_mean, second.candidate_alone) == ("b", None, 2)
    assert pair([], []) == ()


def test_repeats_of_a_case_are_one_unit() -> None:
    found = of(repeated([[1, 1, 0, 0], [1, 1, 1, 1]]), repeated([[0, 0, 0, 1], [1, 1, 1, 1]]))
    assert found.lowest.tolist() == found.highest.tolist() == [-0.25, 0]
    assert (found.pairs, found.binary) == (8, False)


def test_only_single_scores_of_0_and_1_are_binary() -> None:
    assert of(once([0, 1, None]), once([1, 1, 0])).binary
    assert not of(once([0, 1]), once([1, 0.5])).binary
    assert not of(repeated([[0, 1]]), repeated([[0, 1]])).binary


def test_a_failed_request_stays_in_and_is_no_zero() -> None:
    found = of(once([1, 0, None, 1]), once([None, None, 0, 1]))
    assert (found.pairs, found.reference_failed, found.candidate_failed) == (4, 1, 2)
    assert found.lowest.tolist() == [-1, 0, -1, 0]
    assert found.highest.tolist() == [0, 1, 0, 0]
    assert (found.reference_mean, found.candidate_mean) == ((0.5, 0.75), (0.25, 0.75))


@settings(deadline=None)
@given(SUITES)
def test_the_two_differences_are_the_ends_of_all_that_what_failed_could_be_worth(
    rows: list[tuple[list[Score], list[Score]]],
) -> None:
    reference, candidate = zip(*rows, strict=True)
    found = of(repeated(reference), repeated(candidate))

    def filled(scores: tuple[list[Score], ...], worth: float) -> np.ndarray:
        return np.array([np.mean([worth if s is None else s for s in row]) for row in scores])

    ends = [filled(candidate, c) - filled(reference, r) for c in (0.0, 1.0) for r in (0.0, 1.0)]
    assert found.lowest == pytest.approx(np.min(ends, axis=0))
    assert found.highest == pytest.approx(np.max(ends, axis=0))


@settings(deadline=None)
@given(SUITES)
def test_with_the_sides_swapped_every_difference_changes_its_sign(
    rows: list[tuple[list[Score], list[Score]]],
) -> None:
    reference, candidate = zip(*rows, strict=True)
    one = of(repeated(reference), repeated(candidate))
    other = of(repeated(candidate), repeated(reference))
    assert (one.lowest == -other.highest).all()
    assert (one.reference_failed, one.candidate_failed) == (
        other.candidate_failed,
        other.reference_failed,
    )
