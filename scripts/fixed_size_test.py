"""The test that the e-process is held against: n prompts, one look, the mean of A against tau.

t = (mean of min(A / tau, 4) - 1) / standard error, one-sided. n is the smallest that has 99 % power
at the effect that is really there: more than anybody knows in advance. And it is told which of the
statistics to look at, where the e-process shares its alpha among all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

POWER = 0.99
FEWEST = 2  # prompts of each stratum

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What it makes of one effect, over many orders of the same prompts."""

    prompts: int | None  # n; None: the corpus holds too few
    tokens: float | None  # median
    different_with_all: float  # share of orders: with every prompt, one look
    different_by_peeking: float  # share of orders in which it rejects at any of `looks`


def rejections(values: Array, alpha: float) -> npt.NDArray[np.bool_]:
    """(runs, N) whether it rejects with the prompts up to each; `values` (runs, N) in tau."""
    size = np.arange(1, values.shape[1] + 1)
    freedom = np.maximum(size - 1, 1)
    mean = np.cumsum(values, axis=1) / size
    variance = np.maximum(np.cumsum(values**2, axis=1) / size - mean**2, 0.0) * size / freedom
    needed = stats.t.ppf(1 - alpha, freedom) * np.sqrt(variance / size)
    rejected: npt.NDArray[np.bool_] = mean - 1 > needed
    rejected[:, 0] = False  # one value has no spread
    return rejected


def fixed(
    values: Array, tokens: Array, *, strata: int, alpha: float, looks: Sequence[int]
) -> Fixed:
    """`values` (runs, N) in tau and `tokens` (runs, N) of the prompts, strata in turn.

    `looks`: after how many prompts somebody looks who looks more than once.
    """
    rejected = rejections(values, alpha)
    sizes = range(FEWEST * strata, values.shape[1] + 1, strata)
    prompts = next((n for n in sizes if rejected[:, n - 1].mean() >= POWER), None)
    peeked = [n - 1 for n in looks if n >= FEWEST * strata]
    return Fixed(
        prompts=prompts,
        tokens=None if prompts is None else float(np.median(tokens[:, :prompts].sum(axis=1))),
        different_with_all=float(rejected[:, -1].mean()),
        different_by_peeking=float(rejected[:, peeked].any(axis=1).mean()),
    )
