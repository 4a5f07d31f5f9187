"""L0 where no rendering can be asked: what the endpoint counts as prompt tokens of some chats.

Another count is another prompt: DIFFERENT. The same count is one weak pass, and shows no
equivalence, for two templates may need as many tokens.

The API has no field for thinking on and off. Where `chat_template_kwargs` is not seen to do
anything, an endpoint that thinks always, or never, must count either the chats with thinking or
those without as the reference does; only one that counts neither so is DIFFERENT by them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.base.case import Chat
from harness.checker import forced
from harness.checker.outcome import Word
from harness.levels import askable
from harness.levels.state import Check
from harness.recording import Recorded

CASES = 20  # chats of each stratum
AT_ONCE = 4  # somebody else's server has a rate limit


def run(check: Check, lacking: list[str]) -> tuple[Word, list[str]]:
    """`lacking`: why the rendering itself cannot be asked."""
    uncountable = askable.missing(check, "usage")
    if uncountable:
        return Word.INCONCLUSIVE, [*lacking, *uncountable]
    counted = _counted(check)
    told = [one for one in counted if isinstance(one.count, int)]
    wrong = [one for one in told if one.count != one.recorded.prompt_tokens]
    lacking = [*lacking, *_refusals(counted)]
    if wrong and _switch_explains(check, told, wrong):
        side = "on" if wrong[0].thinking else "off"
        lacking.append(
            f"cannot be asked: thinking {side}; the {len(wrong)} chats that ask for it are counted "
            "otherwise, as by a server that does not pass the switch on"
        )
    elif wrong:
        return Word.DIFFERENT, [*map(_mismatch, wrong[:3]), _share(told, wrong)]
    if len(told) > len(wrong):
        right = len(told) - len(wrong)
        lacking.append(f"{right} chats are counted as the reference's: a weak pass")
    return Word.INCONCLUSIVE, lacking


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """One chat, and what the endpoint says of it."""

    recorded: Recorded
    thinking: bool | None
    count: int | str  # prompt tokens; or why it was not counted


def _counted(check: Check) -> list[_Counted]:
    chosen = [(r, r.case.prompt) for r in _sample(check) if isinstance(r.case.prompt, Chat)]
    check.announce(f"L0 contract: counting the tokens of {len(chosen)} chats")
    counts = check.asker.counted([chat for _, chat in chosen], at_once=AT_ONCE)
    return [
        _Counted(recorded=recorded, thinking=chat.thinking, count=count)
        for (recorded, chat), count in zip(chosen, counts, strict=True)
    ]


def _sample(check: Check) -> list[Recorded]:
    """Some chats of each stratum."""
    trace, chosen = check.trace, list[Recorded]()
    for stratum in trace.strata:
        order = forced.permutation(
            trace.members(stratum), seed=check.settings.seed, name=f"counted {stratum}"
        )
        rows = (trace[row] for row in order)
        chats = (r for r in rows if isinstance(r.case.prompt, Chat))
        chosen += [r for _, r in zip(range(CASES), chats, strict=False)]
    return chosen


def _refusals(counted: list[_Counted]) -> list[str]:
    said = Counter(one.count for one in counted if isinstance(one.count, str))
    return [
        f"cannot be asked: {count} of {len(counted)} chats ({why})"
        for why, count in said.most_common(3)
    ]


def _switch_explains(check: Check, told: list[_Counted], wrong: list[_Counted]) -> bool:
    """Whether the wrong counts are just those of one side of a switch that may do nothing."""
    if not askable.missing(check, "thinking"):
        return False
    side = wrong[0].thinking
    asked = [one for one in told if one.thinking is side]
    one_side = all(one.thinking is side for one in wrong) and len(asked) == len(wrong)
    return side is not None and one_side and len(wrong) < len(told)


def _mismatch(one: _Counted) -> str:
    return (
        f"case {one.recorded.case.id}: usage.prompt_tokens is {one.count}, the prompt has "
        f"{one.recorded.prompt_tokens} tokens"
    )


def _share(told: list[_Counted], wrong: list[_Counted]) -> str:
    return f"{len(wrong)} of {len(told)} chats are counted otherwise"
