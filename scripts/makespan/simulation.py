"""Nodes that decode, event by event. Pure.

All that a node has under way advance by one token a step, and a step is as long as the machine says
for so many: nothing changes on a node between two ends of its own requests.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scripts.makespan.machine import Machine

Give = Callable[[int, int], Iterable[int]]  # node, room: requests for it
Over = Callable[[int, int], None]  # node, request


@dataclass(slots=True)
class _Node:
    steps: float = 0.0
    at_s: float = 0.0
    ends: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])  # heap of steps


def simulate(
    machine: Machine,
    nodes: int,
    tokens: Sequence[int] | Mapping[int, int],
    give: Give,
    over: Over = lambda _node, _n: None,
) -> float:
    """Seconds until nothing is under way. A node asks when it starts and when a request ends."""
    all_nodes = [_Node() for _ in range(nodes)]
    events: list[tuple[float, int]] = []  # heap: when which node's next request ends

    def begin(place: int) -> None:
        node = all_nodes[place]
        for n in give(place, machine.limit - len(node.ends)):
            heapq.heappush(node.ends, (node.steps + tokens[n], n))
        if node.ends:
            wait_s = (node.ends[0][0] - node.steps) * machine.steps_s[len(node.ends)]
            heapq.heappush(events, (node.at_s + wait_s, place))

    for place in range(nodes):
        begin(place)
    now_s = 0.0
    while events:
        now_s, place = heapq.heappop(events)
        node = all_nodes[place]
        node.at_s = now_s
        node.steps, n = heapq.heappop(node.ends)
        over(place, n)
        begin(place)
    return now_s
