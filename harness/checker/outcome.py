"""What one level of the check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Word(StrEnum):
    """The only three words there are."""

    EQUIVALENT = "EQUIVALENT"
    DIFFERENT = "DIFFERENT"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticRow:
    """One statistic in one group (a stratum, or a comparison of L1), as far as it was drawn."""

    level: str
    group: str
    statistic: str  # A, K, F or S
    value: float | None  # mean over the units drawn, a unit at most 4 tolerances; None: no unit
    raw: float | None  # the same mean, nothing clipped
    tolerance: float  # what that mean may be
    units: int  # prompts drawn
    population: int  # prompts there are
    log10_different: float  # of the evidence E_diff; 2.3 is 200 to 1
    log10_equivalent: float
    equivalent: bool
    units_needed: int | None  # prompts still to draw if they stay as they are; None: not to be had

    def above(self) -> bool:
        """Whether the mean that is judged lies above the tolerance."""
        return self.value is not None and self.value > self.tolerance

    def shown(self) -> float | None:
        """The mean to show: above the tolerance, clipping would hide how far."""
        return self.raw if self.above() else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelResult:
    """What one level found. `word` None: it was not asked, and the reasons say why."""

    level: str
    title: str
    word: Word | None
    reasons: tuple[str, ...]
    tokens: int
    seconds: float
    findings: Mapping[str, Any] = field(default_factory=dict[str, Any])  # of this level: JSON
