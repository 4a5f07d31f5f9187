"""What a test of texts could have found: its power, from the reference's own answers.

Both statistics of `blackbox` are sums over prompts of independent terms, so they are about normal.
Their mean and variance under a fault come from groups of answers with that fault, each as many as a
candidate gives; what they must exceed comes from permuted labels, with their skew (Cornish and
Fisher, 1938), z being the normal quantile of 1 - alpha:

    mean + sd (z + skew (z^2 - 1) / 6)

The reference's side is the trace's own answers: it is the power of this very trace. With g groups
the mean under the fault is known to sd / sqrt(g) only, and that much is taken off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from harness.base.record import Floats
from harness.checker.blackbox import Answers, permuted, statistics, weights

SHUFFLES = 200  # of a prompt; their moments are summed over the prompts


def power(groups: Sequence[Sequence[Answers]], *, alpha: float, rng: np.random.Generator) -> float:
    """The chance that `equality` finds p < `alpha`, about. `groups`: two or more candidates with
    the fault, a prompt each in one order."""
    shuffled = np.array([permuted(one, SHUFFLES, rng) for one in groups[0]])  # (P, 2, SHUFFLES)
    weight = np.array([weights(each) for each in shuffled])  # (P, 2, 1)
    found = np.array([[statistics(one, one.labels) for one in group] for group in groups])
    found = (weight * found)[..., 0]  # (G, P, 2)
    limits = _limits(weight * shuffled, (alpha / 2, alpha / 4))  # the second is two-sided
    spread = np.sqrt(found.var(axis=0, ddof=1).sum(axis=0))  # (2,)
    means = np.abs(found.mean(axis=0).sum(axis=0)) - spread / math.sqrt(len(groups))
    return max(
        float(stats.norm.cdf((mean - limit) / sd)) if sd > 0 else float(mean > limit)
        for mean, limit, sd in zip(means, limits, spread, strict=True)
    )


def _limits(shuffled: Floats, alphas: tuple[float, float]) -> list[float]:
    """What the sum over P prompts of each statistic must exceed; (P, 2, SHUFFLES)."""
    middle = shuffled.mean(axis=2, keepdims=True)
    second = ((shuffled - middle) ** 2).mean(axis=2).sum(axis=0)  # (2,)
    third = ((shuffled - middle) ** 3).mean(axis=2).sum(axis=0)
    limits: list[float] = []
    for place, alpha in enumerate(alphas):
        spread = math.sqrt(second[place])
        if spread == 0:
            limits.append(math.inf)  # all answers to each prompt are the same
            continue
        z = float(stats.norm.isf(alpha))
        skew = float(third[place]) / spread**3
        limits.append(float(middle[:, place].sum()) + spread * (z + skew * (z**2 - 1) / 6))
    return limits
