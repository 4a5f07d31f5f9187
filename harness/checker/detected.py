"""How often each detector finds something in the answers of one engine, and the first of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.checker.detectors import DETECTORS, Detection

EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One request, as it is counted."""

    n: int  # of the request, and its case: where a reader finds it
    case: str
    answered: bool
    detections: tuple[Detection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Where something was found, and what."""

    n: int
    case: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One detector."""

    name: str
    answers: int  # in which it found something
    examples: tuple[Example, ...]  # the first EXAMPLES


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """All detectors. The share of one is `answers / answered`: who gave no answer is not in it."""

    asked: int
    answered: int
    rows: tuple[Row, ...]  # all of DETECTORS, in that order


def counted(found: Iterable[Found]) -> Counted:
    """Reads it once, and keeps counts and examples only."""
    asked = answered = 0
    answers = dict.fromkeys(DETECTORS, 0)
    examples: dict[str, list[Example]] = {name: [] for name in DETECTORS}
    for one in found:
        asked += 1
        answered += one.answered
        for each in one.detections:
            answers[each.name] += 1
            if len(examples[each.name]) < EXAMPLES:
                examples[each.name].append(Example(n=one.n, case=one.case, evidence=each.evidence))
    return Counted(
        asked=asked,
        answered=answered,
        rows=tuple(
            Row(name=name, answers=answers[name], examples=tuple(examples[name]))
            for name in DETECTORS
        ),
    )
