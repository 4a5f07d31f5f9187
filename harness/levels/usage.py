"""L0b, first part: what the chat API counts as prompt tokens, where prompts can be rendered.

Where they cannot, L0 counts instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from harness.base.case import Case, Chat
from harness.checker import forced
from harness.checker.outcome import Word
from harness.levels import askable
from harness.levels.state import Check

CHATS = 8  # of each stratum
LOOKED_AT = 48  # prompts of a stratum, in search of chats
SHOWN = 3  # differences that are told in full


def run(check: Check) -> tuple[Word | None, list[str]]:
    """usage.prompt_tokens of some chats is as many as the reference's prompt has."""
    if askable.missing(check, "render_chat", "render_text"):
        return None, []
    uncounted = askable.missing(check, "usage")
    if uncounted:
        return Word.INCONCLUSIVE, uncounted
    prompts = [one for stratum in check.trace.strata for one in _chats(check, stratum)]
    counts = check.asker.usage([chat for _, chat, _ in prompts])
    check.tokens += sum(count + 1 for count in counts if count is not None)  # one is generated
    reasons = [
        f"case {case.id}: usage.prompt_tokens is {count}, the prompt has {tokens} tokens"
        for (case, _, tokens), count in zip(prompts, counts, strict=True)
        if count is not None and count != tokens
    ]
    if reasons:
        return Word.DIFFERENT, reasons[:SHOWN]
    counted = sum(count is not None for count in counts)
    if not counted:
        return None, []
    return Word.EQUIVALENT, [f"usage.prompt_tokens is right of {counted} chats"]


def _chats(check: Check, stratum: str) -> Iterator[tuple[Case, Chat, int]]:
    """Some chats of a stratum, and how many tokens each prompt has."""
    order = forced.permutation(
        check.trace.members(stratum), seed=check.settings.seed, name=f"usage {stratum}"
    )
    found = (check.trace[row] for row in order[:LOOKED_AT])
    chats = (
        (one.case, one.case.prompt, one.prompt_tokens)
        for one in found
        if isinstance(one.case.prompt, Chat)
    )
    return islice(chats, CHATS)
