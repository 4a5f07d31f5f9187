"""L2b asked: the candidate generates, a live reference scores what came."""

from __future__ import annotations

from harness.checker.outcome import Word
from harness.levels.state import Check

TITLE = "decode: what it generates, scored by a live reference"


def run(check: Check) -> tuple[Word | None, list[str]]:
    """Not asked."""
    del check
    return None, ["there is no live reference"]
