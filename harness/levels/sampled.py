"""The sampler audited: is what is drawn distributed as temperature and top-p promise?"""

from __future__ import annotations

from harness.checker.outcome import Word
from harness.levels.state import Check

TITLE = "sampler: what is drawn is what was promised"


def run(check: Check) -> tuple[Word | None, list[str]]:
    """Not asked."""
    del check
    return None, ["not built yet"]
