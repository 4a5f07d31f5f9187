"""What of the chat API a deployment owes: each feature does what it says, a request that is wrong
is refused with 400."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from harness.base.arguments import mismatch
from harness.base.held import Held, broken, kept, refused, taken
from harness.base.reply import ANSWERED, Reply
from harness.base.sampling_rules import Rules
from harness.base.strict_json import parsed
from harness.base.suite import Given, Suite
from suites import forced, owed
from suites.forced import NAMED, REQUIRED
from suites.owed import Owed
from suites.tool_calls import called

RULES = "3"
SAID: Mapping[str, Any] = {"messages": [{"role": "user", "content": "Say hello."}]}
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
YES = {
    "type": "object",
    "properties": {"yes": {"type": "boolean"}},
    "required": ["yes"],
    "additionalProperties": False,
}
LONG = "a_rather_long_name_of_a_tool_" + "x" * 35  # 64 characters, the most of OpenAI's API
FEW = 3  # tokens
OF_TOOLS = ("tools", "tool", "function", "name")
ENDS = ("stop", "tool_calls")  # OpenAI's API ends a call that was named with "stop"
STOPS = [" ", ".", "e"]


def tool(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    about = f"The tool {name}."
    function = {"name": name, "description": about, "parameters": parameters, "strict": True}
    return {"type": "function", "function": function}


TOOLS = [tool("weather", CITY), tool("confirm", YES)]


def suite(given: Given) -> Suite:
    rules, most = owed.rules(given), given.max_tokens
    cases = [
        *_answered(most),
        *_tools(most),
        *_forced(rules, most),
        *_formats(most),
        *_counted(),
        *_wrong(),
    ]
    cases += _efforts(rules.efforts, most)
    if rules.dynamic_tools:
        cases.append(_dynamic(most))
    return owed.suite(given.name, RULES, cases)


def _answered(most: int) -> Iterator[Owed]:
    texts = {
        "unicode": "Again: \N{WAVING HAND SIGN} \u0634\u0643\u0631\u0627 \u8c22\u8c22 e\u0301",
        "astral": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U00020000",
        "control-characters": "tab\tline\nreturn\r\nnull-free",
        "special-tokens-as-text": "<|im_end|> <think> [EOS] </s>",
    }
    for name, text in texts.items():
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": most}
        yield Owed(id=name, what="is answered", body=body, hold=_taken)
    parts = [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}]
    yield Owed(
        id="content-in-parts",
        what="is answered",
        body={"messages": [{"role": "user", "content": parts}], "max_tokens": most},
        hold=_taken,
    )
    yield Owed(
        id="unknown-field",
        what="is answered, or refused by its name",
        body={**SAID, "max_tokens": most, "unheard_of": {"a": [1]}},
        hold=_known_or_named,
    )
    yield Owed(
        id="stop",
        what=f"no answer has any of {STOPS}",
        body={**SAID, "max_tokens": most, "stop": STOPS},
        hold=lambda reply: taken(reply, _stopped, whole=False),
    )


def _tools(most: int) -> Iterator[Owed]:
    asked = [{"role": "user", "content": "What is the weather in Oslo? Call a tool."}]
    body: dict[str, Any] = {"messages": asked, "tools": TOOLS, "max_tokens": most}
    yield Owed(
        id="tool-choice-auto",
        what="says that it calls where it does, and only there",
        body={**body, "tool_choice": "auto"},
        hold=lambda reply: taken(reply, _says_if_it_calls),
    )
    yield Owed(
        id="tool-choice-none",
        what="no call",
        body={**body, "tool_choice": "none"},
        hold=lambda reply: taken(reply, _calls_nothing, whole=False),
    )


def _forced(rules: Rules, most: int) -> Iterator[Owed]:
    asked = [{"role": "user", "content": "What is the weather in Oslo? Call a tool."}]
    body: dict[str, Any] = {"messages": asked, "tools": TOOLS, "max_tokens": most}
    body |= forced.fields(rules)
    required = {"tool_choice": "required"}

    def held(choice: str, then: Callable[[Reply], Held]) -> Callable[[Reply], Held]:
        return lambda reply: forced.held(reply, choice, rules, then)

    yield Owed(
        id="tool-choice-required",
        what="a call as declared",
        body={**body, **required},
        hold=held(REQUIRED, lambda answer: called(answer, TOOLS)),
    )
    for one in TOOLS:
        name = one["function"]["name"]
        yield Owed(
            id=f"tool-choice-{name}",
            what=f"a call of {name}",
            body={**body, "tool_choice": {"type": "function", "function": {"name": name}}},
            hold=held(NAMED, lambda answer, one=one: called(answer, [one], ENDS)),
        )
    yield Owed(
        id="parallel-calls-off",
        what="one call, as declared",
        body={**body, **required, "parallel_tool_calls": False},
        hold=held(REQUIRED, _one_call),
    )
    long = [tool(LONG, YES)]
    yield Owed(
        id="long-tool-name",
        what=f"a call of a name of {len(LONG)} characters",
        body={**body, **required, "tools": long},
        hold=held(REQUIRED, lambda answer: called(answer, long)),
    )


def _formats(most: int) -> Iterator[Owed]:
    body = {
        "messages": [{"role": "user", "content": 'Answer in JSON: {"yes": true}'}],
        "max_tokens": most,
    }
    yield Owed(
        id="json-object",
        what="a JSON object",
        body={**body, "response_format": {"type": "json_object"}},
        hold=lambda reply: taken(reply, lambda answer: _object(answer, {"type": "object"})),
    )
    wanted = {"name": "answer", "strict": True, "schema": YES}
    yield Owed(
        id="json-schema",
        what="JSON of the schema",
        body={**body, "response_format": {"type": "json_schema", "json_schema": wanted}},
        hold=lambda reply: taken(reply, lambda answer: _object(answer, YES)),
    )
    yield Owed(
        id="text",
        what="is answered",
        body={**body, "response_format": {"type": "text"}},
        hold=_taken,
    )


def _counted() -> Iterator[Owed]:
    yield Owed(
        id="max-tokens",
        what=f"at most {FEW} tokens",
        body={**SAID, "max_tokens": FEW},
        hold=lambda reply: taken(reply, _few, whole=False),
    )
    yield Owed(
        id="logprobs",
        what="an entry a token, and no more; alternatives in order",
        body={**SAID, "max_tokens": 8, "logprobs": True, "top_logprobs": 3},
        hold=lambda reply: taken(reply, _logprobs, whole=False),
    )


def _efforts(efforts: Sequence[str], most: int) -> Iterator[Owed]:
    for effort in efforts:
        yield Owed(
            id=f"effort-{effort}",
            what="is answered",
            body={**SAID, "max_tokens": most, "reasoning_effort": effort},
            hold=_taken,
        )
    if efforts:
        yield _refusal("effort-unknown", {"reasoning_effort": "banana"}, "reasoning_effort")


def _dynamic(most: int) -> Owed:
    declared = [tool("weather", CITY)]
    messages = [
        {"role": "user", "content": "What is the weather in Oslo? Call a tool."},
        {"role": "system", "tools": declared},
    ]
    return Owed(
        id="dynamic-tools",
        what="calls, if any, are of what a system message declares",
        body={"messages": messages, "max_tokens": most},
        hold=lambda reply: taken(reply, lambda answer: _calls_if_any(answer, declared)),
    )


def _wrong() -> Iterator[Owed]:
    user = SAID["messages"][0]
    required = {"type": "function", "function": {"name": "nobody"}}
    yield Owed(
        id="no-messages",
        what="is refused",
        body={"max_tokens": 8},
        hold=lambda reply: refused(reply, ("messages",)),
    )
    for name, messages in {
        "messages-empty": [],
        "messages-text": "hello",
        "message-of-no-role": [{"content": "hello"}],
        "message-of-unknown-role": [{"role": "nobody", "content": "hello"}],
        "message-a-number": [user, 4],
        "content-a-number": [{"role": "user", "content": 4}],
    }.items():
        words = ("messages", "message", "role", "content")
        yield _refusal(name, {"messages": messages}, *words)
    for name, fields, words in (
        ("temperature-a-word", {"temperature": "hot"}, ("temperature",)),
        ("top-p-above-1", {"top_p": 1.5}, ("top_p",)),
        ("top-p-0", {"top_p": 0}, ("top_p",)),
        ("max-tokens-0", {"max_tokens": 0}, ("max_tokens", "max_new_tokens")),
        ("max-tokens-negative", {"max_tokens": -1}, ("max_tokens", "max_new_tokens")),
        ("max-tokens-a-word", {"max_tokens": "many"}, ("max_tokens",)),
        ("n-0", {"n": 0}, ("n",)),
        ("stop-a-number", {"stop": 4}, ("stop",)),
        ("tools-an-object", {"tools": TOOLS[0]}, ("tools",)),
        ("tool-of-no-name", {"tools": [{"type": "function", "function": {}}]}, OF_TOOLS),
        ("tool-choice-unknown", {"tools": TOOLS, "tool_choice": "perhaps"}, ("tool_choice",)),
        (
            "tool-choice-undeclared",
            {"tools": TOOLS, "tool_choice": required},
            ("tool_choice", "nobody", "tool", "tools"),
        ),
        ("required-without-tools", {"tool_choice": "required"}, ("tool_choice", "tools")),
        (
            "format-unknown",
            {"response_format": {"type": "xml"}},
            ("response_format", "xml"),
        ),
        (
            "format-without-schema",
            {"response_format": {"type": "json_schema"}},
            ("response_format", "json_schema", "schema"),
        ),
        ("logprobs-a-word", {"logprobs": "some"}, ("logprobs",)),
    ):
        yield _refusal(name, fields, *words)


def _refusal(name: str, fields: Mapping[str, Any], *words: str) -> Owed:
    return Owed(
        id=name,
        what="is refused",
        body={**SAID, "max_tokens": 8, **fields},
        hold=lambda reply: refused(reply, words),
    )


def _taken(reply: Reply) -> Held:
    return taken(reply, lambda _: kept("answered"), whole=False)


def _known_or_named(reply: Reply) -> Held:
    return _taken(reply) if reply.outcome == ANSWERED else refused(reply, ("unheard_of",))


def _stopped(reply: Reply) -> Held:
    found = [stop for stop in STOPS if stop in reply.content]
    if found:
        return broken(f"{reply.content[:80]!r} has {found[0]!r}")
    return kept(f"{reply.content[:80]!r}")


def _calls_nothing(reply: Reply) -> Held:
    if reply.calls:
        return broken(f"{reply.calls[0].name} is called")
    return kept("no call")


def _says_if_it_calls(reply: Reply) -> Held:
    """Which tool, and with what, is the model's to choose, and a detector's to notice."""
    if bool(reply.calls) != (reply.finish_reason == "tool_calls"):
        return broken(f"{len(reply.calls)} calls, and finish_reason {reply.finish_reason!r}")
    return kept(f"{len(reply.calls)} calls, {reply.finish_reason}")


def _calls_if_any(reply: Reply, tools: Sequence[Any] = TOOLS) -> Held:
    return called(reply, tools) if reply.calls else kept("no call")


def _one_call(reply: Reply) -> Held:
    if len(reply.calls) > 1:
        return broken(f"{len(reply.calls)} calls")
    return called(reply, TOOLS)


def _object(reply: Reply, schema: Mapping[str, Any]) -> Held:
    try:
        value = parsed(reply.content)
    except (ValueError, RecursionError) as error:
        return broken(f"no JSON, {error}: {reply.content[:80]!r}")
    fault = mismatch(schema, value)
    return kept(reply.content[:120]) if fault is None else broken(fault)


def _few(reply: Reply) -> Held:
    """By the engine's own count."""
    count = (reply.usage or {}).get("completion_tokens")
    if type(count) is not int:
        return broken("no usage.completion_tokens")
    if not 1 <= count <= FEW:
        return broken(f"{count} tokens")
    if count == FEW and reply.finish_reason not in ("length", "stop"):
        return broken(f"finish_reason is {reply.finish_reason!r}")
    return kept(f"{count} tokens, {reply.finish_reason}")


def _logprobs(reply: Reply) -> Held:
    if not reply.logprobs:
        return broken("no logprobs")
    count = (reply.usage or {}).get("completion_tokens")
    if type(count) is int and len(reply.logprobs) > count:
        return broken(f"{len(reply.logprobs)} entries for {count} tokens")
    for at, entry in enumerate(reply.logprobs):
        if (fault := _fault(entry)) is not None:
            return broken(f"entry {at}: {fault}")
    return kept(f"{len(reply.logprobs)} entries")


def _fault(entry: Any) -> str | None:
    """What of an entry is not of the API's form."""
    if not isinstance(entry, Mapping):
        return f"{entry!r} is no object"
    fields = cast("Mapping[str, Any]", entry)
    top = fields.get("top_logprobs")
    if not isinstance(fields.get("token"), str):
        return "token is no text"
    if not _logprob(fields.get("logprob")):
        return f"logprob is {fields.get('logprob')!r}"
    if not isinstance(top, list) or not 1 <= len(cast("list[Any]", top)) <= 3:
        return f"top_logprobs is {top!r}"
    if not all(isinstance(one, Mapping) for one in cast("list[Any]", top)):
        return f"top_logprobs is {top!r}"
    values: list[Any] = [one.get("logprob") for one in cast("list[Mapping[str, Any]]", top)]
    if not all(map(_logprob, values)):
        return f"a logprob of top_logprobs is none: {values}"
    listed = values[1:] if values[0] == fields["logprob"] else values  # vLLM: what is chosen first
    return None if listed == sorted(listed, reverse=True) else f"top_logprobs in no order: {values}"


def _logprob(value: Any) -> bool:
    return isinstance(value, (int, float)) and not math.isnan(value) and value <= 1e-6
