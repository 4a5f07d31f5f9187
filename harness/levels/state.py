"""What one check knows as it goes on, shared by its levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.base.record import Scores
from harness.candidate import Opened
from harness.checker import forced
from harness.checker.contract import RenderDifference
from harness.checker.judge import Judge
from harness.checker.outcome import LevelResult
from harness.checker.picture import Histogram
from harness.checker.tolerance import ClassTolerances
from harness.client import Asker
from harness.evidence import Evidence
from harness.recording import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides how sure a verdict is."""

    seed: int  # of the permutations
    alpha: float  # the chance of DIFFERENT at most, when the candidate is at its tolerance
    beta: float  # the chance of EQUIVALENT at most, when it is just beyond
    every_level: bool = False  # asked also after one has said DIFFERENT
    prompts: int | None = None  # drawn of a group at most; None: until the level knows its word


@dataclass(slots=True, kw_only=True)
class Finding:
    """The worst 16-token segment met so far."""

    mean: float = -1.0
    row: int = -1
    start: int = 0
    scores: Scores | None = None
    whole: Scores | None = None  # of all the sequence, where the first bad token is found
    alone: Scores | None = None  # the same, asked again with nothing beside it


@dataclass(slots=True, kw_only=True)
class Check:
    """One check as it goes on. `run` leaves everything that the verdict is made of here."""

    opened: Opened
    trace: Trace
    tolerances: ClassTolerances
    settings: Settings
    evidence: Evidence
    announce: Callable[[str], None]
    live: Opened | None = None  # a running reference
    findings: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    levels: list[LevelResult] = field(default_factory=list)
    judges: list[Judge] = field(default_factory=list)
    breakdown: forced.Breakdown = field(default_factory=forced.Breakdown)
    histogram: Histogram = field(default_factory=Histogram)
    worst: Finding = field(default_factory=Finding)
    misrendered: RenderDifference | None = None  # the first prompt that is rendered otherwise
    too_long: dict[str, str] | None = None  # strata -> why not asked; None: not found out yet
    tokens: int = 0
    kept: frozenset[int] = frozenset()  # the rows of `scores`, which L1 takes up
    scores: dict[int, Scores] = field(default_factory=dict)  # row -> what the busy server said
    classes: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    texts: dict[int, str] = field(default_factory=dict)

    @property
    def asker(self) -> Asker:
        return self.opened.asker

    @property
    def top_k(self) -> int:
        return int(self.trace.manifest["top_k"])
