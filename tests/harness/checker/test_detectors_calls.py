"""An answer's tool calls: each class by its own detector, and the order of properties."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.arguments import Kind
from harness.base.reply import ANSWERED, Call, Reply
from harness.checker.asked import Asked
from harness.checker.detectors import DETECTORS
from harness.checker.detectors_calls import of_kind, reordered_properties, unjudged
from harness.checker.property_order import reordered

PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
}
SCHEMA = {
    "type": "object",
    "properties": {
        "from": PLACE,
        "to": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
        "via": {"type": "array", "items": {"$ref": "#/$defs/place"}},
        "day": {"type": "integer"},
    },
    "required": ["from"],
    "$defs": {"place": PLACE},
}
CALLS = [name for name in DETECTORS if name.endswith(("name", "json", "mismatch", "call", "order"))]


def asked(schema: object = SCHEMA) -> Asked:
    function = {"name": "trip", "parameters": schema}
    return Asked(messages=(), tools=[{"type": "function", "function": function}])


def reply(*arguments: str, name: str = "trip", finish_reason: str = "tool_calls") -> Reply:
    calls = tuple(Call(id=str(at), name=name, arguments=one) for at, one in enumerate(arguments))
    return Reply(outcome=ANSWERED, calls=calls, finish_reason=finish_reason)


def found(answer: Reply, schema: object = SCHEMA) -> dict[str, str]:
    told = {name: DETECTORS[name](answer, asked(schema)) for name in CALLS}
    return {name: evidence for name, evidence in told.items() if evidence is not None}


def test_calls_as_declared_show_nothing() -> None:
    one = '{"from": {"city": "Oslo", "country": "Norway"}, "to": null, "via": [], "day": 3}'
    assert found(reply(one, '{"from": {}}')) == {}
    assert found(reply()) == {}


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        (reply("{", name="tirp"), {"unknown_name": "'tirp'; declared is trip"}),
        (
            reply("{}", name="functions.trip"),
            {"unknown_name": "'functions.trip'; declared is trip"},
        ),
        (
            reply('{"from": {}}', "{}"),
            {"schema_mismatch": "trip: $: 'from' is a required property"},
        ),
        (
            reply('{"from": "东京"}'),
            {"schema_mismatch": "trip: $.from: '东京' is not of type 'object'"},
        ),
        (reply("[]"), {"schema_mismatch": "trip: $: [] is no object"}),
    ],
)
def test_the_first_call_of_a_class_is_told(answer: Reply, evidence: dict[str, str]) -> None:
    assert found(answer) == evidence


def test_arguments_that_are_no_json_are_told_with_their_text() -> None:
    told = found(reply('{"from": {}} okay'))
    assert list(told) == ["invalid_json"]
    assert told["invalid_json"].startswith("trip: Extra data")
    assert told["invalid_json"].endswith("okay'")


def test_each_class_that_is_there_is_told() -> None:
    calls = (
        Call(id="0", name="trip", arguments='{"day": 1}'),
        Call(id="1", name="trip", arguments=""),
        Call(id="2", name="home", arguments="{}"),
    )
    answer = Reply(outcome=ANSWERED, calls=calls, finish_reason="tool_calls")
    assert list(found(answer)) == ["unknown_name", "invalid_json", "schema_mismatch"]


@pytest.mark.parametrize("arguments", ["", '{"from": {"ci', '{"from": {}'])
def test_the_last_call_of_an_answer_that_was_cut_off_may_be_no_json(arguments: str) -> None:
    assert found(reply('{"from": {}}', arguments, finish_reason="length")) == {}
    assert list(found(reply(arguments, '{"from": {}}', finish_reason="length"))) == ["invalid_json"]
    assert list(found(reply("{}", finish_reason="length"))) == ["schema_mismatch"]


@pytest.mark.parametrize("schema", [{"type": "strnig"}, {"$ref": "#/none"}, 3])
def test_a_declaration_that_is_at_fault_is_told_as_such_and_not_as_the_engines(schema: Any) -> None:
    assert list(found(reply("{"), schema)) == ["unjudged_call"]
    assert found(reply("{", name="home"), schema) == {
        "unknown_name": "'home'; declared is trip",
    }
    assert unjudged(reply("{}"), Asked(messages=(), tools=[{}])) is not None
    assert of_kind(Kind.UNKNOWN_NAME)(reply("{}"), Asked(messages=(), tools=[{}])) is None
    assert reordered_properties(reply("{}"), Asked(messages=(), tools=[{}])) is None


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        ('{"to": null, "from": {}}', "$: to, from; declared: from, to"),
        (
            '{"from": {"country": "Norway", "city": "Oslo"}}',
            "$.from: country, city; declared: city, country",
        ),
        (
            '{"from": {"country": "", "city": ""}, "to": {"country": "", "city": ""}}',
            "$.from: country, city; declared: city, country",
        ),
        (
            '{"from": {}, "to": {"country": "日本", "city": "京都"}}',
            "$.to: country, city; declared: city, country",
        ),
        (
            '{"from": {}, "via": [{}, {"country": "", "x": 1, "city": ""}]}',
            "$.via[1]: country, city; declared: city, country",
        ),
    ],
)
def test_another_order_of_properties_is_told_nested_ones_too(arguments: str, order: str) -> None:
    assert found(reply('{"from": {}}', arguments)) == {"property_order": f"trip: {order}"}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a~1b~0", "$defs": {"a/b~": {"properties": {"a": {}, "b": {}}}}},
        {"$ref": "#/$defs/c", "$defs": {"c": {}}, "properties": {"a": {}, "b": {}}},
        {"allOf": [{"$ref": "#/$defs/c"}], "$defs": {"c": {"properties": {"a": {}, "b": {}}}}},
        {"oneOf": [{"type": "null"}, {"properties": {"a": {}, "b": {}}}]},
    ],
)
def test_references_and_lone_branches_are_followed(schema: dict[str, Any]) -> None:
    assert reordered({"b": 1, "a": 2}, schema) == "$: b, a; declared: a, b"
    assert reordered({"a": 1, "b": 2}, schema) is None


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ({"x": 1, "a": 1, "y": 2, "b": 2}, {"properties": {"a": {}, "b": {}}}),
        ({"b": 1}, {"properties": {"a": {}, "b": {}}}),
        ({"b": 1, "a": 2}, {"additionalProperties": {}}),
        ({"b": 1, "a": 2}, {"anyOf": [{"properties": {"a": {}, "b": {}}}, {"properties": {}}]}),
        ({"b": 1, "a": 2}, {"properties": []}),
        ({"b": 1, "a": 2}, {"$ref": "#"}),
        ({"b": 1, "a": 2}, {"$ref": "https://example.com/x"}),
        ([{"b": 1, "a": 2}], {"items": [{"properties": {"a": {}, "b": {}}}]}),
        ({"b": 1, "a": 2}, None),
        ("text", {"properties": {"a": {}}}),
    ],
)
def test_where_the_order_is_the_same_or_nothing_is_declared_nothing_is_told(
    value: object, schema: object
) -> None:
    assert reordered(value, schema) is None


@given(st.permutations(["a", "b", "c", "d"]), st.sets(st.sampled_from("abcd")), st.integers(0, 3))
def test_whatever_subset_of_properties_stands_there_only_order_counts(
    order: list[str], left_out: set[str], level: int
) -> None:
    schema: dict[str, Any] = {"properties": {name: {} for name in "abcd"}}
    kept = [name for name in order if name not in left_out]
    value: Any = dict.fromkeys(kept)
    for _ in range(level):
        schema, value = {"properties": {"in": {"items": schema}}}, {"in": [value]}
    assert (reordered(value, schema) is None) == (kept == sorted(kept))


def test_deep_arguments_and_deep_schemas_end() -> None:
    deep = '{"next": ' * 5000 + "{}" + "}" * 5000
    node = {"properties": {"next": {"$ref": "#"}}}
    assert reordered_properties(reply(deep), asked(node)) is None
    cut_off = reply(deep, finish_reason="length")
    assert found(cut_off, node) == {"schema_mismatch": "trip: nested too deeply"}
    value: dict[str, Any] = json.loads('{"b": 1, "a": 2}')
    for _ in range(3000):
        value = {"next": value}
    declared = {"properties": {"next": {"$ref": "#"}, "a": {}, "b": {}}}
    assert str(reordered(value, declared)).endswith(".next: b, a; declared: a, b")
