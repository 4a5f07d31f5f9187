"""How many requests may be in flight: additive increase, multiplicative decrease (Chiu and Jain,
1989). Pure: the time is an argument.

A refusal for too many requests (429) halves it. An engine that lets a request wait far longer for
its first token than it has shown it can is overloaded, and told so more gently. What comes within a
second of a decrease was sent before it, and counts no more.
"""

from __future__ import annotations

HALVED, EASED = 0.5, 0.9
HOLD_S = 1.0
SLOW = 8.0  # times the best wait so far
SLOW_S = 2.0  # and no shorter than this: what is fast may vary


class Pace:
    """The limit of one endpoint, between 1 and `most`."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._allowed = float(most)
        self._held_until = float("-inf")
        self._best_s = float("inf")  # of all waits for a first token

    @property
    def allowed(self) -> int:
        return int(self._allowed)

    def answered(self, first_token_s: float, now: float) -> None:
        """An answer has come; `first_token_s`: how long it had been waited for."""
        self._best_s = min(self._best_s, first_token_s)
        if first_token_s > max(SLOW_S, SLOW * self._best_s):
            self._decrease(EASED, now)
        else:
            self._allowed = min(self._most, self._allowed + 1.0 / self._allowed)

    def refused(self, now: float) -> None:
        """429."""
        self._decrease(HALVED, now)

    def _decrease(self, factor: float, now: float) -> None:
        if now >= self._held_until:
            self._allowed = max(1.0, self._allowed * factor)
            self._held_until = now + HOLD_S
