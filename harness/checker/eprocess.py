"""The stopping rule: look as often as you like.

A stratum is a finite population of N units (prompts), drawn in a uniform order fixed before any
answer is seen. Unit i has x_i in [0, 1]; the question is whether the mean of all N lies above or
below m. Betting against "the mean is at most m" multiplies a wealth E_diff, betting against "the
mean is at least m" a wealth E_eq:

    m_i    = (N m - sum_{j<i} x_j) / (N - i + 1)
    E_diff = average over theta of  prod_i (1 + (theta / m_i)       (x_i - m_i))
    E_eq   = average over theta of  prod_i (1 - (theta / (1 - m_i)) (x_i - m_i))

Under its own null each is a nonnegative supermartingale that starts at 1, so by Ville's inequality
it ever reaches 1/alpha with probability alpha at most, at whatever moment one stops (Waudby-Smith
and Ramdas, "Estimating means of bounded random variables by betting", 2024, section on sampling
without replacement). m_i < 0: the mean is above m for certain; m_i > 1: below it for certain.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.base.record import Floats

THETAS = np.array([0.25, 0.5, 0.75, 0.95])  # fixed before any data; finer grids stop no sooner
TIE = 1e-9  # of a sum of units: the last draws of a population tie in floating point
AHEAD = 4096  # units looked at together


class EProcess:
    """The two wealths of one statistic in one stratum, in log space."""

    def __init__(self, *, population: int, mean: float) -> None:
        """`population` is N; `mean` is m, in (0, 1)."""
        if population < 1 or not 0 < mean < 1:
            raise ValueError(f"population {population} and mean {mean}: must be >= 1, in (0, 1)")
        self.population = population
        self.mean = mean
        self.drawn = 0
        self.total = 0.0
        self.log_different = 0.0
        self.log_equivalent = 0.0
        self._certain = np.zeros((2, 1), dtype=np.bool_)  # DIFFERENT, EQUIVALENT
        self._logs = np.zeros((len(THETAS), 2, 1))  # one wealth a theta

    def extend(self, values: Sequence[float] | Floats) -> Floats:
        """Draws further units, in the order of the permutation. Each lies in [0, 1].

        Returns ln E_diff and ln E_eq after each, (2, n). Where one is refused, none is drawn.
        """
        x = np.asarray(values, dtype=np.float64)  # (n,)
        inside = (x >= 0) & (x <= 1)
        if not inside.all():
            raise ValueError(f"a unit is {x[inside.argmin()]}; it must lie in [0, 1]")
        if self.drawn + len(x) > self.population:
            raise ValueError(f"all {self.population} units have been drawn")
        totals = np.concatenate(((self.total,), x)).cumsum()  # (n + 1,)
        left = self.population - self.drawn - np.arange(len(x))
        above = self.population * self.mean - totals[:-1]  # what may still come: left * m_i
        # The bet on EQUIVALENT is the mirror image of the bet on DIFFERENT.
        wealths = self._bet(np.array((x, 1 - x)), np.array((above, left - above)), left)
        self.drawn += len(x)
        self.total = float(totals[-1])
        self.log_different, self.log_equivalent = wealths[:, -1].tolist()
        return wealths[:, 1:]

    def _bet(self, x: Floats, above: Floats, left: npt.NDArray[np.int64]) -> Floats:
        """The log wealths now and after each unit, (2, n + 1), of both sides (2, n) and (n,).

        Where `above` is negative, the side is right for certain; where it is zero, only x > 0
        decides.
        """
        played = above > TIE
        certain = (above < -TIE) | (~played & (x - above > TIE))
        certain = np.logical_or.accumulate(np.concatenate((self._certain, certain), 1), axis=1)
        m = np.where(played, above, 1.0) / left
        steps = np.log1p(THETAS[:, None, None] / m * np.where(played, x - m, 0.0))
        logs = np.concatenate((self._logs, steps), axis=2).cumsum(axis=2)  # (4, 2, n + 1)
        self._certain, self._logs = certain[:, -1:], logs[:, :, -1:]
        return np.where(certain, math.inf, np.logaddexp.reduce(logs) - math.log(len(THETAS)))


def log_mean_exp(logs: Floats) -> float:
    """ln of the mean of exp(logs)."""
    highest = float(np.max(logs))
    return highest + math.log(float(np.mean(np.exp(logs - highest))))


def log_weighted_sum(weights: Sequence[float], logs: Sequence[float]) -> float:
    """ln of sum_j w_j exp(log_j), infinite where any is."""
    highest = max(logs)
    if math.isinf(highest) and highest > 0:
        return math.inf
    terms = (w * math.exp(log - highest) for w, log in zip(weights, logs, strict=True))
    return highest + math.log(sum(terms))


def units_to_equivalent(process: EProcess, x: float, beta: float) -> int | None:
    """How many further units of value `x` would bring E_eq to 1/beta; None: not in this stratum."""
    needed = -math.log(beta)
    if process.log_equivalent >= needed:
        return 0
    ahead = copy.copy(process)
    while ahead.drawn < ahead.population:
        before = ahead.drawn
        reached = ahead.extend(np.full(min(AHEAD, ahead.population - before), x))[1] >= needed
        if reached.any():
            return before + int(reached.argmax()) + 1 - process.drawn
    return None
