"""One tool call against the declared tools: what is wrong with it, and with a declaration."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.arguments import SHOWN, TOO_DEEP, Kind, parameters, schema_error, wrong
from harness.base.errors import ConfigError
from harness.base.reply import Call

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1},
        "days": {"type": "integer", "minimum": 1},
        "unit": {"enum": ["C", "F"]},
        "at": {"type": "array", "items": {"type": "object", "required": ["hour"]}},
    },
    "required": ["city"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    "$ref": "#/$defs/node",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(["a", "b", "$schema", "$ref"])
LEADS = st.sampled_from(["#", "#/$defs/a", "#/properties/a", "#a", "#/not", "x", "http://["])


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Most are sound alone, and lead where they may."""
    named = st.dictionaries(NAMES, inner, max_size=2)
    some = st.lists(inner, min_size=1, max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(["not", "if", "then", "items", "unevaluatedProperties"], inner),
            **dict.fromkeys(["properties", "$defs", "dependentSchemas"], named),
            **dict.fromkeys(["anyOf", "allOf", "prefixItems", "enum"], some),
            **dict.fromkeys(["$ref", "$dynamicRef", "$id", "$schema"], LEADS),
            "$anchor": st.just("a"),
            "patternProperties": st.dictionaries(st.sampled_from(["a", "(", "^.$"]), inner),
            "multipleOf": st.sampled_from([1, 0.1, 1e-300, 0]),
        },
    )


NEARLY_SCHEMAS = st.recursive(st.booleans() | st.sampled_from([{}, 1]), schemas, max_leaves=8)


def tool(schema: object, name: str = "weather") -> dict[str, Any]:
    function = {"name": name, "description": "", "parameters": schema}
    return {"type": "function", "function": function}


def found(arguments: str, schema: object = WEATHER, name: str = "weather") -> tuple[Kind, str]:
    fault = wrong(Call(id="1", name=name, arguments=arguments), [tool(schema)])
    assert fault is not None
    return fault.kind, fault.why


def right(arguments: object, schema: object = WEATHER) -> bool:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return wrong(Call(id="1", name="weather", arguments=text), [tool(schema)]) is None


def assert_is_a_short_line(why: str) -> None:
    assert len(why) <= SHOWN
    assert why.isprintable()
    why.encode()


def test_a_call_as_declared_has_nothing_wrong() -> None:
    assert right({"city": "Oslo", "days": 3, "unit": "C", "at": [{"hour": 9}]})
    assert right(' {"city": "京都"}\n')


@pytest.mark.parametrize("tools", [None, [], [tool(WEATHER, "Weather")], [tool({}, "functions.x")]])
def test_a_name_that_nobody_declared_is_told_whatever_the_arguments(tools: Any) -> None:
    fault = wrong(Call(id="1", name="weather", arguments="{"), tools)
    assert fault is not None
    assert fault.kind is Kind.UNKNOWN_NAME
    assert fault.why.startswith("'weather'; declared is ")


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        " ",
        "city=Oslo",
        "{'city': 'Oslo'}",
        '{"city": "Oslo"',
        '{"city": "Oslo",}',
        '{"city": "Oslo"} {"city": "Oslo"}',
        '{"city": "Oslo"}<|im_end|>',
        '{"city": "Oslo", "city": "Rome"}',
        '{"city": "Oslo", "at": [{"hour": 1, "hour": 2}]}',
        '{"city": "Oslo", "days": NaN}',
        '{"city": "Oslo", "days": -Infinity}',
        '{"city": "Oslo", "days": 1e999}',
        '{"city": "Oslo", "days": ' + "9" * 400 + "}",
        '{"city": "Oslo", "days": ' + "9" * 5000 + "}",
        '{"city": "a\nb"}',
        '\ufeff{"city": "Oslo"}',
    ],
)
def test_what_is_no_strict_json_is_invalid(arguments: str) -> None:
    assert found(arguments)[0] is Kind.INVALID_JSON


@pytest.mark.parametrize("arguments", ["null", "[]", '"{}"', "3", '"{\\"city\\": \\"Oslo\\"}"'])
def test_json_that_is_no_object_is_a_mismatch(arguments: str) -> None:
    kind, why = found(arguments, {})
    assert kind is Kind.SCHEMA_MISMATCH
    assert why.endswith("is no object")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "$: 'city' is a required property"),
        ({"city": 3}, "$.city: 3 is not of type 'string'"),
        ({"city": "Oslo", "days": "3"}, "$.days: '3' is not of type 'integer'"),
        ({"city": "Oslo", "days": 1.5}, "$.days: 1.5 is not of type 'integer'"),
        ({"city": "Oslo", "days": True}, "$.days: True is not of type 'integer'"),
        ({"city": "Oslo", "unit": "K"}, "$.unit: 'K' is not one of ['C', 'F']"),
        ({"city": "Oslo", "at": [{"hour": 1}, {}]}, "$.at[1]: 'hour' is a required property"),
        (
            {"city": "Oslo", "town": 1},
            "$: Additional properties are not allowed ('town' was unexpected)",
        ),
    ],
)
def test_a_mismatch_says_path_and_value(arguments: object, why: str) -> None:
    assert found(json.dumps(arguments)) == (Kind.SCHEMA_MISMATCH, why)


def test_of_several_faults_the_outermost_is_told() -> None:
    assert found('{"at": [{}], "days": 0}')[1] == "$: 'city' is a required property"
    assert found('{"city": "", "at": [{}], "days": 0}')[1].startswith("$.city: ")


def test_a_whole_float_is_an_integer() -> None:
    assert right('{"city": "Oslo", "days": 1.0}')
    assert right('{"city": "Oslo", "days": ' + "9" * 300 + "}")
    assert not right('{"city": "Oslo", "days": 0.0}')


def test_multiples_are_those_of_decimals() -> None:
    price: dict[str, Any] = {"properties": {"price": {"multipleOf": 0.01}}}
    assert right('{"price": 19.99}', price)
    assert right('{"price": 1e300}', price)
    assert not right('{"price": 19.995}', price)


@pytest.mark.parametrize(
    "dated",
    [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2020-12/schema",
        "https://example.com/none",
        7,
    ],
)
def test_the_draft_is_2020_12_whatever_a_schema_says_it_is_in_parts_too(dated: object) -> None:
    part = {"$schema": dated, "prefixItems": [{"type": "string"}], "items": False}
    schema = {"$schema": dated, "properties": {"pair": part}}
    assert right({"pair": ["a"]}, schema)
    assert not right({"pair": ["a", "b"]}, schema)
    assert not right({"pair": [1]}, schema)


def test_a_property_may_be_called_as_a_keyword_is() -> None:
    schema = {"properties": {"$schema": {"type": "string"}, "default": {"$ref": "#/$defs/n"}}}
    assert right({"$schema": "x", "default": 1}, {**schema, "$defs": {"n": {"type": "integer"}}})
    assert not right({"$schema": 1}, {**schema, "$defs": {"n": {}}})
    assert right({"x": {"$schema": 1}}, {"properties": {"x": {"const": {"$schema": 1}}}})


def test_a_format_says_nothing() -> None:
    assert right({"when": "soon"}, {"properties": {"when": {"format": "date-time"}}})


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "strnig"}, "'strnig' is not valid"),
        ([], "[] is not of type"),
        ("object", "'object' is not of type"),
        ({"properties": {"a": {"required": True}}}, "$.properties.a.required: True"),
        ({"items": [{"type": "string"}]}, "$.items: "),
        ({"exclusiveMinimum": True}, "$.exclusiveMinimum: True"),
        ({"pattern": "^\\p{L}+$"}, "is not a 'regex'"),
        ({"pattern": "("}, "is not a 'regex'"),
        ({"pattern": "a{99999999999}"}, "a pattern cannot be compiled"),
        ({"patternProperties": {"(": {}}}, "is not a 'regex'"),
        ({"patternProperties": {"a": {}, "(?i)b": {}}}, "patternProperties: global flags"),
        ({"$ref": "#/$defs/none"}, "$ref '#/$defs/none' leads nowhere"),
        ({"properties": {"a": {"$ref": "#none"}}}, "$ref '#none' leads nowhere"),
        ({"$ref": "https://example.com/schema.json"}, "leads nowhere"),
        ({"$ref": "file:///etc/passwd"}, "leads nowhere"),
        ({"$ref": "#/required/x", "required": ["a"]}, "leads nowhere"),
        ({"$ref": "#/minimum/x", "minimum": 1}, "leads nowhere"),
        ({"$ref": "#/required", "required": ["a"]}, "what a $ref leads to is no schema: $: ['a']"),
        ({"$ref": "#/x/y", "x": {"y": {"type": 3}}}, "what a $ref leads to is no schema: $.type"),
        ({"$ref": "#/x/y", "x": {"y": {"$ref": "#/z"}}}, "$ref '#/z' leads nowhere"),
        ({"$id": "http://a/b", "properties": {"a": {"$id": "http://["}}}, "http://[: "),
        ({"$ref": "#"}, "it refers to itself without end"),
        ({"anyOf": [{"type": "null"}, {"not": {"$ref": "#"}}]}, "itself without end"),
        ({"minimum": float("nan")}, "NaN is no JSON number"),
        ({"enum": [{1, 2}]}, "it is no JSON"),
    ],
)
def test_a_schema_that_is_none_is_an_error_that_names_the_tool(schema: object, told: str) -> None:
    why = schema_error(schema)
    assert why is not None
    assert told in why
    assert_is_a_short_line(why)
    with pytest.raises(ConfigError, match="tool 'weather': its parameters are no schema: "):
        wrong(Call(id="1", name="weather", arguments="{}"), [tool(schema)])


@pytest.mark.parametrize("name", ["weather", "time"])
def test_of_other_tools_the_schema_does_not_matter(name: str) -> None:
    tools = [tool(WEATHER), tool({"type": "strnig"}, "time")]
    call = Call(id="1", name=name, arguments='{"city": "Oslo"}')
    if name == "weather":
        assert wrong(call, tools) is None
    else:
        with pytest.raises(ConfigError):
            wrong(call, tools)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        WEATHER,
        TREE,
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        {"$ref": "http://json-schema.org/draft-07/schema#"},
        {"pattern": "[[a]"},
        {"$anchor": "here", "properties": {"a": {"$ref": "#here"}}},
        {"$id": "https://a.b/c", "properties": {"a": {"$ref": "c#/$defs/d"}}, "$defs": {"d": {}}},
        {"$id": "#user", "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {}}},
        {"definitions": {"a/b": {}}, "properties": {"c": {"$ref": "#/definitions/a~1b"}}},
    ],
)
def test_a_sound_schema_has_no_error(schema: object) -> None:
    assert schema_error(schema) is None
    assert right("{}", schema) or schema is WEATHER


def test_false_is_a_schema_that_nothing_meets() -> None:
    assert schema_error(False) is None
    assert not right("{}", False)


def test_a_reference_is_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    for scheme in ("http", "https", "ftp"):
        assert schema_error({"anyOf": [{}, {"$ref": f"{scheme}://127.0.0.1/x.json"}]})


@pytest.mark.parametrize("levels", [1, 50])
def test_fifty_levels_are_judged(levels: int) -> None:
    assert right('{"next": ' * levels + "{}" + "}" * levels, TREE)
    assert found('{"next": ' * levels + "1" + "}" * levels, TREE)[1].endswith(
        "1 is not of type 'object'"
    )


@pytest.mark.parametrize("levels", [600, 5000, 100_000])
def test_what_is_nested_too_deeply_is_a_mismatch(levels: int) -> None:
    deep = '{"next": ' * levels + "{}" + "}" * levels
    assert found(deep, TREE) == (Kind.SCHEMA_MISMATCH, TOO_DEEP)
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    assert schema_error(schema) == TOO_DEEP


def test_what_is_told_is_one_short_line_with_the_end_of_what_is_wrong() -> None:
    schema = {"additionalProperties": {"type": "string"}}
    assert_is_a_short_line(found('{"\\n\\ud800": 1}', schema)[1])
    kind, why = found(json.dumps({"city": ["x\n\ud800"] * 10_000}))
    assert kind is Kind.SCHEMA_MISMATCH
    assert why.endswith("is not of type 'string'")
    assert_is_a_short_line(why)


def test_a_tool_without_parameters_takes_any_object() -> None:
    bare = {"type": "function", "function": {"name": "now"}}
    assert parameters([bare]) == {"now": {}}
    assert wrong(Call(id="1", name="now", arguments='{"a": 1}'), [bare]) is None
    assert wrong(Call(id="1", name="now", arguments=""), [bare]) is not None


@pytest.mark.parametrize(
    "declared", [{}, {"function": "now"}, {"function": {"name": None}}, "x", 5, None]
)
def test_what_is_no_tool_is_an_error(declared: Any) -> None:
    with pytest.raises(ConfigError, match=r"^tools\[1\]"):
        parameters([tool({}), declared])


@given(st.text(st.characters()), JSON)
def test_any_arguments_are_judged(text: str, value: object) -> None:
    for arguments in (text, json.dumps(value)):
        call = Call(id="1", name="weather", arguments=arguments)
        for schema in (WEATHER, TREE, {"additionalProperties": False}):
            if fault := wrong(call, [tool(schema)]):
                assert_is_a_short_line(fault.why)


@given(NEARLY_SCHEMAS, JSON)
def test_any_schema_is_told_to_be_one_or_judges_whatever_comes(schema: Any, value: object) -> None:
    call = Call(id="1", name="weather", arguments=json.dumps({"a": value, "b": {"a": value}}))
    if schema_error(schema) is None:
        wrong(call, [tool(schema)])
    else:
        with pytest.raises(ConfigError):
            wrong(call, [tool(schema)])
