"""L0, first part: every prompt rendered.

The trace is read a batch of prompts at a time: it may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.base.case import Case, Chat
from harness.base.errors import ConfigError
from harness.checker import contract
from harness.checker.contract import RenderDifference
from harness.checker.outcome import Word
from harness.levels import askable, counted
from harness.levels.state import Check
from launchers.dialect import Tokens

SHOWN = 3  # differences that are told in full
BATCH_PROMPTS, BATCH_TOKENS = 256, 100_000  # whichever is reached first


@dataclass(slots=True, kw_only=True)
class _Found:
    """What all batches have shown so far."""

    first: list[RenderDifference] = field(default_factory=list[RenderDifference])  # SHOWN at most
    unequal: int = 0
    texts: int = 0
    other_texts: int = 0  # plain texts that are not even the end of what the candidate makes of it


def run(check: Check) -> tuple[Word, list[str]]:
    """Rendered token ids of every prompt."""
    unrendered = askable.missing(check, "render_chat", "render_text")
    if unrendered:
        return counted.run(check, unrendered)
    check.announce("L0 contract: rendering every prompt")
    found = _Found()
    for rows in _batches(check):
        _compare(check, found, rows)
    check.misrendered = next(iter(found.first), None)
    _refuse_other_tokenizer(check, found)
    reasons = [contract.describe(difference, check.texts) for difference in found.first]
    if found.unequal > SHOWN:
        reasons.append(f"{found.unequal} of {len(check.trace)} prompts are rendered otherwise")
    by = check.trace.rendered_by
    if reasons:
        return Word.DIFFERENT, reasons if by is None else [
            *reasons,
            f"the other rendering is {by}'s",
        ]
    same = f"all {len(check.trace)} prompts become the same token ids"
    if by is not None:
        same += f", as those of {by}, which rendered them for the reference"
    return Word.EQUIVALENT, [same]


def _batches(check: Check) -> Iterator[list[int]]:
    """Rows in runs, in the order of the trace."""
    rows: list[int] = []
    tokens = 0
    for row, count in enumerate(check.trace.tokens_of):
        rows.append(row)
        tokens += count
        if len(rows) == BATCH_PROMPTS or tokens >= BATCH_TOKENS:
            yield rows
            rows, tokens = [], 0
    if rows:
        yield rows


def _prompt(check: Check, row: int) -> tuple[Case, Tokens]:
    """A case and the reference's rendering of it; its scores are let go."""
    recorded = check.trace[row]
    return recorded.case, recorded.token_ids[: recorded.prompt_tokens]


def _compare(check: Check, found: _Found, rows: list[int]) -> None:
    prompts = [_prompt(check, row) for row in rows]
    rendered = check.asker.render([case.prompt for case, _ in prompts])
    for (case, expected), ids in zip(prompts, rendered, strict=True):
        if not isinstance(case.prompt, Chat):
            found.texts += 1
            found.other_texts += expected != ids[-len(expected) :]
        difference = contract.compare_rendering(case.id, expected, ids)
        if difference is not None:
            found.unequal += 1
            found.first = [*found.first, difference][:SHOWN]


def _refuse_other_tokenizer(check: Check, found: _Found) -> None:
    """A server of another model altogether is refused: plain text has no template to get wrong."""
    if found.texts and found.other_texts == found.texts:
        raise ConfigError(
            f"{check.opened.title} has another tokenizer than {check.trace.path}, recorded of "
            f"{check.trace.manifest['model']['name']}: not one of {found.texts} plain texts "
            "becomes the same tokens"
        )
