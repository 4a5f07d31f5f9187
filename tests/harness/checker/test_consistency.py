"""Prefixes of one sequence, and the scores that belong to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.record import Scores
from harness.checker.consistency import (
    CUTS,
    FEWEST,
    at_cuts,
    cuts,
    first_unequal,
    groups,
    kept,
    schedule,
    stacked,
)
from tests.building import log_softmax, top


@given(st.integers(2, 5000))
def test_cuts_ascend_and_leave_a_token_to_predict(length: int) -> None:
    found = cuts(length)
    assert list(found) == sorted(set(found))
    assert 1 <= len(found) <= CUTS
    assert found[0] >= 1
    assert found[-1] == length - 1
    assert length < 8 or len(found) == CUTS


@given(st.integers(0, 2**31), st.integers(5, 40))
def test_the_scores_at_a_cut_are_those_of_the_token_after_the_prefix(
    seed: int, length: int
) -> None:
    """Position t is predicted from t tokens, and the first row is position 1."""
    logprobs = log_softmax(np.random.default_rng(seed).normal(size=(length - 1, 9)))
    whole = top(logprobs, [0] * (length - 1), 4)
    lengths = cuts(length)
    found = at_cuts(whole, lengths)
    for row, prefix in enumerate(lengths):
        after = prefix - 1
        assert found.top_ids[row].tolist() == whole.top_ids[after].tolist()
        assert found.logprobs[row] == logprobs[after].max()


def single(ids: list[int], logprobs: list[float]) -> Scores:
    return Scores(
        logprobs=np.array([logprobs[0]]),
        top_ids=np.array([ids], dtype=np.int32),
        top_logprobs=np.array([logprobs]),
    )


def test_stacked_parts_are_judged_by_the_token_that_is_asked() -> None:
    parts = [single([3, 5], [-0.1, -2.0]), single([7, 3], [-0.2, -3.0])]
    found = stacked(parts, np.array([5, 7], dtype=np.int32))
    assert found.logprobs == pytest.approx([-2.0, -0.2])
    assert found.top_ids.tolist() == [[3, 5], [7, 3]]
    assert found.top_logprobs.tolist() == [[-0.1, -2.0], [-0.2, -3.0]]


def test_a_token_that_is_not_listed_lies_at_the_smallest_that_is() -> None:
    found = stacked([single([3, 5], [-0.1, -2.0])], np.array([9], dtype=np.int32))
    assert found.logprobs == pytest.approx([-2.0])


@given(st.integers(1, 700), st.integers(0, 5))
def test_every_prompt_is_drawn_once_and_each_group_knows_how_many_it_has(
    population: int, seed: int
) -> None:
    rounds = schedule(range(population), seed)
    assert sorted(row for one in rounds for row in one.rows) == list(range(population))
    assert all(one.hit | one.hit_decoding == set(one.rows) for one in rounds)
    found = groups(rounds)
    loads = [group for name, group in found.items() if name.startswith("busy at")]
    assert sum(group.population for group in loads) <= 2 * population
    assert all(group.population >= min(FEWEST, population) // 2 for group in loads)
    hits = found["cache hit"].population + found["cache hit, decoding"].population
    assert found["cache"].population == hits
    assert population < 2 * FEWEST or hits == population


def test_what_is_kept_of_l2_does_not_grow_with_the_trace() -> None:
    assert len(kept(schedule(range(100), 0))) == 100
    assert len(kept(schedule(range(10_000), 0))) == 116


def test_the_first_unequal_position_is_found_in_any_array() -> None:
    one = top(log_softmax(np.arange(12.0).reshape(3, 4)), [0, 1, 2], 2)
    other = top(log_softmax(np.arange(12.0).reshape(3, 4)), [0, 1, 2], 2)
    assert first_unequal(one, other) is None
    other.top_logprobs[1, 1] = np.nextafter(other.top_logprobs[1, 1], 0)
    assert first_unequal(one, other) == 1
    other.logprobs[0] = np.nextafter(other.logprobs[0], 0)
    assert first_unequal(one, other) == 0
