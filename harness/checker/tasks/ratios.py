"""A ratio of sums over cases: what it is, what it could be, and how far off a new set would be.

    precision, recall, accuracy    r = hits / counted
    F1                             2 r / (1 + r), where r = TP / (TP + FP + FN)

A request that failed may be a hit, a miss or neither. A ratio never falls when a miss is left out
or a hit put in, so its two ends are those where every unknown is its worst, and its best.

The interval is the exact one of Clopper and Pearson (Biometrika 26, 1934), at the number of
answers over the design effect: repeats of a case are worth fewer answers than they are (Korn and
Graubard, Survey Methodology 24, 1998). F1 rises with its r, so its interval is that of r, carried
over. The design effect is estimated with two cases more than there are, one all hits and one all
misses (after Agresti and Coull, The American Statistician 52, 1998). For cases asked once it is 1,
and the interval covers LEVEL or more. Where every answer is a hit it nears the number of repeats,
for such cases may all be of one kind; the bootstrap's interval would be a single point there, and
Wilson's covers too little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from harness.base.record import Floats
from harness.checker.tasks.pairing import Bounds

LEVEL = 0.95

Part = tuple[int, int]  # what one request adds to hits, and to what is counted
HIT, MISS, APART = (1, 1), (0, 1), (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What the requests of each case add up to."""

    hits: Floats  # (C,)
    counted: Floats  # (C,)

    @property
    def share(self) -> float:
        """Something must be counted."""
        return float(self.hits.sum()) / float(self.counted.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The same cases, thrice."""

    known: Sums  # requests of which it is known what they add
    worst: Sums  # all requests
    best: Sums

    @property
    def estimate(self) -> float | None:
        """Of what is known; None: nothing of that is counted."""
        return self.known.share if self.known.counted.any() else None

    @property
    def ends(self) -> tuple[Sums, Sums] | None:
        """The lowest and the highest, of all outcomes that make it a number; None: none does.
        Where one end counts nothing, all that is a number is at the other."""
        if not self.worst.counted.any() and not self.best.counted.any():
            return None
        return (
            self.worst if self.worst.counted.any() else self.best,
            self.best if self.best.counted.any() else self.worst,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A ratio as it is told. None: nothing is counted, and it is not 0."""

    estimate: float | None  # of what is known
    bounds: Bounds | None  # whatever the unknown were
    interval: Bounds | None  # of both together, at LEVEL, for other cases of the kind


def add_up(cases: Sequence[str], parts: Iterable[tuple[str, Collection[Part]]]) -> Ratio:
    """Of each request its case, and what it may add: one thing where that is known."""
    row = {case: i for i, case in enumerate(cases)}
    sums = np.zeros((3, len(cases), 2))
    for case, possible in parts:
        worst, best = min(possible, key=_worth), max(possible, key=_worth)
        sums[1, row[case]] += worst
        sums[2, row[case]] += best
        if worst == best:
            sums[0, row[case]] += worst
    known, lowest, highest = (Sums(hits=s[:, 0], counted=s[:, 1]) for s in sums)
    return Ratio(known=known, worst=lowest, best=highest)


def _worth(part: Part) -> int:
    """MISS, then APART, then HIT."""
    hit, counted = part
    return 2 * hit - counted


def measure(ratio: Ratio, scale: Callable[[float], float] = float) -> Measure:
    """`scale` rises, as `f1` does."""
    if ratio.ends is None:
        return Measure(estimate=None, bounds=None, interval=None)
    low, high = ratio.ends
    return Measure(
        estimate=None if ratio.estimate is None else scale(ratio.estimate),
        bounds=(scale(low.share), scale(high.share)),
        interval=(scale(exact(low)[0]), scale(exact(high)[1])),
    )


def f1(jaccard: float) -> float:
    """2 TP / (2 TP + FP + FN), of TP / (TP + FP + FN)."""
    return 2 * jaccard / (1 + jaccard)


def exact(sums: Sums) -> Bounds:
    """Clopper and Pearson's interval at the effective number; something must be counted."""
    effect = design_effect(sums)
    hits, counted = float(sums.hits.sum()) / effect, float(sums.counted.sum()) / effect
    misses, tail = counted - hits, (1 - LEVEL) / 2
    low = float(beta.ppf(tail, hits, misses + 1)) if hits else 0.0
    high = float(beta.isf(tail, hits + 1, misses)) if misses else 1.0
    return low, high


def design_effect(sums: Sums) -> float:
    """How many answers of a case are worth one of its own, 1 or more."""
    more = with_unseen(sums, hit_first=True)
    counted, share = float(more.counted.sum()), more.share
    squares = math.fsum((more.hits - share * more.counted) ** 2)  # whatever the order
    return max(1.0, squares / (counted * share * (1 - share)))


def with_unseen(sums: Sums, *, hit_first: bool) -> Sums:
    """(C + 2,) with two cases of the mean size, one all hits and one all misses."""
    size = sums.counted.sum() / (sums.counted > 0).sum()
    hits = [size, 0.0] if hit_first else [0.0, size]
    return Sums(hits=np.append(sums.hits, hits), counted=np.append(sums.counted, [size, size]))
