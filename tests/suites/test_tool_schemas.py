"""The tool schemas are what they are labelled as, and are sent without a change of meaning."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from harness.base.errors import ConfigError
from suites import mfjs, outside, tool_schemas
from suites.tool_schemas import ToolSchema, parameters, shipped

SHIPPED = shipped()
VALID = [schema for schema in SHIPPED if schema.valid]
FAMILIES = {
    *("object", "required", "additional-properties", "nesting", "array", "string", "number"),
    *("integer", "boolean", "null", "enum", "type-list", "any-of", "refs", "recursion", "notes"),
    *("names", "size", "root"),
}


def loaded(schema: ToolSchema) -> dict[str, Any]:
    return json.loads(schema.schema_text)


def sent(schema: dict[str, Any]) -> Any:
    return Draft202012Validator(parameters(schema))


def judged() -> tuple[ToolSchema, ...]:
    folder = outside.folder("walle")
    if folder is None:
        pytest.skip("walle's schemas are not here: set ENGINEDIFF_DATA (scripts/fetch_data.py)")
    return tool_schemas.walle(folder)


def test_the_shipped_schemas_are_of_every_family_and_each_has_its_own_id() -> None:
    assert len({schema.id for schema in SHIPPED}) == len(SHIPPED) == 160
    assert len(VALID) == 103
    assert {schema.family for schema in VALID} == FAMILIES
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", schema.id) for schema in SHIPPED)


def test_each_shipped_schema_is_valid_mfjs_or_not_as_it_is_labelled() -> None:
    assert [s.id for s in SHIPPED if (mfjs.problem(s.schema_text) is None) != s.valid] == []


def test_each_valid_one_takes_and_refuses_what_it_says() -> None:
    wrong: list[tuple[str, object]] = []
    for schema in VALID:
        Draft202012Validator.check_schema(loaded(schema))
        judge: Any = Draft202012Validator(loaded(schema))
        wrong += [(schema.id, value) for value in schema.takes if not judge.is_valid(value)]
        wrong += [(schema.id, value) for value in schema.refuses if judge.is_valid(value)]
        assert schema.takes and (schema.refuses or schema.id == "anything")
    assert wrong == []


def test_all_but_the_roots_are_the_schemas_of_objects() -> None:
    other = {s.id for s in VALID if loaded(s).get("type") not in ("object", ["object"])}
    assert other == {
        *("anything", "root-array", "root-string-with-definition", "root-array-of-itself"),
        *("root-is-a-ref", "root-choice-of-objects"),
    }


def test_a_schema_of_objects_is_sent_as_it_is() -> None:
    for schema in ({"type": "object"}, {"type": ["object"], "title": "A"}, {}):
        assert parameters(schema) == schema


@pytest.mark.parametrize("schema", VALID, ids=lambda schema: schema.id)
def test_what_is_sent_is_valid_mfjs_of_objects_and_takes_the_same(schema: ToolSchema) -> None:
    whole = parameters(loaded(schema))
    assert mfjs.problem(json.dumps(whole)) is None
    assert schema.id == "anything" or whole["type"] in ("object", ["object"])
    if loaded(schema) and loaded(schema).get("type") not in ("object", ["object"]):
        judge = sent(loaded(schema))
        assert all(judge.is_valid({"value": value}) for value in schema.takes)
        assert not any(judge.is_valid({"value": value}) for value in schema.refuses)
        assert not judge.is_valid({}) and not judge.is_valid(schema.takes[0])


def test_notes_are_kept_defaults_are_not_and_defs_and_id_move_to_the_root() -> None:
    schema = {
        "$id": "https://example.org/words",
        "title": "Words",
        "type": "array",
        "items": {"$ref": "#/$defs/Word"},
        "default": ["a"],
        "$defs": {"Word": {"type": "string", "default": "#"}},
    }
    before = json.dumps(schema)
    assert parameters(schema) == {
        "type": "object",
        "properties": {
            "value": {
                "title": "Words",
                "type": "array",
                "items": {"$ref": "#/$defs/Word"},
            }
        },
        "required": ["value"],
        "$id": "https://example.org/words",
        "$defs": {"Word": {"type": "string"}},
    }
    assert json.dumps(schema) == before
    assert sent(schema).is_valid({"value": ["a"]}) and not sent(schema).is_valid({"value": [1]})


def test_a_reference_to_the_root_leads_to_the_same_schema_as_before() -> None:
    schema = {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"$ref": "#"}},
            {"$ref": "#/$defs/root"},
        ],
        "$defs": {
            "root": {
                "type": "object",
                "properties": {"$ref": {"type": "integer"}},
                "additionalProperties": {"$ref": "#"},
            }
        },
    }
    whole = parameters(schema)
    assert whole["properties"]["value"] == {"$ref": "#/$defs/root_"}
    assert set(whole["$defs"]) == {"root", "root_"}
    before: Any = Draft202012Validator(schema)
    for value in ("a", ["a", ["b"]], {"$ref": 1, "x": ["a"]}, 1, [1], {"x": 1}, {"$ref": "a"}):
        assert sent(schema).is_valid({"value": value}) == before.is_valid(value)


@pytest.mark.parametrize(
    ("ref", "name", "kept"),
    [
        ("#/%24defs/a~0b", "a~b", True),
        ("#/$defs/50%25", "50%", True),
        ("#/items/properties/a~1b%20c", "x", False),
        ("#/items", "x", False),
    ],
)
def test_escapes_in_a_reference_mean_what_they_meant(ref: str, name: str, kept: bool) -> None:
    text = {"type": "string", "enum": ["yes"]}
    schema = {
        "type": "array",
        "items": {"type": ["object", "string"], "properties": {"a/b c": text, "r": {"$ref": ref}}},
        "$defs": {name: text},
    }
    assert (parameters(schema)["properties"]["value"].get("type") == "array") == kept
    before: Any = Draft202012Validator(schema)
    for value in ([{"r": "yes"}], [{"r": "no"}], [{"r": {"r": "yes"}}], [{"r": {"r": "no"}}]):
        assert sent(schema).is_valid({"value": value}) == before.is_valid(value)


def test_an_enum_that_looks_like_a_reference_is_left_alone_and_a_property_named_default() -> None:
    text = {"type": "string", "enum": ["#", "default"]}
    schema = {"type": "array", "items": text, "default": [{"$ref": "#"}]}
    assert parameters(schema)["properties"]["value"] == {"type": "array", "items": text}
    named = {"type": "object", "properties": {"default": {"type": "string", "default": "a"}}}
    assert parameters(named) == {"type": "object", "properties": {"default": {"type": "string"}}}


def test_walles_schemas_are_read_with_suite_file_and_line_as_their_id() -> None:
    schemas = {schema.id: schema for schema in judged()}
    assert len(schemas) == 395
    assert sum(schema.valid for schema in schemas.values()) == 213
    found = schemas["walle/TestAnyOf/valid-3"]
    assert (found.family, found.valid, found.takes) == ("TestAnyOf", True, ())
    assert loaded(found)["type"] == "array" and '"anyOf":[{' in found.schema_text
    assert loaded(schemas["walle/TestAnyOf/invalid-1"]) == {"anyOf": "not an array"}


def test_walles_valid_schemas_are_sent_as_valid_mfjs() -> None:
    valid = [schema for schema in judged() if schema.valid]
    assert [s.id for s in valid if mfjs.problem(json.dumps(parameters(loaded(s))))] == []


def test_lines_without_text_are_passed_over_and_a_line_separator_is_no_end(tmp_path: Path) -> None:
    (tmp_path / "TestIt").mkdir()
    (tmp_path / "TestIt" / "valid.jsonl").write_text('\n{"title":"a\u2028b","type":"null"}\n \n')
    (tmp_path / "TestIt" / "invalid.jsonl").write_text("")
    (schema,) = tool_schemas.walle(tmp_path)
    assert schema.id == "walle/TestIt/valid-2"
    assert loaded(schema) == {"title": "a\u2028b", "type": "null"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "a"', "it is no line of JSON"),
        ('{"id": "a", "id": "b"}', "the key 'id' stands twice"),
        ("[1]", "it must be a JSON object"),
        ('{"id": "a", "family": "b", "schema": {}, "valid": true}', "the key 'takes' is missing"),
        ('{"id": "a", "family": "b", "valid": false, "why": "c"}', "either schema or schema_text"),
        ('{"id": 1, "family": "b", "valid": false, "why": "c", "schema": {}}', "id is 1; it must"),
        ('{"id": "a", "valid": true, "more": 1}', "unknown key 'more'"),
    ],
)
def test_a_bad_line_is_refused_with_file_and_number(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "schemas.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(ConfigError, match=re.escape(f"{path}:2")) as refused:
        tool_schemas.read(path)
    assert said in str(refused.value)


def test_files_that_are_not_there_or_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must have a folder for each suite"):
        tool_schemas.walle(tmp_path)
    (tmp_path / "TestIt").mkdir()
    with pytest.raises(ConfigError, match=r"TestIt/valid.jsonl: cannot be read"):
        tool_schemas.walle(tmp_path)
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(ConfigError, match=r"bytes.jsonl: is not UTF-8 text"):
        tool_schemas.read(tmp_path / "bytes.jsonl")
