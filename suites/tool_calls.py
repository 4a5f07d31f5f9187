"""What becomes of a tool's JSON schema: a valid one is enforced, so that what the model calls it
with conforms (Draft 2020-12); one that is none is refused.

Every schema is that of the one tool of a request that must call it. Those of walle are asked too,
where they are: see `outside`. They stand in an order of which any first part is like the whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from harness.base.arguments import wrong
from harness.base.held import Held, broken, kept, refused
from harness.base.reply import Reply
from harness.base.sampling_rules import Rules
from harness.base.suite import Given, Suite
from suites import forced, mfjs, outside, owed, tool_schemas
from suites.forced import REQUIRED
from suites.owed import Owed
from suites.tool_schemas import ToolSchema

RULES = "2"
NAME = "use"
# What a text that refuses a schema speaks of, whatever it says of it.
OF_SCHEMAS = ("schema", "schemas", "parameters", "tool", "tools", "grammar")


def shipped(given: Given) -> Suite:
    return _suite(given, tool_schemas.shipped())


def walle(given: Given) -> Suite:
    """Raises ConfigError where walle's are not here."""
    folder = outside.required("walle", given.name)
    return _suite(given, tool_schemas.walle(folder))


def _suite(given: Given, schemas: Sequence[ToolSchema]) -> Suite:
    mixed = sorted(schemas, key=lambda one: hashlib.sha256(one.id.encode()).digest())
    return owed.suite(given.name, RULES, _cases(mixed, owed.rules(given), given.max_tokens))


def _cases(schemas: Sequence[ToolSchema], rules: Rules, most: int) -> Iterator[Owed]:
    for one in schemas:
        parameters = _sent(one)
        if parameters is None:
            continue  # what is wrong with it, a request that is JSON cannot hold
        tools = [{"type": "function", "function": _function(parameters)}]
        body = {
            "messages": [{"role": "user", "content": f"Call the tool {NAME} now."}],
            "tools": tools,
            "tool_choice": "required",
            "max_tokens": most,
            **forced.fields(rules),
        }
        what = "arguments conform" if one.valid else "is refused"
        yield Owed(
            id=one.id,
            what=f"{one.family}: {what}",
            body=body,
            hold=_enforced(tools, rules) if one.valid else _refused,
        )


def _function(parameters: Any) -> dict[str, Any]:
    return {
        "name": NAME,
        "description": "The tool to call.",
        "parameters": parameters,
        "strict": True,
    }


def _sent(one: ToolSchema) -> Any:
    """None: it is no JSON, or as JSON it is not what it was (a key stands there twice)."""
    try:
        schema = json.loads(one.schema_text)
    except ValueError:
        return None
    if one.valid:
        return tool_schemas.parameters(schema)
    return None if mfjs.problem(json.dumps(schema)) is None else schema


def _refused(reply: Reply) -> Held:
    return refused(reply, OF_SCHEMAS)


def _enforced(tools: Sequence[Any], rules: Rules) -> Any:
    def hold(reply: Reply) -> Held:
        return forced.held(reply, REQUIRED, rules, lambda answer: called(answer, tools))

    return hold


def called(reply: Reply, tools: Sequence[Any], ends: Sequence[str] = ("tool_calls",)) -> Held:
    """That it calls a tool, and only as they are declared; `ends`: with which finish reasons."""
    if not reply.calls:
        return broken(f"no call; finish_reason {reply.finish_reason}, {reply.content[:80]!r}")
    for call in reply.calls:
        if (fault := wrong(call, tools)) is not None:
            return broken(f"{fault.kind}: {fault.why}")
    if reply.finish_reason not in ends:
        return broken(f"finish_reason is {reply.finish_reason!r} where tools are called")
    return kept(f"{reply.calls[0].name}({reply.calls[0].arguments[:120]})")
