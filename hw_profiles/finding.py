"""One difference between a node and what it must be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from hw_profiles.reading import Maybe, T, Unknown

Severity = Literal["blocking", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`blocking`: a launch would fail, or its outputs could not be relied on.

    `warning`: what is measured here may not be what this type of node gives.
    """

    severity: Severity
    what: str
    found: str
    wanted: str
    remedy: str


# severity, what was found, what to do
Difference = tuple[Severity, str, str]


def judged(
    what: str,
    value: Maybe[T],
    wanted: str,
    difference: Callable[[T], Difference | None],
    *,
    look: str,
) -> Iterator[Finding]:
    """The finding about one value, if there is one; what is not known is a warning.

    `look`: where to look for a value that could not be read.
    """
    if isinstance(value, Unknown):
        found: Difference | None = ("warning", f"not known: {value.reason}", look)
    else:
        found = difference(value)
    if found is not None:
        severity, shown, remedy = found
        yield Finding(severity=severity, what=what, found=shown, wanted=wanted, remedy=remedy)


def reaches(version: str, minimum: str) -> bool:
    """Whether a version like 580.82.07 is the minimum or newer. ValueError: not a version."""
    return [int(part) for part in version.split(".")] >= [int(part) for part in minimum.split(".")]
