"""What a run can see: the smallest difference before it, and after it.

Before, from the number of cases and an expectation: normal approximations, as in the table of
smallest drops that this design began with (99 % power, 1 % false alarms, one-sided; Miettinen,
Biometrics 24, 1968, without the term in the square of the difference, which errs upwards).
After, from what was observed: exact for McNemar's test, normal for cases with repeats.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import binom, norm

POWER = 0.99
EXACT_TO = 1e-5  # of a share: the bisection of `smallest_lost` ends here


def unpaired(*, requests: int, accuracy: float, alpha: float, power: float = POWER) -> float:
    """Two runs that share no items, each of so many requests: sqrt(2 p (1 - p) / n) is the
    standard error of the difference of their scores."""
    return _both_tails(alpha, power) * math.sqrt(2 * accuracy * (1 - accuracy) / requests)


def paired(*, cases: int, discordant: float, alpha: float, power: float = POWER) -> float:
    """Two runs on the same cases, of which a share `discordant` is expected to differ."""
    return by_spread(cases=cases, spread=math.sqrt(discordant), alpha=alpha, power=power)


def by_spread(*, cases: int, spread: float, alpha: float, power: float = POWER) -> float:
    """Cases whose differences have this standard deviation."""
    return _both_tails(alpha, power) * spread / math.sqrt(cases)


def _both_tails(alpha: float, power: float) -> float:
    return float(norm.isf(alpha) + norm.ppf(power))


def of_mcnemar(*, cases: int, noise: float, drop: float, alpha: float) -> float:
    """The chance that the exact one-sided test finds a drop. Exact.

    A share `noise` of the cases is discordant anyway, half each way, and a share `drop` is lost
    besides: the number of discordant cases is binomial, and so is what of them is lost.
    """
    discordant = min(noise + drop, 1.0)
    if discordant == 0:
        return 0.0
    m = np.arange(cases + 1)
    least = binom.isf(alpha, m, 0.5) + 1  # (n + 1,) losses of m that the test needs
    lost = min((noise / 2 + drop) / discordant, 1.0)
    found = binom.sf(least - 1, m, lost)
    return float((binom.pmf(m, cases, discordant) * found).sum())


def smallest_lost(*, cases: int, noise: float, alpha: float, power: float = POWER) -> float | None:
    """The smallest drop that `of_mcnemar` sees with this power; None: not even the largest."""
    low, high = 0.0, 1 - noise
    if of_mcnemar(cases=cases, noise=noise, drop=high, alpha=alpha) < power:
        return None
    while high - low > EXACT_TO:
        middle = (low + high) / 2
        if of_mcnemar(cases=cases, noise=noise, drop=middle, alpha=alpha) < power:
            low = middle
        else:
            high = middle
    return high
