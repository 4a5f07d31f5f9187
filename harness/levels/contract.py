"""L0 asked: what an engine owes exactly, part by part. No statistics.

rendering   prompts become the same token ids
templates   so do chats that nobody scores, one for each thing that a template gets wrong
parsing     raw answers become the same reasoning, content and tool calls, however they are cut

A part that finds a difference decides; the others are asked all the same, so that one run tells
all that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.checker.outcome import Word
from harness.levels import parsing, rendering, templates
from harness.levels.state import Check

TITLE = "contract: the same tokens in, the same answers read out of them"

Part = Callable[[Check], tuple[Word | None, list[str]]]


def run(check: Check) -> tuple[Word | None, list[str]]:
    return together(check, (rendering.run, templates.run, parsing.run))


def together(check: Check, parts: Sequence[Part]) -> tuple[Word | None, list[str]]:
    """DIFFERENT where any part says so; EQUIVALENT where one does, and none lacks anything."""
    found = [part(check) for part in parts]
    for word in (Word.DIFFERENT, Word.INCONCLUSIVE):
        reasons = [reason for said, part in found if said is word for reason in part]
        if reasons:
            return word, reasons
    reasons = [reason for _, part in found for reason in part]
    return (Word.EQUIVALENT if any(said is not None for said, _ in found) else None), reasons
