"""JSON schemas for a tool's parameters: ours, with values to try, and those of walle, from outside.

`data/tool-schemas.jsonl` has one a line. Those that are valid MFJS (see `mfjs`) stand there with
values that they take and values that they refuse, by JSON Schema, Draft 2020-12; the others with
what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from harness.base import strict_toml
from harness.base.errors import ConfigError
from harness.base.strict_json import parsed

SHIPPED = Path(__file__).parent / "data" / "tool-schemas.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSchema:
    id: str
    family: str  # which keywords it is about
    schema_text: str  # need not be JSON where it is not valid
    valid: bool
    takes: tuple[Any, ...]  # values that conform; none are known of walle's
    refuses: tuple[Any, ...]  # values that do not


@dataclass(frozen=True, slots=True, kw_only=True)
class _Valid:
    """A line of our file."""

    id: str
    family: str
    schema: Mapping[str, Any]
    valid: bool
    takes: tuple[Any, ...]
    refuses: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Invalid:
    """Another line of our file: `schema`, or `schema_text` for what is no JSON object."""

    id: str
    family: str
    schema: Mapping[str, Any] | None = None
    schema_text: str | None = None
    valid: bool
    why: str  # for who reads the file


@dataclass(frozen=True, slots=True, kw_only=True)
class _WalleInvalid:
    """A line of walle's `invalid.jsonl`."""

    schema: str
    expect: str
    unmarshal: bool


def shipped() -> tuple[ToolSchema, ...]:
    """Ours, in the order of the file."""
    return read(SHIPPED)


def read(path: Path) -> tuple[ToolSchema, ...]:
    """The schemas of a file like ours; a ConfigError names file and line."""
    return tuple(_ours(_row(line, where), where) for line, where in _lines(path))


def walle(folder: Path) -> tuple[ToolSchema, ...]:
    """Those of walle, with ids like "walle/TestAnyOf/valid-3": the suite, the file, its line."""
    suites = sorted(path for path in folder.iterdir() if path.is_dir())
    if not suites:
        raise ConfigError(f"{folder}: it must have a folder for each suite, with valid.jsonl")
    return tuple(schema for suite in suites for schema in _suite(suite))


def parameters(schema: dict[str, Any]) -> dict[str, Any]:
    """How a valid schema is sent as a tool's parameters. `schema` stays as it is.

    Without any `default`, as Kimi-Vendor-Verifier sends it: engines read it in different ways.
    One that says by its type that it takes objects goes as it is, and so does {}, which takes any.
    Any other is that of the one property, `value`, of an object: `$defs` and `$id` move up to the
    root, and a schema that refers to itself moves into `$defs`, for "#" would mean the object.
    """
    schema = _pointed(schema, None)
    if not schema or schema.get("type") in ("object", ["object"]):
        return schema
    definitions: dict[str, Any] = schema.get("$defs", {})
    name = "root"
    while name in definitions:
        name += "_"
    moved = _pointed(schema, name)
    value = {key: part for key, part in moved.items() if key not in ("$id", "$defs")}
    top = {key: moved[key] for key in ("$id", "$defs") if key in moved}
    if moved != schema:
        top["$defs"] = {**top.get("$defs", {}), name: value}
        value = {"$ref": f"#/$defs/{name}"}
    return {"type": "object", "properties": {"value": value}, "required": ["value"], **top}


def _pointed(schema: dict[str, Any], name: str | None) -> dict[str, Any]:
    """A copy without defaults, whose $refs to the root, or past $defs, lead to the definition
    `name`; None: where they led."""
    copy: dict[str, Any] = {}
    for key, part in schema.items():
        if key in ("properties", "$defs"):
            copy[key] = {inner: _pointed(value, name) for inner, value in part.items()}
        elif key == "anyOf":
            copy[key] = [_pointed(value, name) for value in part]
        elif key in ("items", "additionalProperties") and isinstance(part, dict):
            copy[key] = _pointed(cast("dict[str, Any]", part), name)
        elif key == "$ref" and name and part.startswith("#") and not _in_defs(part):
            copy[key] = f"#/$defs/{name}{part[1:]}"
        elif key != "default":
            copy[key] = part
    return copy


def _in_defs(ref: str) -> bool:
    """As a JSON pointer in a URL says it, whose letters may be written as escapes."""
    return unquote(ref).startswith("#/$defs/")


def _suite(folder: Path) -> Iterator[ToolSchema]:
    for line, where in _lines(folder / "valid.jsonl"):
        yield _walles(folder, where, line, valid=True)
    for line, where in _lines(folder / "invalid.jsonl"):
        row = strict_toml.convert(_WalleInvalid, _row(line, where), where)
        yield _walles(folder, where, row.schema, valid=False)


def _walles(folder: Path, where: str, schema_text: str, *, valid: bool) -> ToolSchema:
    file = "valid" if valid else "invalid"
    return ToolSchema(
        id=f"walle/{folder.name}/{file}-{where.rpartition(':')[2]}",
        family=folder.name,
        schema_text=schema_text,
        valid=valid,
        takes=(),
        refuses=(),
    )


def _ours(row: dict[str, Any], where: str) -> ToolSchema:
    if row.get("valid") is False:
        wrong = strict_toml.convert(_Invalid, row, where)
        if (wrong.schema is None) == (wrong.schema_text is None):
            raise ConfigError(f"{where}: it must have either schema or schema_text")
        text = _text(wrong.schema) if wrong.schema_text is None else wrong.schema_text
        return _made(wrong, text, takes=(), refuses=())
    right = strict_toml.convert(_Valid, row, where)
    return _made(right, _text(right.schema), takes=right.takes, refuses=right.refuses)


def _made(row: _Valid | _Invalid, text: str, **values: tuple[Any, ...]) -> ToolSchema:
    return ToolSchema(id=row.id, family=row.family, schema_text=text, valid=row.valid, **values)


def _text(schema: Mapping[str, Any] | None) -> str:
    return json.dumps(schema, ensure_ascii=False)


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = parsed(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: it is no line of JSON: {error}") from error
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: it must be a JSON object")
    return cast("dict[str, Any]", row)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Each line that is not blank, and where it stands: path and number."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: {error.reason}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield line, f"{path}:{number}"
