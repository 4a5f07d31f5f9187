"""L0 asked: what an engine owes exactly, part by part. No statistics.

rendering   prompts become the same token ids, and are counted right
templates   so do chats that nobody scores, one for each thing that a template gets wrong
parsing     raw answers become the same reasoning, content and tool calls, however they are cut
answering   limits, stop strings, finish reasons, streamed as unstreamed

A part that finds a difference decides; the others are asked all the same, so that one run tells
all that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.checker.outcome import Word
from harness.levels import answering, parsing, rendering, templates
from harness.levels.state import Check

TITLE = "contract: the same tokens in, the same answers out"

PARTS: tuple[Callable[[Check], tuple[Word | None, list[str]]], ...] = (
    rendering.run,
    templates.run,
    parsing.run,
    answering.run,
)


def run(check: Check) -> tuple[Word, list[str]]:
    """DIFFERENT where any part says so; EQUIVALENT where none lacks anything."""
    found = [part(check) for part in PARTS]
    for word in (Word.DIFFERENT, Word.INCONCLUSIVE):
        reasons = [reason for said, part in found if said is word for reason in part]
        if reasons:
            return word, reasons
    return Word.EQUIVALENT, [reason for _, part in found for reason in part]
