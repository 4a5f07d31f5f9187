"""What no schedule can beat. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from scripts.makespan.machine import Machine

PRECISION = 1e-4


def lower(machine: Machine, nodes: int, tokens: Sequence[int]) -> float:
    """Seconds: all work at the best rate, or the longest answer alone, whichever is more."""
    return max(sum(tokens) / machine.best / nodes, max(tokens) / machine.alone)


def foreseen(machine: Machine, nodes: int, tokens: Sequence[int]) -> float:
    """Seconds that are too few for one who knows every length, and may cut answers in pieces.

    A node on which an answer of L tokens is over within M seconds gave it L / M tokens a second on
    average, so that all its answers had at most the rate beside that speed. Least is lost where the
    longest are on one node, the next longest on the next; the most that nodes do is then compared
    with the work.
    """
    longest = sorted(tokens, reverse=True)
    sums = list(accumulate(longest))
    low = lower(machine, nodes, tokens)
    high = 2 * low
    while not _enough(machine, nodes, longest, sums, high):
        low, high = high, 2 * high
    while high - low > PRECISION * low:
        middle = (low + high) / 2
        if _enough(machine, nodes, longest, sums, middle):
            high = middle
        else:
            low = middle
    return low


def _enough(
    machine: Machine, nodes: int, longest: Sequence[int], sums: Sequence[int], seconds: float
) -> bool:
    """Whichever answers the nodes before had, one that this node has is as long as the first that
    they cannot all have had."""
    done = 0.0
    for _ in range(nodes):
        first = bisect_right(sums, done)
        if first == len(longest):
            return True
        done += seconds * machine.rate_beside(longest[first] / seconds)
    return done >= sums[-1]
