"""The distances against direct computations over whole vocabularies, and naive loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import RequestError
from harness.base.record import Floats, Scores
from harness.checker.distance import (
    REST_FLOOR,
    SEGMENT,
    between,
    divergence,
    means,
    over,
    worst_segment,
    worst_segments,
)
from tests.building import log_softmax, top

SEEDS = st.integers(0, 2**31)


def pair(seed: int, vocabulary: int, spread: float = 1.0) -> tuple[Floats, Floats]:
    """Two distributions (5, V) that are alike; `spread` says how much."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(5, vocabulary))
    return log_softmax(logits), log_softmax(logits + rng.normal(scale=spread, size=logits.shape))


def whole_kl(p: Floats, q: Floats) -> Floats:
    return (np.exp(p) * (p - q)).sum(axis=1)


@settings(max_examples=60)
@given(SEEDS, st.integers(3, 30), st.integers(2, 10), st.sampled_from([0.01, 1.0, 4.0]))
def test_k_is_at_most_the_whole_divergence_and_never_negative(
    seed: int, vocabulary: int, k: int, spread: float
) -> None:
    p, q = pair(seed, vocabulary, spread)
    k = min(k, vocabulary)
    found = divergence(top(p, [0] * 5, k), top(q, [0] * 5, k))
    assert (found >= 0).all()
    assert (found <= whole_kl(p, q) + 2 * REST_FLOOR).all()


@given(SEEDS, st.integers(2, 12))
def test_k_is_the_whole_divergence_where_the_lists_hold_the_vocabulary(
    seed: int, vocabulary: int
) -> None:
    p, q = pair(seed, vocabulary)
    found = divergence(top(p, [0] * 5, vocabulary), top(q, [0] * 5, vocabulary))
    assert found == pytest.approx(whole_kl(p, q), abs=1e-9)


@given(SEEDS, st.integers(3, 30), st.integers(2, 10))
def test_an_engine_is_at_no_distance_from_itself(seed: int, vocabulary: int, k: int) -> None:
    scores = top(pair(seed, vocabulary)[0], [1] * 5, min(k, vocabulary))
    found = between(scores, scores)
    for values in (found.d, found.divergence, found.margin_change):
        assert not values.any()
    assert not found.flip.any()


def one(probabilities: dict[int, float], token: int = 0) -> Scores:
    """One position with these alternatives, in this order."""
    return Scores(
        logprobs=np.log([probabilities.get(token, 1e-9)]),
        top_ids=np.array([list(probabilities)], dtype=np.int32),
        top_logprobs=np.log([list(probabilities.values())]),
    )


def test_ids_that_one_list_lacks_belong_to_the_rest() -> None:
    found = divergence(one({0: 0.5, 1: 0.3}), one({0: 0.4, 2: 0.35}))
    assert found == pytest.approx(0.5 * np.log(0.5 / 0.4) + 0.5 * np.log(0.5 / 0.6))


def test_a_rest_that_rounds_to_nothing_is_floored() -> None:
    reference, candidate = one({0: 0.9, 1: 0.1}), one({0: 0.8, 1: 0.1})
    shared = 0.9 * np.log(0.9 / 0.8)
    assert divergence(reference, candidate) == pytest.approx(
        shared + REST_FLOOR * np.log(REST_FLOOR / 0.1)
    )
    over = replace(reference, top_logprobs=reference.top_logprobs + 1e-7)  # sums above 1
    assert np.isfinite(divergence(over, candidate)).all()


def test_d_is_the_candidates_logprob_less_the_references() -> None:
    found = between(one({0: 0.5, 1: 0.3}), one({0: 0.4, 1: 0.3}))
    assert found.d == pytest.approx(np.log(0.4 / 0.5))


def test_a_flip_is_another_first_id_and_the_margin_is_the_references() -> None:
    found = between(one({0: 0.5, 1: 0.3}), one({1: 0.45, 0: 0.4}))
    assert found.flip.tolist() == [True]
    assert found.margin == pytest.approx(np.log(0.5 / 0.3))
    assert found.margin_change == pytest.approx(np.log(0.5 / 0.3) - np.log(0.4 / 0.45))


def test_the_margin_of_an_id_that_is_not_listed_is_bounded_by_the_smallest() -> None:
    found = between(one({0: 0.5, 1: 0.3}), one({0: 0.6, 2: 0.2}))
    assert not found.flip.any()
    assert found.margin_change == pytest.approx(abs(np.log(0.6 / 0.2) - np.log(0.5 / 0.3)))


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=60))
def test_the_worst_segment_is_the_one_that_a_loop_finds(values: list[float]) -> None:
    mean, start = worst_segment(np.array(values))
    starts = range(max(1, len(values) - SEGMENT + 1))
    means = [float(np.mean(np.abs(values[i : i + SEGMENT]))) for i in starts]
    assert mean == pytest.approx(max(means), abs=1e-9)
    assert means[start] == pytest.approx(max(means), abs=1e-9)


SIZES = st.sampled_from([1e-12, 1e-7, 1e-2, 20.0])  # nats, a sequence each


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), SIZES), min_size=1, max_size=12), SEEDS)
def test_many_sequences_at_once_are_the_same_as_one_after_the_other(
    shapes: list[tuple[int, float]], seed: int
) -> None:
    """To 1e-12 of each sequence's own size, however large its neighbours are."""
    rng = np.random.default_rng(seed)
    alone = [size * rng.standard_normal(length) for length, size in shapes]
    bounds = np.cumsum([0, *map(len, alone)])
    joined = np.concatenate(alone)
    np.testing.assert_allclose(
        means(np.abs(joined), bounds), [np.abs(d).mean() for d in alone], rtol=1e-12
    )
    worst = worst_segments(joined, bounds)
    assert worst.tolist() == [worst_segment(d)[0] for d in alone]
    slow = [
        max(float(np.abs(d[i : i + SEGMENT]).mean()) for i in range(max(1, len(d) - SEGMENT + 1)))
        for d in alone
    ]
    np.testing.assert_allclose(worst, slow, rtol=1e-12)


@pytest.mark.parametrize("bounds", [[0, 0, 3], [0, 3, 3], [0, 1, 1, 3]])
def test_a_sequence_without_a_token_has_no_mean(bounds: list[int]) -> None:
    with pytest.raises(ValueError, match="no token"):
        means(np.ones(3), np.array(bounds))
    with pytest.raises(ValueError, match="no token"):
        worst_segments(np.ones(3), np.array(bounds))


def test_nor_has_it_a_worst_segment() -> None:
    with pytest.raises(ValueError, match="no token"):
        worst_segment(np.array([]))


def test_another_shape_is_refused() -> None:
    reference = one({0: 0.5, 1: 0.3})
    for other in (one({0: 0.5}), one({0: 0.5, 1: 0.3, 2: 0.1})):
        with pytest.raises(RequestError, match="top logprobs"):
            between(reference, other)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_logprob_that_is_no_finite_number_is_refused_with_its_position(value: float) -> None:
    p, q = pair(1, 8)
    reference, candidate = top(p, [0] * 5, 3), top(q, [0] * 5, 3)
    candidate.logprobs[3] = value
    with pytest.raises(RequestError, match="position 4 is not a finite number"):
        between(reference, candidate)


def test_an_alternative_that_is_no_number_is_refused_with_its_position() -> None:
    p, q = pair(1, 8)
    reference, candidate = top(p, [0] * 5, 3), top(q, [0] * 5, 3)
    candidate.top_logprobs[2, 1] = np.nan
    with pytest.raises(RequestError, match="position 3"):
        between(reference, candidate)


@settings(max_examples=60)
@given(SEEDS, st.integers(10, 30), st.integers(2, 9), st.sampled_from([0.01, 1.0, 4.0]))
def test_fewer_alternatives_never_show_more_divergence(
    seed: int, vocabulary: int, fewer: int, spread: float
) -> None:
    """So an endpoint that gives few is never called DIFFERENT for that."""
    p, q = pair(seed, vocabulary, spread)
    reference, candidate = top(p, [0] * 5, 10), top(q, [0] * 5, 10)
    all_of, few = (over(k, reference, candidate) for k in (10, fewer))
    resolved = 1 - np.exp(candidate.top_logprobs).sum(axis=1) > REST_FLOOR  # else it is understated
    assert (few.divergence <= all_of.divergence + 20 * REST_FLOOR)[resolved].all()
    assert np.array_equal(few.d, all_of.d)
    assert np.array_equal(few.flip, all_of.flip)
    assert np.array_equal(few.margin, all_of.margin)


@pytest.mark.parametrize("given", [0, 1])
def test_without_alternatives_there_is_d_and_nothing_that_looks_measured(given: int) -> None:
    p, q = pair(1, 8)
    reference, candidate = top(p, [1] * 5, 4), top(q, [1] * 5, given)
    found = over(given, reference, candidate)
    assert np.array_equal(found.d, candidate.logprobs - reference.logprobs)
    assert np.isnan(found.divergence).all() and np.isnan(found.margin_change).all()
    broken = replace(candidate, logprobs=np.full(5, np.nan))
    with pytest.raises(RequestError, match="position 1 is not a finite number"):
        over(given, reference, broken)
