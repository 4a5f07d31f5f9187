"""All that is simulated, as rows: by machine and nodes, over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from scripts.makespan import bounds, schedules
from scripts.makespan.machine import Machine
from scripts.makespan.plan import KINDS, Kind, answers, cases

NODES = (1, 2, 4, 20)
HOUR_S = 3600.0
KVV_S, KVV_NODES = 15 * HOUR_S, 2  # as KVV publishes of its own, sequential run
WITHIN = 1.05  # of the lower bound, which is what is asked of the product


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One seed's, in seconds."""

    lower: float
    foreseen: float
    ours: float
    naive: float
    sequential: float

    @property
    def over(self) -> float:
        """Ours in lower bounds."""
        return self.ours / self.lower


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    machine: Machine
    nodes: int
    drawn: Sequence[Drawn]  # a seed each

    def hours(self, name: str) -> float:
        return median(getattr(one, name) for one in self.drawn) / HOUR_S

    @property
    def foreseen_over(self) -> float:
        return median(one.foreseen / one.lower for one in self.drawn)

    @property
    def over(self) -> float:
        return median(one.over for one in self.drawn)

    @property
    def worst(self) -> float:
        return max(one.over for one in self.drawn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two engines compared, one after the other."""

    machine: Machine
    nodes: int
    over: float  # in lower bounds of both together
    same_node: float  # share of the requests


def row(machine: Machine, nodes: int, seeds: Sequence[int], kinds: Sequence[Kind] = KINDS) -> Row:
    plan, drawn = cases(kinds), list[Drawn]()
    for seed in seeds:
        tokens = answers(kinds, seed)
        drawn.append(
            Drawn(
                lower=bounds.lower(machine, nodes, tokens),
                foreseen=bounds.foreseen(machine, nodes, tokens),
                ours=schedules.ours(machine, nodes, tokens, plan),
                naive=schedules.sharded(machine, nodes, tokens, range(len(plan))),
                sequential=schedules.sequential(machine, nodes, tokens, kinds),
            )
        )
    return Row(machine=machine, nodes=nodes, drawn=drawn)


def pair(machine: Machine, nodes: int, seed: int, kinds: Sequence[Kind] = KINDS) -> Pair:
    plan = cases(kinds)
    engines = [answers(kinds, seed, engine) for engine in range(2)]
    found = schedules.compared(machine, nodes, engines, plan)
    lower = bounds.lower(machine, nodes, [*engines[0], *engines[1]])
    return Pair(
        machine=machine,
        nodes=nodes,
        over=found.seconds / lower,
        same_node=found.same_node / len(plan),
    )


def rate_for(seconds: float, sequential: Row) -> float:
    """Tokens a second of a node at its best, were every step faster by one factor, for the
    sequential run to take so long."""
    return sequential.machine.best * sequential.hours("sequential") * HOUR_S / seconds
