"""How late this process itself is: what it reads too late must not be taken for the engine's time.

An event loop that is busy, a machine that swaps or sleeps: a timer that is due now is served later,
and so is every piece of an answer. That delay is measured all the time, and each request carries
the worst of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

EVERY_S = 0.05
LATE_S = 0.02  # less is nothing that could be taken for an engine's
KEPT = 4096  # times that it was late; the oldest are forgotten, worst first of what is left


class Lateness:
    """`run` has to be running. Times are of time.monotonic: a loop's own may be a cached one."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque(maxlen=KEPT)  # when, seconds
        self.worst_s = 0.0
        self.late_s = 0.0  # in all
        self.watched_s = 0.0

    async def run(self) -> None:
        """Watches until it is cancelled."""
        due = time.monotonic() + EVERY_S
        while True:
            await asyncio.sleep(due - time.monotonic())
            now = time.monotonic()
            self.noted(now, now - due)
            self.watched_s += EVERY_S + max(0.0, now - due)
            due = now + EVERY_S

    def noted(self, now: float, seconds: float) -> None:
        """At `now` something was served that many seconds late."""
        if seconds >= LATE_S:
            self._late.append((now, seconds))
            self.worst_s = max(self.worst_s, seconds)
            self.late_s += seconds

    def since(self, began: float) -> float:
        """The worst delay that touched the time from `began` to now, in seconds; 0.0: none."""
        worst = 0.0
        for when, seconds in reversed(self._late):
            if when < began:
                break
            worst = max(worst, seconds)
        return worst
