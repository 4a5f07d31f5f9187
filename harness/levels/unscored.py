"""The black box: texts of an endpoint that gives no logprobs, against the reference's."""

from __future__ import annotations

from harness.checker.outcome import Word
from harness.levels.state import Check

TITLE = "black box: texts alone, where no logprobs can be had"


def run(check: Check) -> tuple[Word | None, list[str]]:
    """Not asked."""
    del check
    return None, ["logprobs can be had, which tell more"]
