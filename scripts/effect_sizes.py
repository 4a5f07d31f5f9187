"""A real fault made smaller and larger: engines between a right one and a faulty one, and beyond.

What stands between their answers is taken `share` times:

    d    healthy + share (faulty - healthy): A and S follow from it
    K    the same of its root, for a divergence grows with the square of what moves the logits
    F    a token that the fault flips does so once share times its change of the margin is as
         large as the margin; beyond the whole fault (share 1) no further token flips

The size of an effect is a mean over the prompts of a stratum, each clipped as the verdict clips it,
in tolerances: at 1 and below it is a null of the statistic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.base.record import Distance
from harness.checker.judge import STATISTICS, Statistic
from harness.checker.tolerance import ClassTolerances, Tolerance
from scripts.answer_sets import Corpus

A = STATISTICS[0]
LARGEST_SHARE = 2.0**20  # of the fault: what is not reached by then is beyond the clip
HALVINGS = 40
Distances = Sequence[Distance]  # by row of the trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """All sequences as an engine between the two would have scored them."""

    distances: Distances
    shares: Mapping[str, float]  # of the fault, in each stratum


def between(healthy: Distance, faulty: Distance, share: float) -> Distance:
    """An engine that has `share` of the fault; 0: the healthy one, 1: the faulty one."""
    root = (1 - share) * np.sqrt(healthy.divergence) + share * np.sqrt(faulty.divergence)
    reached = (share >= 1) | (share * faulty.margin_change >= faulty.margin)
    return Distance(
        d=healthy.d + share * (faulty.d - healthy.d),
        divergence=np.maximum(root, 0.0) ** 2,
        flip=(faulty.flip & reached) | (healthy.flip & (share < 1)),
        margin=healthy.margin,
        margin_change=share * faulty.margin_change,  # which no statistic reads
    )


def in_tau(statistic: Statistic, distance: Distance, tolerance: Tolerance) -> float:
    """One unit, clipped."""
    return min(statistic.of_one(distance, tolerance) / statistic.tau(tolerance), statistic.cap)


def series(
    distances: Distances, corpus: Corpus, tolerances: ClassTolerances
) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    """(stratum, statistic) -> its units, in tau, by the stratum's rows."""
    return {
        (stratum, one.name): np.array(
            [in_tau(one, distances[row], tolerances.of(stratum)) for row in rows]
        )
        for stratum, rows in corpus.strata.items()
        for one in STATISTICS
    }


def furthest(
    distances: Distances, corpus: Corpus, tolerances: ClassTolerances
) -> tuple[float, str, str]:
    """The series whose mean is the most of its tau: that, stratum, statistic. At 1 and below the
    engine is a null of all that is asked."""
    found = series(distances, corpus, tolerances)
    return max((float(units.mean()), *key) for key, units in found.items())


def share_for(size: Callable[[float], float], tau: float) -> float | None:
    """The share at which `size`, which grows with it, comes to `tau`; where it jumps, just below.

    None where none does: the healthy engine is further off, or a clip comes first.
    """
    low, high = 0.0, 1.0
    if size(low) > tau:
        return None
    while size(high) < tau:
        low, high = high, 2 * high
        if high > LARGEST_SHARE:
            return None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) <= tau else (low, middle)
    return low


def with_a_at(
    tau: float, healthy: Distances, faulty: Distances, corpus: Corpus, tolerances: ClassTolerances
) -> Made | None:
    """The mean of A stands at `tau` in each stratum, each with a share of its own."""
    distances, shares = list(healthy), dict[str, float]()
    for stratum, rows in corpus.strata.items():
        tolerance = tolerances.of(stratum)

        def size(share: float, rows: Sequence[int] = rows, held: Tolerance = tolerance) -> float:
            made = (between(healthy[row], faulty[row], share) for row in rows)
            return float(np.mean([in_tau(A, one, held) for one in made]))

        share = share_for(size, tau)
        if share is None:
            return None
        shares[stratum] = share
        for row in rows:
            distances[row] = between(healthy[row], faulty[row], share)
    return Made(distances=distances, shares=shares)


def with_furthest_at(
    tau: float, healthy: Distances, faulty: Distances, corpus: Corpus, tolerances: ClassTolerances
) -> Made | None:
    """The furthest of all series stands at `tau` or, for S and F jump, just below: one share."""

    def made(share: float) -> list[Distance]:
        return [between(h, f, share) for h, f in zip(healthy, faulty, strict=True)]

    share = share_for(lambda s: furthest(made(s), corpus, tolerances)[0], tau)
    if share is None:
        return None
    return Made(distances=made(share), shares=dict.fromkeys(corpus.strata, share))
