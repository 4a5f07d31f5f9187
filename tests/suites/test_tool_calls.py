"""A tool's schema: a valid one is what its arguments conform to, one that is none is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import ConfigError
from harness.base.held import How
from harness.base.reply import Reply
from harness.base.suite import Given, Suite
from launchers.contracts import rules
from suites import registry, tool_schemas
from suites.outside import VARIABLE
from suites.tool_schemas import ToolSchema, shipped
from tests.suites.replies import NEITHER, answer, bodies, calling, held, refusal, suite

MADE = suite("tool-schemas")
BODIES = bodies(MADE)
# A request that is JSON cannot hold what is wrong with them.
LEFT_OUT = {"text-not-json", "text-empty", "text-two-values", "key-twice"}
OPEN = {"text-nan", "text-number-too-large", "root-null"}  # may be asked: they are sent as null
VALID = [schema for schema in shipped() if schema.valid]
WRONG = [schema for schema in shipped() if not schema.valid and schema.id not in LEFT_OUT | OPEN]
LIST_OF_ONE = "root-by-list-of-one"  # {"n": number, 0 at least}, and n is required
RIGHT = ("use", '{"n": 1}')
REQUIRES_INSTANT = "tool_choice 'required' is incompatible with thinking enabled"


def parameters(body: Any) -> Any:
    (tool,) = body["tools"]
    return tool["function"]["parameters"]


def use(schema: ToolSchema, value: Any) -> Reply:
    """A call with the value, as it stands where the schema was made one of objects."""
    whole = parameters(BODIES[f"{schema.id}/whole"])
    sent = json.loads(schema.schema_text)
    moved = bool(sent) and sent.get("type") not in ("object", ["object"])
    assert moved == (schema.id.startswith("root-") and schema.id != LIST_OF_ONE)
    assert whole == tool_schemas.parameters(sent)
    assert not moved or whole["required"] == ["value"]
    return calling(("use", json.dumps({"value": value} if moved else value)))


@pytest.mark.parametrize(
    ("reply", "how"),
    [
        (calling(RIGHT), How.KEPT),
        (calling(("use", '{"n": 0.5, "more": []}')), How.KEPT),
        (calling(RIGHT, RIGHT), How.KEPT),
        (calling(RIGHT, reasoning="The user wants a call."), How.KEPT),
        (answer("I cannot."), How.BROKEN),
        (answer("", "tool_calls"), How.BROKEN),
        (answer('{"n": 1}', "tool_calls"), How.BROKEN),
        (calling(("Use", '{"n": 1}')), How.BROKEN),
        (calling(("", '{"n": 1}')), How.BROKEN),
        (calling(("use", '{"n": -1}')), How.BROKEN),
        (calling(("use", '{"n": "1"}')), How.BROKEN),
        (calling(("use", "{}")), How.BROKEN),
        (calling(("use", "[]")), How.BROKEN),
        (calling(("use", "")), How.BROKEN),
        (calling(("use", '{"n": 1')), How.BROKEN),
        (calling(("use", '{"n": 1, "n": 1}')), How.BROKEN),
        (calling(("use", '{"n": NaN}')), How.BROKEN),
        (calling(RIGHT, ("use", '{"n": -1}')), How.BROKEN),
        (calling(RIGHT, ("other", '{"n": 1}')), How.BROKEN),
        (calling(("use", '{"n": -1}'), RIGHT), How.BROKEN),
        (calling(RIGHT, finish_reason="stop"), How.BROKEN),
        (calling(RIGHT, finish_reason="content_filter"), How.BROKEN),
        (calling(RIGHT, finish_reason="length"), How.UNFINISHED),
        (calling(("use", '{"n": -'), finish_reason="length"), How.UNFINISHED),
        (answer("", "length", reasoning="The user"), How.UNFINISHED),
        (refusal("schema: type must be a string"), How.BROKEN),
        (refusal("grammar error", 422), How.BROKEN),
        (refusal("grammar error", None), How.BROKEN),
        (refusal(REQUIRES_INSTANT), How.BROKEN),
        *((neither, How.UNANSWERED) for neither in NEITHER),
    ],
)
def test_a_forced_call_is_as_declared(reply: Reply, how: How) -> None:
    assert held(MADE, LIST_OF_ONE, reply).how is how


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (calling(RIGHT, ("use", '{"n": 2}')), 'use({"n": 1})'),
        (answer("I cannot."), "no call; finish_reason stop, 'I cannot.'"),
        (calling(("Use", "{}")), "UnknownName: 'Use'; declared is use"),
        (calling(("use", '{"n": -1}')), "SchemaMismatch: $.n: -1 is less than the minimum of 0"),
        (calling(("use", "")), "InvalidJson: "),
        (calling(RIGHT, finish_reason="stop"), "finish_reason is 'stop' where tools are called"),
    ],
)
def test_what_is_kept_shows_the_call_and_what_is_broken_why(reply: Reply, why: str) -> None:
    assert held(MADE, LIST_OF_ONE, reply).why.startswith(why)


@pytest.mark.parametrize("schema", VALID, ids=lambda schema: schema.id)
def test_each_valid_schema_is_enforced(schema: ToolSchema) -> None:
    objects = (dict,) if schema.id == "anything" else (object,)  # arguments are always an object
    taken = [value for value in schema.takes if isinstance(value, objects)]
    assert taken
    for value in taken:
        assert held(MADE, schema.id, use(schema, value)).how is How.KEPT, value
    for value in (*schema.refuses, *(value for value in schema.takes if value not in taken)):
        assert held(MADE, schema.id, use(schema, value)).how is How.BROKEN, value
    assert held(MADE, schema.id, refusal("schema: not supported")).how is How.BROKEN


@pytest.mark.parametrize("schema", WRONG, ids=lambda schema: schema.id)
def test_each_that_is_none_is_refused(schema: ToolSchema) -> None:
    sent = parameters(BODIES[f"{schema.id}/whole"])
    assert sent == json.loads(schema.schema_text)
    assert held(MADE, schema.id, refusal("Invalid schema for function 'use'")).how is How.KEPT
    assert held(MADE, schema.id, calling(("use", "{}"))).how is How.NOT_ENFORCED
    assert held(MADE, schema.id, answer()).how is How.NOT_ENFORCED


@pytest.mark.parametrize(
    ("reply", "how"),
    [
        (refusal("tools.0.function.parameters: not one that is known"), How.KEPT),
        (refusal("2 schemas are wrong"), How.KEPT),
        (refusal("parameters: not an object", 422), How.KEPT),
        (refusal("tool use: not understood"), How.KEPT),
        (refusal("tools: not understood"), How.KEPT),
        (refusal("The grammar is not supported"), How.KEPT),
        (refusal("Bad Request"), How.UNANSWERED),
        (refusal("JSON could not be decoded"), How.UNANSWERED),
        (refusal("function not implemented"), How.UNANSWERED),
        (refusal("max_tokens is too large"), How.UNANSWERED),
        (refusal("schema", None), How.NOT_ENFORCED),
        (refusal("schema", 404), How.UNANSWERED),
        (answer("I cannot.", "length"), How.NOT_ENFORCED),
        *((neither, How.UNANSWERED) for neither in NEITHER),
    ],
)
def test_a_refusal_speaks_of_the_schema(reply: Reply, how: How) -> None:
    assert held(MADE, "type-unknown", reply).how is how


@pytest.mark.parametrize(
    ("family", "message", "how"),
    [
        ("kimi-k2.6", REQUIRES_INSTANT, How.BROKEN),  # it was asked in instant mode
        ("kimi-k3", REQUIRES_INSTANT, How.BROKEN),  # it takes `required`
        ("kimi-k2.7", REQUIRES_INSTANT, How.UNFINISHED),
        ("kimi-k2.7", "schema: not supported", How.BROKEN),
    ],
)
def test_a_family_that_may_refuse_to_be_forced_breaks_nothing_by_it(
    family: str, message: str, how: How
) -> None:
    made = suite("tool-schemas", family)
    assert held(made, LIST_OF_ONE, refusal(message)).how is how
    assert held(made, LIST_OF_ONE, calling(RIGHT)).how is How.KEPT
    assert held(made, LIST_OF_ONE, answer("I cannot.")).how is How.BROKEN


def test_the_schema_is_that_of_the_one_tool_which_must_be_called() -> None:
    instant = rules("kimi-k2.6").asked_by["instant"]
    asked = {f"{schema.id}/{way}" for schema in (*VALID, *WRONG) for way in ("streamed", "whole")}
    for family, fields in (("kimi-k2.6", instant), ("kimi-k2.7", {}), ("kimi-k3", {})):
        found = bodies(suite("tool-schemas", family))
        assert {name for name in found if name.rpartition("/")[0] not in OPEN} == asked
        for name, body in found.items():
            (tool,) = body["tools"]
            function = tool["function"]
            assert tool["type"] == "function" and function["description"], name
            assert (function["name"], function["strict"]) == ("use", True)
            rest = {key: body[key] for key in body if key not in ("messages", "tools")}
            assert rest == {"tool_choice": "required", "max_tokens": 64, **fields}


def test_a_first_part_of_them_is_like_the_whole() -> None:
    valid = {schema.id for schema in VALID}
    asked = [task.id.rpartition("/")[0] in valid for task in MADE.tasks]
    whole = sum(asked) / len(asked)  # two in three
    for part in range(60, len(asked), 20):
        assert abs(sum(asked[:part]) / part - whole) < 0.15


def walles(folder: Path) -> Suite:
    of = folder / "walle" / "TestIt"
    of.mkdir(parents=True)
    (of / "valid.jsonl").write_text('{"type":"object","required":["a"],"properties":{"a":{}}}\n')
    wrong = {"schema": '{"type":"date"}', "expect": "type", "unmarshal": False}
    twice = {**wrong, "schema": '{"type":"null","type":"null"}'}
    (of / "invalid.jsonl").write_text(f"{json.dumps(wrong)}\n{json.dumps(twice)}\n")
    return registry.suite(Given(name="tool-schemas-walle", max_tokens=64, rules=rules("kimi-k2.6")))


def test_walles_are_held_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match="the data 'walle' is not here"):
        registry.suite(Given(name="tool-schemas-walle", rules=rules("kimi-k2.6")))
    made = walles(tmp_path)
    valid, wrong = "walle/TestIt/valid-1", "walle/TestIt/invalid-1"
    assert {task.id.rpartition("/")[0] for task in made.tasks} == {valid, wrong}
    assert held(made, valid, calling(("use", '{"a": 1}'))).how is How.KEPT
    assert held(made, valid, calling(("use", "{}"))).how is How.BROKEN
    assert held(made, wrong, refusal("Invalid schema")).how is How.KEPT
    assert held(made, wrong, calling(("use", "{}"))).how is How.NOT_ENFORCED


def test_without_a_family_there_is_nothing_to_ask() -> None:
    with pytest.raises(ConfigError, match="tool-schemas: contract is missing"):
        registry.suite(Given(name="tool-schemas"))
