"""The pin level asked: the engine runs as it was configured. Nothing is scored."""

from __future__ import annotations

from harness.checker.outcome import Word
from harness.levels.state import Check

TITLE = "configured = running: the engine reports what its pin says"


def run(check: Check) -> tuple[Word, list[str]]:
    """DIFFERENT where something runs otherwise than the pin says or promises."""
    found = check.opened.running
    assert found is not None  # a server without a pin has no such level
    if found.differences:
        return Word.DIFFERENT, [str(difference) for difference in found.differences]
    reasons = [f"as pinned: {', '.join(found.equal)}"]
    if found.unreported:
        reasons.append(f"not reported by the engine: {', '.join(found.unreported)}")
    return Word.EQUIVALENT, reasons
