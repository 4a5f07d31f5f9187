"""A real fault made smaller and larger: engines between a right one and a faulty one, and beyond.

What stands between their answers is taken `share` times:

    d    healthy + share (faulty - healthy): A and S follow from it
    K    the same of its root, for a divergence grows with the square of what moves the logits
    F    a token that the fault flips does so once share times its change of the margin is as
         large as the margin; beyond the whole fault (share 1) no further token flips

K is the sharper one: where A has doubled, K is four times as large. So that an engine whose A
stands at its tolerance is a null, `of_a_alone` leaves K and F as they are in the healthy engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from harness.base.record import Distance
from harness.base.record import Distances as Judged
from harness.checker.judge import STATISTICS
from harness.checker.tolerance import ClassTolerances, Tolerance, clipped_mean
from scripts.answer_sets import Corpus

LARGEST_SHARE = 2.0**20  # of the fault: what is not reached by then is beyond the clip
Distances = Sequence[Distance]  # by row of the trace


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


def of_a_alone(healthy: Distances, made: Distances) -> list[Distance]:
    """The effect in d alone."""
    return [
        replace(m, divergence=h.divergence, flip=h.flip) for h, m in zip(healthy, made, strict=True)
    ]


def share_for(
    pairs: Sequence[tuple[Distance, Distance]], tolerance: Tolerance, tau: float
) -> float | None:
    """The share that brings the mean of A over (healthy, faulty) to `tau` times its tolerance.

    None where none does: the healthy engine is further off, or A is clipped before it comes to it.
    """

    def size(share: float) -> float:
        values = [clipped_mean(h.d + share * (f.d - h.d), tolerance.c_token) for h, f in pairs]
        return float(np.mean(values)) / tolerance.tau_a

    low, high = 0.0, 1.0
    if size(low) > tau:
        return None
    while size(high) < tau:
        low, high = high, 2 * high
        if high > LARGEST_SHARE:
            return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if size(middle) < tau else (low, middle)
    return low  # not `high`: an effect of 1 tau is to be a null


def scaled(
    healthy: Distances,
    faulty: Distances,
    corpus: Corpus,
    tolerances: ClassTolerances,
    tau: float,
) -> tuple[list[Distance], dict[str, float]] | None:
    """All sequences, with the mean of A at `tau` in each stratum; the share in each.

    None where a stratum does not come to it.
    """
    distances, shares = list(healthy), dict[str, float]()
    for stratum, rows in corpus.strata.items():
        pairs = [(healthy[row], faulty[row]) for row in rows]
        share = share_for(pairs, tolerances.of(stratum), tau)
        if share is None:
            return None
        shares[stratum] = share
        for row, (h, f) in zip(rows, pairs, strict=True):
            distances[row] = between(h, f, share)
    return distances, shares


def in_tau(
    distances: Distances, corpus: Corpus, tolerances: ClassTolerances
) -> dict[str, npt.NDArray[np.float64]]:
    """Statistic -> its value of each row, in its tolerance; of S in bad sequences (0 or 1)."""
    found = {one.name: np.zeros(len(distances)) for one in STATISTICS}
    for stratum, rows in corpus.strata.items():
        tolerance = tolerances.of(stratum)
        for one in STATISTICS:
            unit = 1.0 if one.name == "S" else one.tau(tolerance)
            for row in rows:
                found[one.name][row] = (
                    float(one.of(Judged.of(distances[row]), tolerance)[0]) / unit
                )
    return found
