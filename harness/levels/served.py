"""L0b asked: what the chat API owes exactly, whatever the model says. No statistics.

usage       prompts are counted right
answering   limits, stop strings, finish reasons, streamed as unstreamed

After L2, which is cheaper, and says more of a model that babbles.
"""

from __future__ import annotations

from harness.checker.outcome import Word
from harness.levels import answering, usage
from harness.levels.contract import together
from harness.levels.state import Check

TITLE = "answers: counts, limits, stop strings, streamed as unstreamed"


def run(check: Check) -> tuple[Word | None, list[str]]:
    return together(check, (usage.run, answering.run))
