"""One alpha over several suites: Holm's steps for p, the average for evidence that is a wealth."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.checker.eprocess import log_weighted_sum


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p, in the order given: at or below alpha, that suite differs, and the chance that
    any is named wrongly is alpha at most (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    adjusted = [0.0] * len(p)
    highest = 0.0
    for step, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - step) * p[i]))
        adjusted[i] = highest
    return adjusted


def log_average(logs: Sequence[float]) -> float:
    """ln of the mean wealth: valid however the suites depend on each other (Vovk and Wang,
    "E-values: calibration, combination and applications", Annals of Statistics 49, 2021)."""
    return log_weighted_sum([1 / len(logs)] * len(logs), logs)


def log_alone(log: float, suites: int) -> float:
    """ln of what one suite's wealth counts for when it is named among several."""
    return log - math.log(suites)
