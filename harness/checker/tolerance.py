"""The null is measured, not assumed: tolerances from a pool of configurations that are right.

One tolerance per numerics class and stratum, and one over all strata together (`ALL`), which the
self-consistency of a candidate is judged by. Every error rate of a verdict is conditional on them.

The pool is read in passes and never held, so memory does not grow with its tokens. What that costs:
the two quantiles (`benign_d_999` and `m0`) are up to 0.1 % above those of all values at once, never
below (`quantiles.Counts`), and with the first `c_token` and `tau_a` are; the others are exact, F as
a function of its `m0`. All are of the float32 values that the trace holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.base.record import Bools, Bounds, Floats, whole
from harness.checker.distance import means, worst_segment
from harness.checker.quantiles import Counts
from harness.recording import PoolUnit

ALL = "all"
FLOOR = 1e-5  # nats: below this, no difference is worth a verdict
GAMMA = 2.0  # between engines: a candidate may be this much further off than the worst benign one
CAP = 4.0  # c_unit / tau, so that m = 1/4
SPARSE_SHARE = 0.05  # q: a share of bad sequences below this is not excluded
SPARSE_FLOOR = CAP * FLOOR
MINIMUM_CONFIGURATIONS = 6
MINIMUM_IMPLEMENTATIONS = 2
MINIMUM_PROMPTS = 80  # of a stratum: fewer is said, for a claim about few prompts says little
EVIDENTLY_WRONG = 10.0  # times the worst mean |d| of the configurations that are right


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What a candidate of one numerics class is held to in one stratum."""

    stratum: str
    tau_a: float  # nats: mean clipped |d|
    tau_k: float  # nats: mean divergence
    tau_f: float  # share of tokens whose top-1 differs although it was no near tie
    c_token: float  # nats: |d| is clipped here
    m0: float  # nats: a top-1 margin below this is a near tie
    s0: float  # nats: a sequence with a worse 16-token segment is a bad one
    benign_d_999: float  # nats: the benign 99.9 % quantile of |d|, for pictures
    benign_mean_d: float  # nats: the worst benign configuration's mean |d|


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTolerances:
    """The tolerances of one numerics class, and whether its pool can support EQUIVALENT."""

    numerics: str
    configurations: tuple[str, ...]
    implementations: tuple[str, ...]
    gamma: float
    weakness: str | None  # why EQUIVALENT cannot be supported; None where it can
    strata: tuple[Tolerance, ...]  # `ALL` last

    def of(self, stratum: str) -> Tolerance:
        return next(t for t in self.strata if t.stratum == stratum)


def calibrate(
    numerics: str, pool: Iterable[PoolUnit], strata: Iterable[str], gamma: float = GAMMA
) -> ClassTolerances:
    """Tolerances of a class from its pool, whose first configuration is the reference again.

    `pool` is iterated twice, from its start each time.
    """
    names = [*strata, ALL]
    spread = {name: _Spread() for name in names}
    implementations: dict[str, None] = {}
    for unit in pool:
        implementations[unit.implementation] = None
        for name in {unit.stratum, ALL} & spread.keys():
            spread[name].add(unit)
    for name, found in spread.items():
        if not found.means_d.sums:
            raise ValueError(f"stratum {name!r}: the pool holds nothing")
    clipped = {name: _Clipped(found) for name, found in spread.items()}
    for unit in pool:
        for name in {unit.stratum, ALL} & spread.keys():
            clipped[name].add(unit)
    configurations = tuple(spread[ALL].means_d.sums)
    return ClassTolerances(
        numerics=numerics,
        configurations=configurations,
        implementations=tuple(implementations),
        gamma=gamma,
        weakness=_weakness(configurations, tuple(implementations), spread[ALL].means_d.worst()),
        strata=tuple(_tolerance(name, spread[name], clipped[name], gamma) for name in names),
    )


def evidently_wrong(pool: Iterable[PoolUnit], suspects: Collection[str]) -> list[str]:
    """Which of the `suspects`, configurations of a class that the reference did not compute itself,
    lie so far from it that they would not measure what is benign but hide what is not: in words.

    Against those that the reference computed, in each stratum; none of these is suspected.
    """
    right: dict[str, Means] = {}
    suspected: dict[str, Means] = {}
    for unit in pool:
        side = suspected if unit.configuration in suspects else right
        means = side.setdefault(unit.stratum, Means())
        means.add(unit.configuration, float(np.abs(unit.distance.d).mean()))
    said: list[str] = []
    for stratum, means in suspected.items():
        usual = max(right[stratum].worst(), FLOOR)
        said += [
            f"{configuration}: mean |d| in {stratum} is {mean:.3g} nats, {mean / usual:.3g} times "
            f"the {usual:.3g} of the worst of the reference's own configurations"
            for configuration, mean in means.each().items()
            if mean > EVIDENTLY_WRONG * usual
        ]
    return said


def _weakness(
    configurations: Sequence[str], implementations: Sequence[str], worst_d: float
) -> str | None:
    if len(implementations) < MINIMUM_IMPLEMENTATIONS:
        return (
            f"its benign pool holds {len(implementations)} implementation(s); "
            f"EQUIVALENT needs {MINIMUM_IMPLEMENTATIONS} independent ones"
        )
    if len(configurations) < MINIMUM_CONFIGURATIONS:
        return (
            f"its benign pool holds {len(configurations)} configurations; "
            f"EQUIVALENT needs {MINIMUM_CONFIGURATIONS}"
        )
    if worst_d == 0:
        return "its benign pool agrees with the reference to the bit, so it measures nothing"
    return None


@dataclass(frozen=True, slots=True)
class Means:
    """The mean of a statistic over the units of each configuration."""

    sums: dict[str, float] = field(default_factory=dict[str, float])
    units: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, configuration: str, value: float) -> None:
        self.sums[configuration] = self.sums.get(configuration, 0.0) + value
        self.units[configuration] = self.units.get(configuration, 0) + 1

    def each(self) -> dict[str, float]:
        return {name: total / self.units[name] for name, total in self.sums.items()}

    def worst(self) -> float:
        """The largest of the configurations' means."""
        return max(self.each().values())


class _Spread:
    """The first pass: all that no clip has a part in."""

    def __init__(self) -> None:
        self.absolute, self.margin_changes = Counts(), Counts()
        self.means_d, self.means_k = Means(), Means()
        self.worst_segment = 0.0

    def add(self, unit: PoolUnit) -> None:
        distance, name = unit.distance, unit.configuration
        absolute = np.abs(distance.d)
        self.absolute.add(absolute)
        self.margin_changes.add(distance.margin_change)
        self.means_d.add(name, float(absolute.mean()))
        self.means_k.add(name, float(distance.divergence.mean()))
        self.worst_segment = max(self.worst_segment, worst_segment(distance.d)[0])


class _Clipped:
    """The second pass: what is clipped at a quantile of the first."""

    def __init__(self, spread: _Spread) -> None:
        self.quantile = spread.absolute.quantile(0.999)
        self.clip = max(3 * self.quantile, CAP * FLOOR)
        self.m0 = spread.margin_changes.quantile(0.999)
        self.means_a, self.means_f = Means(), Means()

    def add(self, unit: PoolUnit) -> None:
        distance, name = unit.distance, unit.configuration
        self.means_a.add(name, clipped_mean(distance.d, self.clip))
        self.means_f.add(name, decisive_flips(distance.flip, distance.margin, self.m0))


def _tolerance(stratum: str, spread: _Spread, clipped: _Clipped, gamma: float) -> Tolerance:
    tau_a = max(gamma * clipped.means_a.worst(), FLOOR)
    return Tolerance(
        stratum=stratum,
        tau_a=tau_a,
        tau_k=max(gamma * spread.means_k.worst(), FLOOR),
        tau_f=max(gamma * clipped.means_f.worst(), FLOOR),
        # 0 < tau < c, always: a heavy-tailed pool must not put the clip below the tolerance.
        c_token=max(clipped.clip, CAP * tau_a),
        m0=clipped.m0,
        s0=max(gamma * spread.worst_segment, SPARSE_FLOOR),
        benign_d_999=clipped.quantile,
        benign_mean_d=spread.means_d.worst(),
    )


def clipped_means(d: Floats, bounds: Bounds, c_token: float) -> Floats:
    """A (P,) of each sequence: the mean of min(|d|, c_token), nats."""
    return means(np.minimum(np.abs(d), c_token), bounds)


def decisive_shares(flip: Bools, margin: Floats, bounds: Bounds, m0: float) -> Floats:
    """F (P,) of each sequence: the share of tokens whose top-1 differs and was no near tie."""
    return means((flip & (margin > m0)).astype(np.float64), bounds)


def clipped_mean(d: Floats, c_token: float) -> float:
    """A of one sequence."""
    return float(clipped_means(d, whole(d), c_token)[0])


def decisive_flips(flip: Bools, margin: Floats, m0: float) -> float:
    """F of one sequence."""
    return float(decisive_shares(flip, margin, whole(margin), m0)[0])
