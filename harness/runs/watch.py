"""What goes on in a run, as numbers: written by the run, read by progress, metrics and status.

Plain attributes, each written by one thread: a reader may be a few milliseconds behind.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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

    def merge(self, other: Histogram) -> None:
        """Of the same bounds."""
        self.counts = [own + more for own, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def cumulative(self) -> list[tuple[str, float]]:
        """Upper bound -> how many lie at it or below."""
        bounds = [*map(str, self.bounds), "+Inf"]
        return list(zip(bounds, map(float, accumulate(self.counts)), strict=True))


ADDED = (
    "in_flight",
    "allowed",
    "tokens",
    "failures",
    "continued",
    "restarts",
    "_spent_s",
    "_spent_squared",
    "_begun",
    "_begun_s",
)
WORST = ("late_worst_s", "_longest_s")
HISTOGRAMS = ("first_token_s", "between_tokens_s", "whole_s")
LEAST = 5  # requests that are done, before a time is told
LEAST_ROUNDS = 6  # and so many times as many as run at once


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
    nodes: Mapping[str, Watch] = field(default_factory=dict[str, "Watch"])  # those at work
    _spent_s: float = 0.0  # by requests that have ended here, from their first attempt on
    _spent_squared: float = 0.0
    _longest_s: float = 0.0
    _begun: int = 0  # requests that are under way
    _begun_s: float = 0.0  # the sum of when each began

    @property
    def done(self) -> int:
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        return self.done - self.outcomes[ANSWERED]

    def asked(self, now: float) -> None:
        """The first attempt of a request begins; times are of time.monotonic."""
        self._begun += 1
        self._begun_s += now

    def ended(self, outcome: str, began: float, now: float) -> None:
        """One that was `asked` is over."""
        self.left(began)
        seconds = now - began
        self.outcomes[outcome] += 1
        self.whole_s.add(seconds)
        self._spent_s += seconds
        self._spent_squared += seconds * seconds
        self._longest_s = max(self._longest_s, seconds)

    def left(self, began: float) -> None:
        """One that was `asked` is not under way any more, and not over."""
        self._begun -= 1
        self._begun_s -= began

    def gone(self) -> None:
        """Its worker is no more: nothing of it is under way, or can be."""
        self.in_flight = self.allowed = self._begun = 0
        self._begun_s, self.paused = 0.0, False

    def shift(self, seconds: float) -> None:
        """To the clock of another machine, which is so far ahead."""
        self.began += seconds
        self._begun_s += seconds * self._begun

    def add(self, other: Watch) -> None:
        """What another worker did for the same engine, its outcomes apart: a request may have ended
        at both."""
        for name in ADDED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in WORST:
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        for name in HISTOGRAMS:
            getattr(self, name).merge(getattr(other, name))
        self.paused |= other.paused
        self.began = min(self.began, other.began)

    def left_s(self, now: float) -> tuple[float, float] | None:
        """Seconds until all are done, from and to: an estimate. None: too little is known.

        Of k requests that are done, and those under way, the time spent on each is known. Those
        done are the shorter ones, so their mean m is too small; all time spent by k is too large
        (the mean of an exponential under censoring). With c at once, r left and s^2 their variance,
        the rest takes r m / c, give or take 1.96 s sqrt(r + r^2/k) / c, and at the end the longest
        one alone. Where the longest are yet to come, a tail that is heavier than an exponential's,
        it takes longer than this says (tests/harness/runs/test_watch.py has how often).
        """
        k, rest = self.done - self.found, self.total - self.done
        elapsed = now - self.began
        under_way_s = self._begun * now - self._begun_s
        spent_s = self._spent_s + under_way_s
        if k < LEAST or elapsed <= 0.0 or spent_s <= 0.0:
            return None
        at_once = max(1.0, spent_s / elapsed)
        if k < LEAST_ROUNDS * at_once and rest:
            return None
        mean = self._spent_s / k
        deviation = math.sqrt(max(0.0, self._spent_squared / k - mean * mean))
        give_or_take = 1.96 * deviation * math.sqrt(rest + rest * rest / k) / at_once
        last = self._longest_s if rest and at_once > 1.0 else 0.0
        low = (rest * mean - under_way_s) / at_once - give_or_take
        return max(0.0, low), rest * spent_s / k / at_once + give_or_take + last


def together(
    engine: str,
    total: int,
    found: int,
    outcomes: Counter[str],
    state: str,
    nodes: Mapping[str, Watch],
    past: Iterable[Watch],
) -> Watch:
    """One engine on its nodes. `outcomes`: of its requests, each once; `past`: of workers that are
    no more."""
    whole = Watch(
        engine=engine,
        total=total,
        found=found,
        state=state,
        outcomes=Counter(outcomes),
        nodes=nodes,
    )
    for watch in (*past, *nodes.values()):
        whole.add(watch)
    return whole


Watches = Callable[[], Sequence[Watch]]  # of the engines that have begun
