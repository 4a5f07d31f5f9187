"""The sequential decision over groups of prompts, for teacher forcing (a group is a stratum) and
for self-consistency (a group is a comparison).

In each group four statistics, a unit being one prompt:

    A  mean of min(|d|, c_token)                     bulk: most faults
    K  mean divergence over the top-k lists          bulk: the whole distribution
    F  share of tokens with another, decisive top-1  what greedy decoding would show
    S  1 where the worst 16-token segment is bad     sparse: a few sequences, badly wrong

DIFFERENT when the weighted sum of all E_diff, and of their products over groups that share no
prompt, reaches 1/alpha; EQUIVALENT when every E_eq of every group has reached 1/beta; otherwise
INCONCLUSIVE.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.base.record import Distance, Distances, Floats
from harness.checker.distance import means, worst_segments
from harness.checker.eprocess import EProcess, log_weighted_sum, units_to_equivalent
from harness.checker.outcome import StatisticRow, Word
from harness.checker.tolerance import (
    CAP,
    SPARSE_SHARE,
    Tolerance,
    clipped_means,
    decisive_shares,
)
from harness.checker.trail import Trail


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One statistic of prompts, and what its mean may be."""

    name: str
    of: Callable[[Distances, Tolerance], Floats]  # (P,)
    tau: Callable[[Tolerance], float]
    cap: float  # c_unit / tau: the value of one unit is clipped here

    def of_one(self, distance: Distance, tolerance: Tolerance) -> float:
        """Of a single prompt."""
        return float(self.of(Distances.of(distance), tolerance)[0])


STATISTICS = (
    Statistic(
        name="A",
        of=lambda x, t: clipped_means(x.d, x.bounds, t.c_token),
        tau=lambda t: t.tau_a,
        cap=CAP,
    ),
    Statistic(
        name="K", of=lambda x, _: means(x.divergence, x.bounds), tau=lambda t: t.tau_k, cap=CAP
    ),
    Statistic(
        name="F",
        of=lambda x, t: decisive_shares(x.flip, x.margin, x.bounds, t.m0),
        tau=lambda t: t.tau_f,
        cap=CAP,
    ),
    Statistic(
        name="S",
        of=lambda x, t: (worst_segments(x.d, x.bounds) > t.s0).astype(np.float64),
        tau=lambda _: SPARSE_SHARE,
        cap=1 / SPARSE_SHARE,
    ),
)
OF_GIVEN_TOKENS = tuple(s for s in STATISTICS if s.name in "AS")  # which need no alternatives


class _Series:
    """One statistic in one group: its e-process and its running mean."""

    def __init__(self, statistic: Statistic, population: int, tolerance: Tolerance) -> None:
        self.statistic = statistic
        self.tolerance = tolerance
        self.tau = statistic.tau(tolerance)
        self.process = EProcess(population=population, mean=1 / statistic.cap)
        self.sum = 0.0
        self.trail = Trail()

    def extend(self, distances: Distances) -> None:
        values = self.statistic.of(distances, self.tolerance)
        ceiling = self.statistic.cap * self.tau
        self.trail.extend(self.process.extend(np.minimum(values, ceiling) / ceiling))
        self.sum += float(values.sum())


class Judge:
    """Takes distances prompt by prompt, in the order of the permutation, and knows the verdict."""

    def __init__(
        self,
        *,
        level: str,
        groups: Mapping[str, tuple[int, Tolerance]],
        alpha: float,
        beta: float,
        statistics: Sequence[Statistic] = STATISTICS,
        own: Mapping[str, Sequence[Statistic]] | None = None,
        together: bool = False,
    ) -> None:
        """`groups`: name -> (how many prompts there are, what they are held to).

        `own`: name -> what that group is judged by instead of `statistics`.
        `together`: no two groups share a prompt, so that what they show may be multiplied.
        """
        self.level = level
        self.alpha = alpha
        self.beta = beta
        self._together = together
        self._series = {
            name: [_Series(one, population, tolerance) for one in (own or {}).get(name, statistics)]
            for name, (population, tolerance) in groups.items()
        }

    def add(self, group: str, distance: Distance) -> None:
        """One more prompt of `group`."""
        self.extend(group, Distances.of(distance))

    def extend(self, group: str, distances: Distances) -> None:
        """Further prompts of `group`, in the order in which they are drawn."""
        for series in self._series[group]:
            series.extend(distances)

    def settled(self, group: str) -> bool:
        """Whether every statistic of the group has shown EQUIVALENT: no need to draw on."""
        needed = -math.log(self.beta)
        return all(s.process.log_equivalent >= needed for s in self._series[group])

    def drawn(self, group: str) -> int:
        return self._series[group][0].process.drawn

    def log_different(self) -> float:
        """ln of the weighted sum of all E_diff; the weights sum to 1.

        Groups that share no prompt are drawn independently, so that the product of their E_diff of
        one statistic is a supermartingale too where no group is above its tolerance. Half of the
        weight then lies on these products: a fault that is in every stratum shows in a few prompts
        of all of them together.
        """
        alone = [[s.process.log_different for s in group] for group in self._series.values()]
        logs = [log for group in alone for log in group]
        if not self._together:
            return log_weighted_sum([1 / len(logs)] * len(logs), logs)
        products = [sum(of_one) for of_one in zip(*alone, strict=True)]
        weights = [0.5 / len(logs)] * len(logs) + [0.5 / len(products)] * len(products)
        return log_weighted_sum(weights, logs + products)

    def word(self) -> Word:
        if self.log_different() >= -math.log(self.alpha):
            return Word.DIFFERENT
        if all(self.settled(group) for group in self._series):
            return Word.EQUIVALENT
        return Word.INCONCLUSIVE

    def rows(self) -> tuple[StatisticRow, ...]:
        """All statistics, the strongest evidence for DIFFERENT first."""
        rows = [self._row(group, s) for group, series in self._series.items() for s in series]
        return tuple(sorted(rows, key=lambda row: -row.log10_different))

    def paths(self) -> dict[str, list[tuple[int, float, float]]]:
        """(prompts drawn, log10 E_diff, log10 E_eq), by "group statistic"; of many, some."""
        return {
            f"{group} {s.statistic.name}": [
                (drawn, _log10(different), _log10(equivalent))
                for drawn, different, equivalent in s.trail.points()
            ]
            for group, series in self._series.items()
            for s in series
        }

    def _row(self, group: str, series: _Series) -> StatisticRow:
        process = series.process
        drawn = process.drawn
        unit = process.total / drawn if drawn else 0.0
        ceiling = series.statistic.cap * series.tau
        return StatisticRow(
            level=self.level,
            group=group,
            statistic=series.statistic.name,
            value=unit * ceiling if drawn else None,
            raw=series.sum / drawn if drawn else None,
            tolerance=series.tau,
            units=drawn,
            population=process.population,
            log10_different=_log10(process.log_different),
            log10_equivalent=_log10(process.log_equivalent),
            equivalent=process.log_equivalent >= -math.log(self.beta),
            units_needed=units_to_equivalent(process, unit, self.beta),
        )


def _log10(log: float) -> float:
    """Certainty is written as 1e6: JSON has no infinity."""
    return min(log / math.log(10), 1e6)
