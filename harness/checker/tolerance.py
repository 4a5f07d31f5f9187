"""The null is measured, not assumed: tolerances from a pool of configurations that are right.

One tolerance per numerics class and stratum, and one over all strata together (`ALL`), which the
self-consistency of a candidate is judged by. Every error rate of a verdict is conditional on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.base.record import Bools, Floats
from harness.checker.distance import worst_segment
from harness.recording import PoolUnit

ALL = "all"
FLOOR = 1e-5  # nats: below this, no difference is worth a verdict
GAMMA = 2.0  # between engines: a candidate may be this much further off than the worst benign one
CAP = 4.0  # c_unit / tau, so that m = 1/4
SPARSE_SHARE = 0.05  # q: a share of bad sequences below this is not excluded
SPARSE_FLOOR = CAP * FLOOR
MINIMUM_CONFIGURATIONS = 6
MINIMUM_IMPLEMENTATIONS = 2


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


def calibrate(numerics: str, pool: Sequence[PoolUnit], strata: Iterable[str]) -> ClassTolerances:
    """Tolerances of a class from its pool, whose first configuration is the reference again."""
    configurations = tuple(dict.fromkeys(unit.configuration for unit in pool))
    implementations = tuple(dict.fromkeys(unit.implementation for unit in pool))
    groups = [(s, [unit for unit in pool if unit.stratum == s]) for s in strata]
    return ClassTolerances(
        numerics=numerics,
        configurations=configurations,
        implementations=implementations,
        gamma=GAMMA,
        weakness=_weakness(configurations, implementations),
        strata=tuple(_tolerance(name, units) for name, units in [*groups, (ALL, list(pool))]),
    )


def _weakness(configurations: Sequence[str], implementations: Sequence[str]) -> str | None:
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
    return None


def _tolerance(stratum: str, units: Sequence[PoolUnit]) -> Tolerance:
    if not units:
        raise ValueError(f"stratum {stratum!r}: the pool holds nothing")
    absolute = np.abs(np.concatenate([unit.distance.d for unit in units]))
    quantile = float(np.quantile(absolute, 0.999))
    changes = np.concatenate([unit.distance.margin_change for unit in units])
    m0 = float(np.quantile(changes, 0.999))
    clip = max(3 * quantile, CAP * FLOOR)
    tau_a = _tau(units, lambda unit: clipped_mean(unit.distance.d, clip))
    # 0 < tau < c, always: a heavy-tailed pool must not put the clip below the tolerance.
    c_token = max(clip, CAP * tau_a)
    return Tolerance(
        stratum=stratum,
        tau_a=tau_a,
        tau_k=_tau(units, lambda unit: float(unit.distance.divergence.mean())),
        tau_f=_tau(
            units, lambda unit: decisive_flips(unit.distance.flip, unit.distance.margin, m0)
        ),
        c_token=c_token,
        m0=m0,
        s0=max(GAMMA * max(worst_segment(unit.distance.d)[0] for unit in units), SPARSE_FLOOR),
        benign_d_999=quantile,
        benign_mean_d=_worst_mean(units, lambda unit: float(np.abs(unit.distance.d).mean())),
    )


def clipped_mean(d: Floats, c_token: float) -> float:
    """A of one sequence: the mean of min(|d|, c_token), nats."""
    return float(np.minimum(np.abs(d), c_token).mean())


def decisive_flips(flip: Bools, margin: Floats, m0: float) -> float:
    """F of one sequence: the share of tokens whose top-1 differs and was no near tie."""
    return float((flip & (margin > m0)).mean())


def _tau(units: Sequence[PoolUnit], statistic: Callable[[PoolUnit], float]) -> float:
    return max(GAMMA * _worst_mean(units, statistic), FLOOR)


def _worst_mean(units: Sequence[PoolUnit], statistic: Callable[[PoolUnit], float]) -> float:
    """The largest of the configurations' means over their units."""
    values: dict[str, list[float]] = {}
    for unit in units:
        values.setdefault(unit.configuration, []).append(statistic(unit))
    return max(sum(means) / len(means) for means in values.values())
