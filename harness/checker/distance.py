"""How far one answer lies from another on the same tokens: pure arithmetic on two Scores.

d_t = lp_candidate(y_t) - lp_reference(y_t) is the difference for the token that stands at t.
"""

from __future__ import annotations

import numpy as np

from harness.base.errors import RequestError
from harness.base.record import Bools, Bounds, Distance, Floats, Scores, whole

FEWEST = 2  # alternatives of a position: fewer have no margin, and no divergence
REST_FLOOR = 1e-6  # the probability left outside both top-k lists is not resolved below this
SEGMENT = 16  # tokens


def between(reference: Scores, candidate: Scores) -> Distance:
    """All distances; RequestError where the candidate's arrays are not of the reference's shape."""
    if candidate.top_ids.shape != reference.top_ids.shape:
        raise RequestError(
            f"the candidate gave {candidate.top_ids.shape} top logprobs (positions, ids), the "
            f"reference has {reference.top_ids.shape}"
        )
    finite = np.isfinite(candidate.logprobs) & np.isfinite(candidate.top_logprobs).all(axis=1)
    _refuse_not_finite(finite & np.isfinite(reference.logprobs))  # in L1 both are the candidate's
    margin = reference.top_logprobs[:, 0] - reference.top_logprobs[:, 1]
    return Distance(
        d=candidate.logprobs - reference.logprobs,
        divergence=divergence(reference, candidate),
        flip=candidate.top_ids[:, 0] != reference.top_ids[:, 0],
        margin=margin,
        margin_change=np.abs(_margin_in(candidate, reference) - margin),
    )


def over(alternatives: int, reference: Scores, candidate: Scores) -> Distance:
    """`between`, over that many alternatives of both.

    The coarser divergence is never larger where the finer one's rest is above its floor.
    """
    if alternatives < FEWEST:
        return _of_given_tokens(reference, candidate)
    return between(reference.best(alternatives), candidate.best(alternatives))


def _of_given_tokens(reference: Scores, candidate: Scores) -> Distance:
    """d alone, of a candidate that names no alternatives.

    What the alternatives would show is not a number, and no flip: only A and S may be judged.
    """
    d = candidate.logprobs - reference.logprobs
    _refuse_not_finite(np.isfinite(d))
    nothing = np.full(len(d), np.nan)
    return Distance(
        d=d,
        divergence=nothing,
        flip=np.zeros(len(d), dtype=np.bool_),
        margin=nothing,
        margin_change=nothing,
    )


def _refuse_not_finite(finite: Bools) -> None:
    if not finite.all():
        bad = int(np.argmin(finite))
        raise RequestError(f"the candidate's logprob at position {bad + 1} is not a finite number")


def divergence(reference: Scores, candidate: Scores) -> Floats:
    """K_t (N,): KL(reference || candidate) over the ids in both lists, and the rest as one.

    sum over v in V_t of p_ref(v) (lp_ref - lp_cand)  +  p_rest ln(p_rest_ref / p_rest_cand).
    """
    same = reference.top_ids[:, :, None] == candidate.top_ids[:, None, :]  # (N, k, k)
    both = same.any(axis=2)  # (N, k)
    found = same.argmax(axis=2)  # (N, k) where the candidate lists the reference's id
    lp_ref = reference.top_logprobs
    lp_cand = np.take_along_axis(candidate.top_logprobs, found, axis=1)
    p_ref = np.where(both, np.exp(lp_ref), 0.0)
    p_cand = np.where(both, np.exp(lp_cand), 0.0)
    shared = np.where(both, p_ref * (lp_ref - lp_cand), 0.0).sum(axis=1)
    rest_ref = np.maximum(1.0 - p_ref.sum(axis=1), REST_FLOOR)
    rest_cand = np.maximum(1.0 - p_cand.sum(axis=1), REST_FLOOR)
    return np.maximum(shared + rest_ref * np.log(rest_ref / rest_cand), 0.0)


def means(values: Floats, bounds: Bounds) -> Floats:
    """The mean (P,) of each sequence; ValueError where one has no token."""
    lengths = np.diff(bounds)
    if not lengths.all():
        raise ValueError(f"sequence {lengths.argmin()} has no token, so no mean")
    return np.add.reduceat(values, bounds[:-1]) / lengths


def worst_segments(d: Floats, bounds: Bounds) -> Floats:
    """S_i (P,), the largest mean |d| over any 16 neighbouring tokens of each sequence.

    A sequence shorter than a segment is one segment.
    """
    absolute = np.abs(d)
    whole_means = means(absolute, bounds)
    behind_last = np.maximum(bounds[1:] - SEGMENT, bounds[:-1]) + 1  # of a sequence's segments
    parts = np.stack([bounds[:-1], behind_last], axis=1).ravel()  # every second lies across two
    largest = np.maximum.reduceat(_segments(absolute), parts)[::2]
    return np.where(np.diff(bounds) < SEGMENT, whole_means, largest)


def worst_segment(d: Floats) -> tuple[float, int]:
    """S_i of one sequence, and where that segment starts."""
    start = int(_segments(np.abs(d))[: max(len(d) - SEGMENT, 0) + 1].argmax())
    return float(worst_segments(d, whole(d))[0]), start


def _segments(absolute: Floats) -> Floats:
    """The mean of 16 tokens from each (N + 1,), zeros behind the last.

    Pairs of pairs: a difference of two long sums would lose what is small beside what is large.
    """
    sums = np.concatenate([absolute, np.zeros(SEGMENT)])
    for width in (1, 2, 4, 8):
        sums = sums[:-width] + sums[width:]
    return sums / SEGMENT


def _margin_in(candidate: Scores, reference: Scores) -> Floats:
    """The margin (N,) between the reference's two best ids in the candidate's distribution.

    An id that the candidate does not list lies below all that it lists: bounded by the smallest.
    """
    lowest = candidate.top_logprobs.min(axis=1)

    def of(rank: int) -> Floats:
        same = candidate.top_ids == reference.top_ids[:, rank : rank + 1]  # (N, k)
        listed = np.take_along_axis(
            candidate.top_logprobs, same.argmax(axis=1)[:, None], axis=1
        ).squeeze(1)
        return np.where(same.any(axis=1), listed, lowest)

    return of(0) - of(1)
