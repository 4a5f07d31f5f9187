"""The plan's requests over nodes, by the product's own scheduler and by simpler rules."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.runs.expected import Expected
from harness.runs.plan import Cases
from harness.runs.schedule import Schedule
from scripts.makespan.machine import Machine
from scripts.makespan.plan import Kind
from scripts.makespan.simulation import simulate

SEED = 0  # of the order of requests of which the same is expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Engines, one after the other."""

    seconds: float
    same_node: int  # requests that all engines were asked on one node


def ours(machine: Machine, nodes: int, tokens: Sequence[int], cases: Cases) -> float:
    """Seconds, by the product's scheduler."""
    return compared(machine, nodes, [tokens], cases).seconds


def compared(
    machine: Machine, nodes: int, tokens: Sequence[Sequence[int]], cases: Cases
) -> Compared:
    """`tokens`: by engine, then by request. A node for which an engine has nothing more begins the
    next one as soon as it is through; that an engine is started takes no time here."""
    expected = Expected(cases)
    turns: list[_Turn] = []
    for number, answers in enumerate(tokens):
        homes = turns[-1].node if turns else {}
        turns.append(_Turn(number * len(cases), answers, expected, homes))
    at = [_At(str(place), list(turns)) for place in range(nodes)]
    for turn in turns:  # as a run does it, before any node asks
        for node in at:
            turn.schedule.join(node.name)
    seconds = simulate(
        machine,
        nodes,
        [answer for answers in tokens for answer in answers],
        lambda place, room: at[place].more(room),
        lambda place, n: at[place].over(n),
    )
    same = sum(len({turn.node[n] for turn in turns}) == 1 for n in range(len(cases)))
    return Compared(seconds=seconds, same_node=same)


def sharded(machine: Machine, nodes: int, tokens: Sequence[int], numbers: Sequence[int]) -> float:
    """Seconds: dealt out in their order at the start, each node through its own in that order."""
    shards = [list(reversed(numbers[place::nodes])) for place in range(nodes)]

    def give(place: int, room: int) -> list[int]:
        shard = shards[place]
        return [shard.pop() for _ in range(min(room, len(shard)))]

    return simulate(machine, nodes, tokens, give)


def sequential(machine: Machine, nodes: int, tokens: Sequence[int], kinds: Sequence[Kind]) -> float:
    """Seconds: one kind after the other, begun when the last answer of the one before is over."""
    seconds, first = 0.0, 0
    for kind in kinds:
        seconds += sharded(machine, nodes, tokens, range(first, first + kind.requests))
        first += kind.requests
    return seconds


class _Turn:
    """One engine's. Its requests are numbered from `first` on for the simulation."""

    def __init__(
        self, first: int, tokens: Sequence[int], expected: Expected, homes: Mapping[int, str]
    ) -> None:
        self.first, self._tokens, self._expected = first, tokens, expected
        order = list(range(len(tokens)))
        random.Random(SEED).shuffle(order)
        self.schedule = Schedule(order, tokens=expected.tokens, rank=order.__getitem__, homes=homes)
        self.node: dict[int, str] = {}  # that was given a request

    def over(self, n: int) -> None:
        self.schedule.over(n)
        self._expected.answered(n, self._tokens[n])


@dataclass(slots=True)
class _At:
    """A node, and the engines that are before it."""

    name: str
    turns: list[_Turn]
    has: set[int] = field(default_factory=set[int])  # of the first of them

    def join(self) -> None:
        self.turns[0].schedule.join(self.name)

    def more(self, room: int) -> list[int]:
        while self.turns:
            turn = self.turns[0]
            given = turn.schedule.give(self.name, room)
            turn.node.update(dict.fromkeys(given, self.name))
            self.has.update(given)
            turn.schedule.heard(self.name, self.has, ())
            if self.has:
                return [turn.first + n for n in given]
            turn.schedule.leave(self.name)
            del self.turns[0]
            if self.turns:
                self.join()
        return []

    def over(self, number: int) -> None:
        turn = self.turns[0]
        self.has.remove(number - turn.first)
        turn.over(number - turn.first)
