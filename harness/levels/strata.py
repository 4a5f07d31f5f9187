"""L2 stratum by stratum: how far off, growing with the position or not, and against which scale.

Where the reference computes in more precision than the candidate promises, there is a scale that is
the model's own: how far the reference lies from itself when it computes in the candidate's class.

    ratio = mean |d| of the candidate / mean |d| of the reference in the candidate's class

on the same prompts, both against the reference in its own precision (the "sigma ratio" by which AWS
Neuron accepts a port). About 1: what the class costs anybody. For the reader: it decides nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from harness.base.record import Distance
from harness.checker.forced import Breakdown
from harness.levels.state import Check
from harness.recording import Recorded

PRECISE = ("float32", "float64")  # what the reference must compute in
PRECISE_CLASS = "fp32"  # which has nothing above it


class Asked:
    """What was asked of one stratum. Of a prompt its id is held, and nothing of its tokens."""

    def __init__(self) -> None:
        self.breakdown = Breakdown()
        self.cases: set[str] = set()

    def add(self, recorded: Recorded, distance: Distance, classes: npt.NDArray[np.int64]) -> None:
        self.cases.add(recorded.case.id)
        self.breakdown.add(distance.d, classes, recorded.prompt_tokens)


def strata_table(check: Check, asked: dict[str, Asked]) -> list[dict[str, Any]]:
    """A row a stratum that was asked: JSON. `ratio` and what it is made of are None where the
    reference is not more precise than the candidate's class."""
    own = _own_error(check, asked)
    rows: list[dict[str, Any]] = []
    for stratum, found in asked.items():
        table, error = found.breakdown.table(), own.get(stratum)
        mean = table["mean_absolute_d"]
        if mean is None:
            continue
        rows.append(
            {
                "stratum": stratum,
                "prompts": len(found.cases),
                "mean_absolute_d": mean,
                "mean_d": table["mean_d"],
                "slope_per_doubling": table["slope_per_doubling"],
                "reference_mean_absolute_d": error,
                "ratio": mean / error if error else None,
            }
        )
    return rows


def _own_error(check: Check, asked: dict[str, Asked]) -> dict[str, float]:
    """stratum -> mean |d| over tokens of the reference itself in the candidate's class, over the
    prompts that the candidate was asked. The first configuration of a pool is the reference again.
    """
    tolerances = check.tolerances
    dtype = check.trace.manifest["reference"]["identity"].get("dtype")
    if tolerances.numerics == PRECISE_CLASS or dtype not in PRECISE:
        return {}
    sums = {stratum: np.zeros(2) for stratum in asked}  # tokens, sum of |d|
    units = check.trace.pool().only(tolerances.numerics, tolerances.configurations[0])
    for unit in units:
        if unit.stratum in asked and unit.case_id in asked[unit.stratum].cases:
            sums[unit.stratum] += (len(unit.distance.d), np.abs(unit.distance.d).sum())
    return {stratum: total / tokens for stratum, (tokens, total) in sums.items() if tokens}
