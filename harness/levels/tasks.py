"""L3 is never asked here: benchmarks say better or worse, and never equal or different."""

from __future__ import annotations

from harness.checker.outcome import Word
from harness.levels.state import Check

TITLE = "tasks: better or worse, from scored records"


def run(check: Check) -> tuple[Word | None, list[str]]:
    """Not asked."""
    del check
    return None, [
        "benchmarks say better or worse: enginediff compare REFERENCE.jsonl CANDIDATE.jsonl, "
        "of two runs' scored records"
    ]
