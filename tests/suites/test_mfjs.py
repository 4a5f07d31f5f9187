"""A schema is valid MFJS, or it is said what is wrong, and where: as the vendor judges it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites import outside, tool_schemas
from suites.mfjs import problem
from suites.mfjs_keywords import VALUES

TEXT: dict[str, Any] = {"type": "string"}


def said(schema: object) -> str | None:
    return problem(json.dumps(schema))


def holding(inner: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An object with one property `v`, and further keys at the root."""
    return {"type": "object", "properties": {"v": inner}, **more}


def deep(levels: int) -> dict[str, Any]:
    return holding(deep(levels - 1)) if levels else TEXT


def test_walles_schemas_are_judged_as_walle_does() -> None:
    folder = outside.folder("walle")
    if folder is None:
        pytest.skip("walle's schemas are not here: set ENGINEDIFF_DATA (scripts/fetch_data.py)")
    schemas = tool_schemas.walle(folder)
    misjudged = [s.id for s in schemas if (problem(s.schema_text) is None) != s.valid]
    assert misjudged == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("{'type': 'object'}", "no JSON"),
        ('{"type":"object"} {}', "no JSON"),
        ('\ufeff{"type":"object"}', "no JSON"),
        ('{"type":"string","title":"a\tb"}', "no JSON"),
        ('{"type":"number","minimum":NaN}', "NaN"),
        ('{"type":"number","minimum":-Infinity}', "Infinity"),
        ('{"type":"number","minimum":1e999}', "beyond what a double holds"),
        ('{"type":"integer","minimum":' + "9" * 5000 + "}", "beyond what a double holds"),
        ('{"type":"string","type":"string"}', "'type' stands twice"),
        ('{"type":"object","properties":{"a":{"type":"null"},"a":{"type":"null"}}}', "'a' stands"),
        ("true", "must be a JSON object, not the value true"),
        ("null", "must be a JSON object, not the value null"),
        ('"object"', 'must be a JSON object, not the value "object"'),
        ("[{}]", "must be a JSON object, not an array"),
    ],
)
def test_a_text_that_is_no_json_object_to_all_readers_is_refused(text: str, said: str) -> None:
    assert said in (problem(text) or "")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"type":"array","items":' * 200 + '{"type":"string"}' + "}" * 200,
        '{"type":"array","default":' + "[" * 200 + "]" * 200 + "}",
    ],
)
def test_a_text_nested_too_deeply_is_refused_in_words(text: str) -> None:
    assert problem(text) == "it is nested too deeply; at most 200 levels of brackets are allowed"


def test_two_hundred_levels_of_brackets_are_taken() -> None:
    text = '{"type":"array","items":' * 199 + '{"type":"string"}' + "}" * 199
    assert problem(text) is None


def test_the_size_is_counted_without_white_space_and_with_the_vendors_escapes() -> None:
    room = 120_000 - len('{"type":"string","title":""}')
    assert said({"type": "string", "title": "x" * room}) is None
    assert problem(f'{{ "type": "string", "title": "{"x" * room}" }}'.replace(" ", "\n\n")) is None
    for title in ("x" * (room + 1), "é" * (room // 2 + 1), "<" * (room // 6 + 1)):
        assert "at most 120000 are allowed" in (said({"type": "string", "title": title}) or "")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "date"}, 'at /type: it is "date", but it must be one of object, array'),
        ({"type": None}, "at /type: it is null"),
        ({"type": []}, "at /type: it is []"),
        ({"type": ["string", 1]}, 'at /type: it is ["string", 1]'),
        ({"type": ["null", "null"]}, "each type may be named once"),
        ({"title": "x"}, "at the root"),
        ({"$defs": {}}, "must have type, anyOf or $ref"),
        (holding({}), "at /properties/v: it is {}, but a schema must have type, anyOf or $ref"),
        (holding({"enum": ["a"]}), "must have type, anyOf or $ref"),
        ({"type": "array", "items": {}}, "at /items"),
        ({"anyOf": [{}]}, "at /anyOf/0"),
        ({"type": "object", "$defs": {"additionalProperties": {}}}, "at /$defs/additionalProp"),
        (holding({"type": "string", "anyOf": [TEXT]}), "only one of type, anyOf and $ref"),
        ({"type": "object", "const": 1}, "at /const: it is 1, but MFJS knows only type, anyOf"),
        (holding({"type": "string", "minimum": 1}), 'may not stand beside type "string"'),
        (holding({"type": ["string", "null"], "minLength": 1}), "at /properties/v/minLength"),
        (holding({"type": ["string", "null"], "default": "a"}), "at /properties/v/default"),
        (holding({"anyOf": [TEXT], "default": "a"}), "may not stand beside anyOf"),
        (holding({"type": "string", "$id": "a"}), "$id may stand at the root alone"),
        ({"type": "string", "title": 1}, "at /title: it is 1, but it must be a string"),
        ({"type": "string", "pattern": None}, "at /pattern: it is null"),
        ({"type": "string", "maxLength": 1.5}, "must be an integer of 0 or more"),
        ({"type": "string", "maxLength": True}, "must be an integer of 0 or more"),
        ({"type": "array", "minItems": -1}, "must be an integer of 0 or more"),
        ({"type": "array", "minItems": 2, "maxItems": 1}, "not be below minItems, which is 2"),
        ({"type": "integer", "maximum": 0.5}, "must be an integer, as the type is"),
        ({"type": "number", "maximum": "1"}, "must be a number"),
        ({"type": "number", "maximum": True}, "must be a number"),
        ({"type": "number", "enum": [True]}, "at /enum/0: it is true"),
        ({"type": "integer", "minimum": 2**53 + 1, "maximum": 2**53}, "not be below minimum"),
        ({"type": "string", "enum": []}, "an array of 1 to 1000 values"),
        ({"type": "string", "enum": ["a", 1]}, "at /enum/1: it is 1, but it must be of the type"),
        ({"type": "integer", "enum": [True]}, "at /enum/0: it is true"),
        ({"type": "integer", "enum": [1.5]}, "at /enum/0: it is 1.5"),
        ({"type": ["number", "null"], "enum": [1, None]}, "has no null: anyOf can say it"),
        ({"type": ["string", "number"], "enum": ["a"]}, "beside enum it must be one type"),
        ({"type": "object", "enum": [{}]}, 'may not stand beside type "object"'),
        ({"type": "object", "required": ["a"]}, "at /required/0"),
        (holding(TEXT, required=["v", "v"]), "each property may be named once"),
        (holding(TEXT, required=[None]), "must be an array of strings"),
        ({"type": "object", "required": ["a"], "properties": 1}, "at /required/0"),
        ({"type": "object", "properties": {"a": True}}, "at /properties/a: it is true, but a sch"),
        ({"type": "object", "properties": {"": TEXT}}, "a name may not be empty"),
        ({"type": "object", "properties": {"$ref": TEXT}}, "no property may be called $defs"),
        ({"type": "object", "properties": {"a/b~c": {"type": 1}}}, "at /properties/a~1b~0c/type"),
        ({"type": "object", "additionalProperties": None}, "must be true, false or a schema"),
        ({"type": "array", "items": True}, "must be one schema, an object"),
        ({"type": "array", "items": [TEXT]}, "must be one schema, an object"),
        ({"anyOf": [True]}, "at /anyOf/0: it is true"),
        ({"type": "object", "$defs": {"a/b": TEXT}}, 'no name in $defs may have a "/" in it'),
        ({"type": "object", "$defs": {"a": holding({"anyOf": [{"type": 1}]})}}, "/anyOf/0/type"),
    ],
)
def test_what_is_wrong_with_one_subschema_is_said_with_its_place(
    schema: dict[str, Any], said: str
) -> None:
    assert said in (problem(json.dumps(schema)) or "")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "additionalProperties": {}},
        {"type": ["object"], "properties": {"a": TEXT}, "required": []},
        {"type": "string", "minLength": 1.0, "maxLength": 1e2},
        {"type": "integer", "minimum": 1e5, "maximum": 10**16},
        {"type": "number", "enum": [1, 1.0, -0.5]},
        {"type": ["null", "string"], "enum": ["a", None], "default": "a", "title": "b"},
        {"type": "array", "default": [1], "items": TEXT},
        {"type": "object", "default": {"$ref": "x", "anyOf": 1}},
        {"type": "string", "pattern": "["},
        {"$id": "#a", "type": "null", "enum": [None]},
        {"type": "object", "properties": {"type": TEXT, "items": TEXT, "$id": TEXT, "enum": TEXT}},
        {"type": "object", "properties": {"a/b": TEXT}, "required": ["a/b"]},
        {"type": "object", "$defs": {"anyOf": TEXT, "required": TEXT}},
        {"anyOf": [TEXT] * 500},
        {"type": "integer", "enum": list(range(1000))},
    ],
)
def test_what_looks_odd_and_is_allowed_is_valid(schema: dict[str, Any]) -> None:
    assert said(schema) is None


DEFS = {
    "a": TEXT,
    "o": {"type": "object", "properties": {"p": {"type": "array", "items": TEXT}}},
    "m": {"type": "object", "additionalProperties": TEXT},
    "u": {"anyOf": [TEXT]},
    "100%": TEXT,
    "a b": TEXT,
    "a~b": TEXT,
    "x~0": TEXT,
}


@pytest.mark.parametrize(
    "ref",
    [
        *("#", "#/$defs/a", "#/$defs/o/properties/p", "#/$defs/o/properties/p/items"),
        *("#/$defs/m/additionalProperties", "#/$defs/100%", "#/$defs/a b", "#/$defs/a~b"),
    ],
)
def test_a_reference_leads_to_the_root_or_to_a_schema_in_defs(ref: str) -> None:
    assert said(holding({"$ref": ref}, **{"$defs": DEFS})) is None


@pytest.mark.parametrize(
    ("ref", "right"),
    [
        ("", "it must be # or begin with #/$defs/"),
        ("#/", "it must be # or begin with #/$defs/"),
        ("#a", "it must be # or begin with #/$defs/"),
        ("#/properties/v", "it must be # or begin with #/$defs/"),
        ("#/%24defs/a", "it must be # or begin with #/$defs/"),
        ("a.json#/$defs/a", "it must be # or begin with #/$defs/"),
        ("#/$defs/", "it must lead to a schema in $defs"),
        ("#/$defs/b", "it must lead to a schema in $defs"),
        ("#/$defs/a/", "it must lead to a schema in $defs"),
        ("#/$defs/o/properties", "it must lead to a schema in $defs"),
        ("#/$defs/u/anyOf/0", "it must lead to a schema in $defs"),
        ("#/$defs/a~0b", "it must have no escapes"),
        ("#/$defs/a%20b", "it must have no escapes"),
        ("#/$defs/x~0", "it must have no escapes"),
        (1, "it must be a string"),
    ],
)
def test_any_other_reference_is_refused(ref: object, right: str) -> None:
    message = said(holding({"$ref": ref}, **{"$defs": DEFS})) or ""
    assert message.startswith("at /properties/v/$ref: it is ") and right in message


def test_a_reference_in_a_definition_that_nobody_uses_must_lead_somewhere_too() -> None:
    schema = {"type": "object", "$defs": {"a": holding({"$ref": "#/$defs/b"})}}
    assert "at /$defs/a/properties/v/$ref" in (said(schema) or "")


@pytest.mark.parametrize("note", ["title", "description"])
def test_a_note_beside_a_reference_or_a_choice_is_not_said_again_behind_it(note: str) -> None:
    noted = {"type": "string", note: "a"}
    behind: list[dict[str, Any]] = [
        noted,
        {"$ref": "#/$defs/b", note: "a"},
        {"$ref": "#/$defs/noted"},
        {"anyOf": [TEXT, noted]},
        {"anyOf": [{"$ref": "#/$defs/b", note: "a"}]},
    ]
    for inner in behind:
        defs = {"a": inner, "b": TEXT, "noted": noted}
        for outer in ({"$ref": "#/$defs/a", note: "b"}, {"anyOf": [noted], note: "b"}):
            message = said(holding(outer, **{"$defs": defs})) or ""
            assert message.startswith(f"at /properties/v/{note}") and "not be said twice" in message
        assert said(holding({"$ref": "#/$defs/a"}, **{"$defs": defs})) is None
    further = {"anyOf": [{"$ref": "#/$defs/b"}, {"anyOf": [noted]}, holding(noted)], note: "b"}
    assert said(holding(further, **{"$defs": {"b": noted}})) is None


def test_properties_stand_in_each_other_five_deep_and_references_count() -> None:
    assert said(deep(5)) is None
    assert "at the root: properties stand 6 levels deep; at most 5" in (said(deep(6)) or "")
    for between in ({"type": "array", "items": deep(3)}, {"anyOf": [deep(3)]}):
        assert said(holding(holding(between))) is None
        assert "6 levels deep" in (said(holding(holding(holding(between)))) or "")
    defs = {"$defs": {"a": deep(4)}}
    assert said(holding({"$ref": "#/$defs/a"}, **defs)) is None
    assert "6 levels deep" in (said(holding(holding({"$ref": "#/$defs/a"}), **defs)) or "")
    assert "at /$defs/a" in (said({"type": "object", "$defs": {"a": deep(6)}}) or "")
    assert said({"type": "array", "items": {"type": "array", "items": deep(5)}}) is None


def test_a_loop_counts_once_into_the_depth() -> None:
    node = holding({"$ref": "#/$defs/node"}, required=[])
    assert said({**holding({"$ref": "#/$defs/node"}), "$defs": {"node": node}}) is None
    ring = {f"d{i}": holding({"$ref": f"#/$defs/d{(i + 1) % 6}"}) for i in range(6)}
    assert "6 levels deep" in (said({"type": "object", "$defs": ring}) or "")


def test_three_thousand_properties_are_allowed_in_all() -> None:
    half = {f"p{i}": TEXT for i in range(1499)}
    two: dict[str, Any] = {"a": {"type": "object", "properties": half}}
    two["b"] = {"type": "object", "properties": half}
    assert said({"type": "object", "properties": two}) is None
    two["c"] = TEXT
    assert "it has 3001 properties in all" in (said({"type": "object", "properties": two}) or "")


SELF: dict[str, Any] = {"$ref": "#"}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (SELF, "at the root"),
        ({"anyOf": [SELF, TEXT]}, "at "),
        (holding({"$ref": "#/$defs/a"}, **{"$defs": {"a": {"$ref": "#/$defs/a"}}}), "at /$defs/a"),
        ({"type": "object", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, "at /$defs/a"),
        (holding(SELF, required=["v"]), "at /properties/v"),
        (holding({"anyOf": [SELF]}, required=["v"]), "at /properties/v/anyOf/0"),
        (holding({"type": "array", "items": SELF}, required=["v"]), "at /properties/v/items"),
        ({"type": "array", "items": SELF}, "at /items"),
        ({"type": "array", "items": SELF, "minItems": 1}, "at /items"),
        (holding(holding(SELF, required=["v"]), required=["v"]), "at /properties/v/properties/v"),
        ({"type": "object", "properties": {"s": TEXT, "v": SELF}, "required": ["s", "v"]}, "/v"),
    ],
)
def test_a_loop_without_an_end_is_refused_with_its_place(
    schema: dict[str, Any], place: str
) -> None:
    message = said(schema) or ""
    assert place in message and "it leads back to itself" in message


@pytest.mark.parametrize(
    "schema",
    [
        holding(SELF),
        holding({"anyOf": [SELF, {"type": "null"}]}, required=["v"]),
        holding({"type": "array", "items": SELF}),
        {"type": "object", "additionalProperties": SELF},
        {"anyOf": [TEXT, {"type": "array", "items": SELF}]},
        holding({"$ref": "#/$defs/a"}, **{"$defs": {"a": holding(SELF, required=["v"])}}),
        {
            "type": "object",
            "properties": {"s": TEXT, "v": {"type": "array", "items": SELF}},
            "required": ["s", "v"],
        },
    ],
)
def test_a_loop_that_can_end_is_valid(schema: dict[str, Any]) -> None:
    assert said(schema) is None


def test_long_chains_and_wide_loops_take_no_long_time() -> None:
    """A minute is far more than they need, and far less than going every way would take."""
    chain: dict[str, Any] = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(3000)}
    wide: dict[str, Any] = {f"p{i}": {"$ref": "#/$defs/a"} for i in range(2900)}
    ring = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{j}"} for j in range(60)]} for i in range(60)}
    began = time.monotonic()
    assert said({"$ref": "#/$defs/d0", "$defs": {**chain, "d3000": TEXT}}) is None
    assert said({"type": "object", "properties": wide, "required": [*wide], "$defs": DEFS}) is None
    assert said({"$ref": "#/$defs/d0", "$defs": ring}) is not None
    assert problem(f'{{"type":"string","title":"{"x" * 10_000_000}"}}') is not None
    assert time.monotonic() - began < 60


def test_a_message_is_short_and_of_characters_that_any_terminal_takes() -> None:
    for text in ('{"\\ud800":1}', f'{{"{"x" * 5000}":"{"y" * 5000}"}}'):
        message = problem(text) or ""
        message.encode()
        assert 0 < len(message) < 500


@given(st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    assert problem(text) != ""


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["#", "string"])
NAMES = st.sampled_from([*VALUES, "a", "const", "#/$defs/a"])
LOOSE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
TYPES = [*("object", "array", "string", "number", "integer", "boolean", "null")]
SCHEMAS = st.recursive(
    st.fixed_dictionaries({"type": st.sampled_from(TYPES)})
    | st.fixed_dictionaries({"$ref": st.sampled_from(["#", "#/$defs/a", "#/$defs/b"])}),
    lambda inner: (
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.sampled_from("xyz"), inner),
                "required": st.lists(st.sampled_from("xyz"), max_size=2),
            }
        )
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
    ),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, LOOSE, max_size=6))
def test_no_object_makes_it_raise(schema: dict[str, Any]) -> None:
    assert problem(json.dumps(schema)) != ""


@given(SCHEMAS, SCHEMAS, SCHEMAS)
def test_no_loop_of_references_makes_it_raise(
    root: dict[str, Any], a: dict[str, Any], b: dict[str, Any]
) -> None:
    assert problem(json.dumps({**root, "$defs": {"a": a, "b": b}})) != ""
