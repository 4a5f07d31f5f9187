"""L0, first part: every prompt rendered, some chats counted."""

from __future__ import annotations

from harness.base.case import Chat
from harness.base.errors import ConfigError
from harness.checker import contract, forced
from harness.checker.outcome import Word
from harness.levels import askable, counted
from harness.levels.state import Check
from harness.recording import Recorded

USAGE_CASES = 8  # chats of each stratum whose usage.prompt_tokens is asked


def run(check: Check) -> tuple[Word, list[str]]:
    """Rendered token ids of every prompt, and usage.prompt_tokens of some chats."""
    unrendered = askable.missing(check, "render_chat", "render_text")
    if unrendered:
        return counted.run(check, unrendered)
    check.announce("L0 contract: rendering every prompt")
    recorded = [check.trace[row] for row in range(len(check.trace))]
    found = check.asker.render([r.case.prompt for r in recorded])
    pairs = zip(recorded, found, strict=True)
    unequal = [
        difference
        for r, ids in pairs
        if (
            difference := contract.compare_rendering(r.case.id, r.token_ids[: r.prompt_tokens], ids)
        )
    ]
    check.misrendered = next(iter(unequal), None)
    _refuse_other_tokenizer(check, recorded, found)
    reasons = [contract.describe(difference, check.texts) for difference in unequal[:3]]
    if len(unequal) > 3:
        reasons.append(f"{len(unequal)} of {len(recorded)} prompts are rendered otherwise")
    uncounted = askable.missing(check, "usage")
    if not unequal and not uncounted:
        reasons += _usage_differences(check, recorded)
    by = check.trace.rendered_by
    if reasons:
        return Word.DIFFERENT, reasons if by is None else [
            *reasons,
            f"the other rendering is {by}'s",
        ]
    same = f"all {len(recorded)} prompts become the same token ids"
    if by is not None:
        same += f", as those of {by}, which rendered them for the reference"
    return askable.at_best_inconclusive(Word.EQUIVALENT, [same], uncounted)


def _refuse_other_tokenizer(
    check: Check, recorded: list[Recorded], found: list[tuple[int, ...]]
) -> None:
    """A server of another model altogether is refused: plain text has no template to get wrong."""
    texts = [
        (r, ids) for r, ids in zip(recorded, found, strict=True) if isinstance(r.case.prompt, str)
    ]
    wrong = [r for r, ids in texts if r.token_ids[: r.prompt_tokens] != ids[-r.prompt_tokens :]]
    if texts and len(wrong) == len(texts):
        raise ConfigError(
            f"{check.opened.title} has another tokenizer than {check.trace.path}, recorded of "
            f"{check.trace.manifest['model']['name']}: not one of {len(texts)} plain texts "
            "becomes the same tokens"
        )


def _usage_differences(check: Check, recorded: list[Recorded]) -> list[str]:
    chosen: list[Recorded] = []
    for stratum in check.trace.strata:
        order = forced.permutation(
            check.trace.members(stratum), seed=check.settings.seed, name=f"usage {stratum}"
        )
        chats = [recorded[row] for row in order if isinstance(recorded[row].case.prompt, Chat)]
        chosen += chats[:USAGE_CASES]
    prompts = [r.case.prompt for r in chosen if isinstance(r.case.prompt, Chat)]
    counts = check.asker.usage(prompts)
    return [
        f"case {r.case.id}: usage.prompt_tokens is {count}, the prompt has {r.prompt_tokens} tokens"
        for r, count in zip(chosen, counts, strict=True)
        if count is not None and count != r.prompt_tokens
    ][:3]
