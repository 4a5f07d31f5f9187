"""What a level can ask of a candidate: everything, unless it is an endpoint that cannot do it."""

from __future__ import annotations

from harness.checker.outcome import Word
from harness.levels.state import Check
from launchers.capabilities import TITLES, Capability


def missing(check: Check, *names: str) -> list[str]:
    """Why this candidate cannot be asked for what `names` says; empty where it can."""
    found = {name: capability(check, name) for name in names}
    return [
        f"cannot be asked: {TITLES[name]} ({one.able}: {one.evidence})"
        for name, one in found.items()
        if one is not None and not one.yes
    ]


def capability(check: Check, name: str) -> Capability | None:
    """None: an engine that was launched, or whose language says all."""
    known = check.opened.capabilities
    return None if known is None else getattr(known, name)


def alternatives(check: Check, name: str, wanted: int) -> int:
    """How many alternatives of each position can be had: `wanted`, or what the endpoint gives."""
    known = capability(check, name)
    return wanted if known is None or known.most is None else min(wanted, known.most)


def at_best_inconclusive(
    word: Word, reasons: list[str], lacking: list[str]
) -> tuple[Word, list[str]]:
    """A level that could not ask all: a fault that it found stands, that there is none does not."""
    if word is Word.DIFFERENT or not lacking:
        return word, reasons
    return Word.INCONCLUSIVE, [*lacking, *reasons]
