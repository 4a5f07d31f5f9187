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

import math
from collections.abc import Iterable, Sequence

import numpy as np

THETAS = np.array([0.25, 0.5, 0.75, 0.95])  # fixed before any data; finer grids stop no sooner
TIE = 1e-9  # of a sum of units: the last draws of a population tie in floating point


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
        self._log_different = np.zeros_like(THETAS)  # (4,) one wealth a theta
        self._log_equivalent = np.zeros_like(THETAS)

    def extend(self, values: Iterable[float]) -> None:
        """Draws further units, in the order of the permutation. Each lies in [0, 1]."""
        for x in values:
            self._draw(float(x))

    def _draw(self, x: float) -> None:
        if self.drawn >= self.population:
            raise ValueError(f"all {self.population} units have been drawn")
        if not 0.0 <= x <= 1.0:
            raise ValueError(f"a unit is {x}; it must lie in [0, 1]")
        left = self.population - self.drawn
        above = self.population * self.mean - self.total  # what may still come: left * m_i
        self._bet_on_different(x, above, left)
        self._bet_on_equivalent(x, left - above, left)
        self.drawn += 1
        self.total += x

    def _bet_on_different(self, x: float, above: float, left: int) -> None:
        """`above` is left * m_i: negative, the mean is above m for certain; zero, only x > 0
        decides."""
        if above < -TIE or (above <= TIE and x - above > TIE):
            self.log_different = math.inf
        elif above > TIE and math.isfinite(self.log_different):
            m = above / left
            self._log_different += np.log1p(THETAS / m * (x - m))
            self.log_different = log_mean_exp(self._log_different)

    def _bet_on_equivalent(self, x: float, below: float, left: int) -> None:
        """`below` is left * (1 - m_i), the mirror image of the bet on DIFFERENT."""
        if below < -TIE or (below <= TIE and 1 - x - below > TIE):
            self.log_equivalent = math.inf
        elif below > TIE and math.isfinite(self.log_equivalent):
            m = 1 - below / left
            self._log_equivalent += np.log1p(-THETAS / (1 - m) * (x - m))
            self.log_equivalent = log_mean_exp(self._log_equivalent)


def log_mean_exp(logs: np.ndarray) -> float:
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
    ahead = EProcess(population=process.population, mean=process.mean)
    ahead.drawn, ahead.total = process.drawn, process.total
    ahead._log_equivalent = process._log_equivalent.copy()  # pyright: ignore[reportPrivateUsage]
    ahead.log_equivalent = process.log_equivalent
    while ahead.log_equivalent < -math.log(beta):
        if ahead.drawn >= ahead.population:
            return None
        ahead.extend([x])
    return ahead.drawn - process.drawn
