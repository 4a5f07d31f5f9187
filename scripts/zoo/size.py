"""How large a fault is, in the tolerances that it is held to: the engine with it against the same
engine without, on the same tokens, by the checker's own statistics. What a reference says of either
has no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.base.record import Distances
from harness.checker import distance
from harness.checker.judge import STATISTICS
from harness.checker.tolerance import ALL, ClassTolerances
from scripts.zoo.probe import Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The statistic by which a fault is the largest."""

    statistic: str
    ratio: float  # its mean over all prompts, in tolerances; above 1 it is what is looked for
    prompts: int
    tokens: int

    @property
    def small(self) -> bool:
        return self.ratio <= 1


def of(healthy: Probe, fault: Probe, tolerances: ClassTolerances) -> Size | None:
    """None where the two have scored nothing in common."""
    known = healthy.scores or {}
    pairs = [(known[name], own) for name, own in (fault.scores or {}).items() if name in known]
    apart = [Distances.of(distance.between(one, other)) for one, other in pairs]
    if not apart:
        return None
    held = tolerances.of(ALL)
    ratios = [
        (float(np.mean([one.of(d, held)[0] for d in apart])) / one.tau(held), one.name)
        for one in STATISTICS
    ]
    ratio, statistic = max(ratios)
    tokens = sum(len(d.d) for d in apart)
    return Size(statistic=statistic, ratio=ratio, prompts=len(apart), tokens=tokens)
