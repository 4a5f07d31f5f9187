"""What a deployment does with the reasoning that a chat brings back: it is accepted, and rendered
or dropped as the model's contract has it.

The engine's own count of the prompt tells: a chat is asked with a word of reasoning and with much
of it. A longer prompt has it, one of the same length does not. A word, and not none: Kimi's own API
refuses a tool call that comes back without its reasoning, and a template may leave out more than
the text where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.base.held import Held, broken, kept, taken
from harness.base.reply import Reply
from harness.base.sampling_rules import ALL, History
from harness.base.suite import Given, Suite
from suites import owed
from suites.owed import Beside, Owed

RULES = "1"
FEW = 16  # tokens of an answer, which is not what is looked at
WORD = "Weather."
MUCH = (
    "The user wants to know how the weather is in Oslo. I know nothing of today, so I have to ask "
    "the tool for it, with the name of the city alone. After that I say in one short sentence what "
    "came back, and whether it would be wise to take an umbrella along or a warm coat."
)
ASKED = {"role": "user", "content": "How is the weather in Oslo?"}
CALL = {
    "id": "functions.weather:0",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather of a city.", "parameters": CITY},
}

Body = dict[str, Any]


def suite(given: Given) -> Suite:
    return owed.suite(given.name, RULES, _cases(owed.rules(given).history))


def _cases(history: History | None) -> Iterator[Owed]:
    yield _accepted("tool-loop", _tool_loop)
    yield _accepted("earlier-turn", _earlier_turn)
    if history is None:
        return
    yield _beside("tool-loop", _tool_loop)
    yield _beside("earlier-turn", _earlier_turn, rendered=history.rendered == ALL)
    if history.keep is not None:
        yield _accepted("earlier-turn/asked", _earlier_turn, history.keep)
        yield _beside("earlier-turn/asked", _earlier_turn, history.keep)


def _tool_loop(reasoning: str) -> Body:
    called = {"role": "assistant", "content": "", "reasoning_content": reasoning}
    result = {"role": "tool", "tool_call_id": CALL["id"], "content": "rain, 8 degrees"}
    return {"messages": [ASKED, {**called, "tool_calls": [CALL]}, result], "tools": [TOOL]}


def _earlier_turn(reasoning: str) -> Body:
    said = {"role": "assistant", "content": "It rains.", "reasoning_content": reasoning}
    return {"messages": [ASKED, said, {"role": "user", "content": "Thank you."}]}


Chat = Callable[[str], Body]
NOTHING: Mapping[str, Any] = {}


def _accepted(name: str, chat: Chat, fields: Mapping[str, Any] = NOTHING) -> Owed:
    return Owed(
        id=name,
        what="reasoning in history is accepted",
        body={**chat(WORD), **fields, "max_tokens": FEW},
        hold=_answered,
    )


def _beside(
    name: str, chat: Chat, fields: Mapping[str, Any] = NOTHING, *, rendered: bool = True
) -> Owed:
    """Beside the case `name`."""
    what, than = ("rendered", "more than") if rendered else ("dropped", "as many as")
    return Owed(
        id=f"{name}/{what}",
        what=f"reasoning in history is {what}: {than} {name} in prompt tokens",
        body={**chat(MUCH), **fields, "max_tokens": FEW},
        hold=_answered,
        beside=Beside(id=name, hold=_counting(rendered=rendered)),
    )


def _answered(reply: Reply) -> Held:
    return taken(reply, lambda _: kept("answered"), whole=False)


def _counting(*, rendered: bool) -> Callable[[Reply, Reply], Held]:
    def hold(much: Reply, word: Reply) -> Held:
        longer, shorter = _prompt_tokens(much), _prompt_tokens(word)
        if longer is None or shorter is None:
            return broken("usage has no prompt_tokens")
        seen = f"{longer} prompt tokens with much reasoning, {shorter} with a word of it"
        right = longer > shorter if rendered else longer == shorter
        return kept(seen) if right else broken(seen)

    return hold


def _prompt_tokens(reply: Reply) -> int | None:
    count = (reply.usage or {}).get("prompt_tokens")
    return count if type(count) is int else None
