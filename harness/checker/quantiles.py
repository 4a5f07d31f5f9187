"""Quantiles of more numbers than memory holds, from counts on a fine logarithmic axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

STEP = 1e-3  # a bin's upper edge is this much above its lower one, as a share of it
LOWEST = 1e-12  # nats: what is below is told apart from zero by nobody
HIGHEST = 1e4  # nats: what is above counts as the largest value met
BINS = math.ceil(math.log(HIGHEST / LOWEST) / math.log1p(STEP)) + 2


class Counts:
    """Counts of values that are not negative; its size does not depend on how many there are."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, dtype=np.int64)  # 300 kB
        self._largest = 0.0

    def add(self, values: npt.NDArray[np.floating[Any]]) -> None:
        """Any number of values (N,), each finite and >= 0."""
        logs = np.log(np.maximum(values, LOWEST) / LOWEST) / math.log1p(STEP)
        np.add.at(self._counts, np.minimum(logs.astype(np.int64) + 1, BINS - 1), 1)
        self._counts[1] -= (below := int((values < LOWEST).sum()))
        self._counts[0] += below
        self._largest = max(self._largest, float(values.max(initial=0.0)))

    def merge(self, other: Counts) -> None:
        """As if all that `other` was given had been added here."""
        self._counts += other._counts
        self._largest = max(self._largest, other._largest)

    def quantile(self, share: float) -> float:
        """`numpy.quantile` of all values, never less and at most STEP (0.1 %) more; where it is
        below LOWEST, at most LOWEST more."""
        cumulated = np.cumsum(self._counts)
        place = (int(cumulated[-1]) - 1) * share
        low, high = (self._at(cumulated, rank) for rank in (math.floor(place), math.ceil(place)))
        return low + (place - math.floor(place)) * (high - low)

    def _at(self, cumulated: npt.NDArray[np.int64], rank: int) -> float:
        """The upper edge of the bin that holds the value of this rank, counted from 0."""
        edge = int(np.searchsorted(cumulated, rank, side="right"))
        above = LOWEST * math.exp(edge * math.log1p(STEP)) if edge < BINS - 1 else math.inf
        return min(above, self._largest)
