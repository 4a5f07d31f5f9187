"""What a difference may come from: the causes, ranked by how well what was seen fits them.

Never a fact: many causes look alike, and one that is not in the table is not named. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.checker.cause import Cause
from harness.checker.causes import CAUSES
from harness.checker.features import Seen, observed

MOST = 5  # causes that are named
LEAST = 1.0  # weight, to be named at all
STRONG = 3.0  # weight from which on it “points to” and not only “may be”


@dataclass(frozen=True, slots=True, kw_only=True)
class Likely:
    """One cause that fits."""

    cause: str  # its name in the table
    words: str  # "may be …" or "points to …"
    why: tuple[str, ...]  # what was seen that fits, the weightiest first
    next_step: str
    weight: float


def diagnose(seen: Seen) -> tuple[Likely, ...]:
    """The likeliest first; none where nothing that was seen fits any."""
    found = observed(seen)
    ranked = sorted((_likely(cause, found) for cause in CAUSES), key=lambda one: -one.weight)
    return tuple(one for one in ranked if one.weight >= LEAST)[:MOST]


def _likely(cause: Cause, found: dict[str, str]) -> Likely:
    there = {name: weight for name, weight in cause.weights.items() if name in found}
    fitting = sorted((name for name in there if there[name] > 0), key=lambda name: -there[name])
    # What agrees speaks for a cause only beside something that differs.
    weight = 0.0 if all(name.endswith(" agrees") for name in fitting) else sum(there.values())
    return Likely(
        cause=cause.name,
        words=f"{'points to' if weight >= STRONG else 'may be'} {cause.words}",
        why=tuple(found[name] for name in fitting),
        next_step=cause.next_step,
        weight=weight,
    )
