"""What goes on in a run, as numbers: written by the run, read by progress, metrics and status.

Plain attributes, each written by one thread: a reader may be a few milliseconds behind.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate

from harness.runs.retry import Failure
from harness.runs.story import ANSWERED

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Histogram:
    """Counts by upper bound, as Prometheus has them; the last bucket has none."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Upper bound -> how many lie at it or below."""
        bounds = [*map(str, self.bounds), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self.counts)), strict=True))


@dataclass(slots=True, kw_only=True)
class Watch:
    """One engine of a run."""

    engine: str
    total: int
    state: str = "starting"
    outcomes: Counter[str] = field(default_factory=Counter[str])
    found: int = 0  # requests that were over before this process began
    in_flight: int = 0
    allowed: int = 0
    tokens: int = 0  # received by this process; a piece that brings no ids counts as one
    failures: Counter[Failure] = field(default_factory=Counter[Failure])  # attempts
    continued: int = 0
    restarts: int = 0
    paused: bool = False  # there is no room on the disk
    late_worst_s: float = 0.0
    began: float = field(default_factory=time.monotonic)
    first_token_s: Histogram = field(default_factory=Histogram)
    between_tokens_s: Histogram = field(default_factory=Histogram)
    whole_s: Histogram = field(default_factory=Histogram)
    _spent_s: float = 0.0  # by requests that have ended here, from the first attempt on
    _spent_squared: float = 0.0

    @property
    def done(self) -> int:
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        return self.done - self.outcomes[ANSWERED]

    def ended(self, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self._spent_s += seconds
        self._spent_squared += seconds * seconds

    def left_s(self, now: float) -> tuple[float, float] | None:
        """Seconds until all are done, a 95 % interval; None: too little is known.

        The rest's service times are a sum of r draws of a distribution of which k were seen: its
        mean is r m, its variance s^2 (r + r^2/k), and c requests are served at once.
        """
        k, rest = self.done - self.found, self.total - self.done
        elapsed = now - self.began
        if k < 5 or self._spent_s <= 0.0 or elapsed <= 0.0:
            return None
        mean = self._spent_s / k
        deviation = math.sqrt(max(0.0, self._spent_squared / k - mean * mean))
        at_once = max(1.0, self._spent_s / elapsed)
        middle = rest * mean / at_once
        half = 1.96 * deviation * math.sqrt(rest + rest * rest / k) / at_once
        return max(0.0, middle - half), middle + half
