"""One kind of root cause: what it would show, how much that weighs, and what to try next.

A feature (`features.observed`) that is there adds its weight; one that contradicts takes away. The
weights are judgement, checked on real faults by scripts/zoo: 9 is what narrowing
showed, 3 what hardly anything else shows, 2 what is typical, 1 what fits, and below 0 what speaks
against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One kind of root cause. Its words go on after “may be” or “points to”."""

    name: str
    words: str
    weights: Mapping[str, float]  # feature -> weight
    next_step: str  # a command or a flag


# What holds of every cause that sits in the attention over positions: the first token attends to
# itself alone, so it is right whatever is done to positions.
BY_POSITION = {"first token right": 2.0, "first token wrong": -3.0, "bulk": 0.5, "sparse": -3.0}
# ... and of every cause that sits in the weights or the arithmetic of each token.
EVERYWHERE = {
    "first token wrong": 2.0,
    "first token right": -3.0,
    "level": 0.5,
    "bulk": 0.5,
    "sparse": -3.0,
}
OWN = {"L1 agrees": -2.0}  # what an engine that agrees with itself has not
