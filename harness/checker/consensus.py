"""Who stands alone among engines that have no reference: pure arithmetic on pairwise distances.

D_ij(s) is how far engines i and j lie apart on sequence s, in nats (mean |d| over its tokens). X
stands apart from A and B when A and B agree with each other far more closely than either agrees
with X: the mean over sequences of

    r(s) = (D_AB(s) + FLOOR) / (D_AB(s) + D_XA(s) + 2 FLOOR)        in (0, 1)

and of the same with D_XB lies below 1 / (1 + RATIO). Without a scale: it does not matter how large
the benign differences of this model are. FLOOR keeps two differences that are both nothing from
having a ratio. The bet is that of `eprocess`, on sequences taken as independent draws, and its
threshold is shared by all triples that are looked at.

An engine that promises less than A and B is expected to lie further off, and cannot be the odd one
among them: `may_stand_apart`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from harness.base.record import Floats
from harness.checker.eprocess import EProcess
from harness.checker.tolerance import FLOOR

RATIO = 4.0  # X is this much further from A and from B than these are from each other
MEAN = 1 / (1 + RATIO)
ENDLESS = 10**12  # a population so large that draws from it are independent
MINIMUM = 3  # of two engines that disagree, either may be the wrong one

Pair = tuple[int, int]  # (i, j), i < j


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """How sure it is that `engine` stands apart from the two others."""

    engine: int
    others: Pair
    log10_apart: float  # of the smaller of the two bets


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """`core` agrees; everyone else stands apart from each pair of it. Empty: nobody can tell."""

    core: tuple[int, ...]
    alone: tuple[int, ...]
    triples: tuple[Triple, ...]
    needed_log10: float


def judge(distances: Mapping[Pair, Floats], looseness: Sequence[int], alpha: float) -> Consensus:
    """`distances`: (S,) of each pair; `looseness`: of what each engine promises, 0 the strictest.

    A wrong name in `alone` has a chance of `alpha` at most.
    """
    engines = range(len(looseness))
    if len(looseness) < MINIMUM:
        raise ValueError(f"{len(looseness)} engines; there must be {MINIMUM} or more")
    candidates = [
        (x, (a, b))
        for x in engines
        for a, b in combinations([e for e in engines if e != x], 2)
        if may_stand_apart(looseness[x], looseness[a], looseness[b])
    ]
    triples = [
        Triple(engine=x, others=pair, log10_apart=_log10_apart(distances, x, pair))
        for x, pair in candidates
    ]
    needed = math.log10(max(len(triples), 1) / alpha)
    apart = {(t.engine, t.others) for t in triples if t.log10_apart >= needed}
    core = _largest_core(len(looseness), apart)
    return Consensus(
        core=core,
        alone=tuple(e for e in engines if e not in core) if core else (),
        triples=tuple(triples),
        needed_log10=needed,
    )


def may_stand_apart(own: int, first: int, second: int) -> bool:
    """Whether an engine promises as much as the looser of two others."""
    return own <= max(first, second)


def _log10_apart(distances: Mapping[Pair, Floats], x: int, pair: Pair) -> float:
    near = distances[pair]
    return min(_log10_closer(near, distances[min(x, o), max(x, o)]) for o in pair)


def _log10_closer(near: Floats, far: Floats) -> float:
    """log10 of the evidence that RATIO x `near` lies below `far`, (S,) each."""
    ratios = (near + FLOOR) / (near + far + 2 * FLOOR)
    process = EProcess(population=ENDLESS, mean=MEAN)
    process.extend(ratios)
    return process.log_equivalent / math.log(10)


def _largest_core(count: int, apart: set[tuple[int, Pair]]) -> tuple[int, ...]:
    """The largest majority whose every pair has each outsider apart; () where there is none."""
    for size in range(count - 1, count // 2, -1):
        found = [
            core
            for core in combinations(range(count), size)
            if all((x, p) in apart for x in _outside(core, count) for p in combinations(core, 2))
        ]
        if len(found) == 1:
            return found[0]
    return ()


def _outside(core: Sequence[int], count: int) -> list[int]:
    return [e for e in range(count) if e not in core]


def mean_absolute(first: Floats, second: Floats) -> float:
    """How far two engines lie apart on one sequence: the mean of |first - second|, nats."""
    return float(np.abs(first - second).mean())
