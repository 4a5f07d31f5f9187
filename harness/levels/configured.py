"""The pin level asked: the engine runs as it was configured. Nothing is scored."""

from __future__ import annotations

from harness.checker.outcome import Word
from harness.levels.state import Check
from launchers.running import Comparison

TITLE = "configured = running: the engine reports what its pin says"


def run(check: Check) -> tuple[Word | None, list[str]]:
    """What was found when the engine was launched."""
    found = check.opened.running
    if found is None:
        return None, ["somebody else's server has no pin"]
    return judged(found)


def judged(found: Comparison) -> tuple[Word, list[str]]:
    """DIFFERENT where something runs otherwise than the pin says or promises."""
    if found.differences:
        return Word.DIFFERENT, [str(difference) for difference in found.differences]
    reasons = [f"as pinned: {', '.join(found.equal)}"]
    if found.unreported:
        reasons.append(f"not reported by the engine: {', '.join(found.unreported)}")
    return Word.EQUIVALENT, reasons
