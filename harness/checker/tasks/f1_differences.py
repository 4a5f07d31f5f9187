"""F1 less another F1 of the same cases, and F1 alone, over cases drawn again.

Two intervals, for what each cannot do. The bootstrap draws cases whole, with the same draw for
both sides (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). It sees
only what was seen: where few cases differ it is far too narrow, and where none does it is a point.

`interval` is linear (the delta method over cases), with two cases more than there are, one that
only the first side hits and one that only the second does (after Bonett and Price, British Journal
of Mathematical and Statistical Psychology 65, 2012, who add them to a table of pairs). It is as
wide as the bootstrap's where hundreds of cases were asked once, and it covers what it says where
the bootstrap does not; where few cases were asked many times it is too wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from harness.base.record import Floats
from harness.checker.tasks.pairing import Bounds
from harness.checker.tasks.ratios import LEVEL, Ratio, Sums, f1, with_unseen
from harness.checker.tasks.resampling import AT_ONCE, REDRAWN, TIE

Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One F1 less the other. None: one of them is no number."""

    estimate: float | None  # of what is known
    bounds: Bounds | None  # whatever the unknown were, on either side
    interval: Bounds | None  # of both together, at LEVEL
    resampled: Bounds | None  # the same by the bootstrap; None too: it saw no spread


def difference(first: Ratio, second: Ratio, rng: np.random.Generator) -> Difference:
    """Of two ratios TP / (TP + FP + FN) over the same cases, in the same order."""
    one, other = first.estimate, second.estimate
    if first.ends is None or second.ends is None:
        return Difference(estimate=None, bounds=None, interval=None, resampled=None)
    lowest = first.ends[0], second.ends[1]
    highest = first.ends[1], second.ends[0]
    return Difference(
        estimate=None if one is None or other is None else f1(one) - f1(other),
        bounds=(_f1_of(*lowest), _f1_of(*highest)),
        interval=(_linear(*lowest)[0], _linear(*highest)[1]),
        resampled=_percentiles(lowest, highest, rng),
    )


def resampled(ratio: Ratio, rng: np.random.Generator) -> Bounds | None:
    """The bootstrap's interval of an F1; None: it is no number, or no draw is another one."""
    if ratio.ends is None:
        return None
    low, high = ratio.ends
    return _percentiles((low,), (high,), rng)


def _percentiles(
    lowest: tuple[Sums, ...], highest: tuple[Sums, ...], rng: np.random.Generator
) -> Bounds | None:
    """From the low end of the first to the high end of the second, each an F1, or an F1 less
    another. A draw in which nobody calls is no number, and is left out."""
    columns = [column for s in (*lowest, *highest) for column in (s.hits, s.counted)]
    drawn = _draw(np.column_stack(columns), rng)
    with np.errstate(invalid="ignore"):  # 0 / 0
        shares = drawn[:, 0::2] / drawn[:, 1::2]
    low, high = (
        part[:, 0] - part[:, 1:].sum(axis=1) for part in np.hsplit(2 * shares / (1 + shares), 2)
    )
    low, high = low[~np.isnan(low)], high[~np.isnan(high)]
    if min(np.ptp(low), np.ptp(high)) < TIE:
        return None
    tail = (1 - LEVEL) / 2
    return float(np.quantile(low, tail)), float(np.quantile(high, 1 - tail))


def _draw(rows: Floats, rng: np.random.Generator) -> Floats:
    """(C, K) -> (REDRAWN, K) sums over as many cases as there are, drawn with replacement. Cases
    that are alike are drawn together, and not more at once than memory holds."""
    kinds, counts = np.unique(rows, axis=0, return_counts=True)
    at_once = max(1, AT_ONCE // len(kinds))
    parts = [
        rng.multinomial(len(rows), counts / len(rows), size=min(at_once, REDRAWN - done)) @ kinds
        for done in range(0, REDRAWN, at_once)
    ]
    return np.concatenate(parts)


def _f1_of(first: Sums, second: Sums) -> float:
    return f1(first.share) - f1(second.share)


def _linear(first: Sums, second: Sums) -> Bounds:
    """Within [-1, 1], around the difference that the two added cases draw towards 0."""
    one, other = with_unseen(first, hit_first=True), with_unseen(second, hit_first=False)
    half = Z * math.sqrt(math.fsum((_pulls(one) - _pulls(other)) ** 2))
    middle = _f1_of(one, other)
    return max(-1.0, middle - half), min(1.0, middle + half)


def _pulls(sums: Sums) -> Floats:
    """(C,) by how much each case moves F1: d F1 / d r is 2 / (1 + r)^2."""
    slope = 2 / (1 + sums.share) ** 2
    return slope * (sums.hits - sums.share * sums.counted) / sums.counted.sum()
