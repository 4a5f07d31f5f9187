"""What one subschema of MFJS may hold: which keywords side by side, and which values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from suites.mfjs_parts import Part, Path, named, types, wrong

NOTES = frozenset({"description", "title"})
ROOT_ONLY = frozenset({"$id", "$defs"})
KINDS = ("type", "anyOf", "$ref")  # a subschema has one of them
OF_TYPE: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "enum"}),
    "number": frozenset({"minimum", "maximum", "enum"}),
    "integer": frozenset({"minimum", "maximum", "enum"}),
    "boolean": frozenset({"enum"}),
    "null": frozenset({"enum"}),
}
NULLABLE = ("string", "number", "integer", "boolean")  # what an enum takes beside null
PAIRS = (("minLength", "maxLength"), ("minItems", "maxItems"), ("minimum", "maximum"))
RESERVED = ("$defs", "$ref", "anyOf", "required", "additionalProperties")  # no property's name
ENUM, ANY_OF = 1000, 500  # at most


def problems(part: Part) -> Iterator[str]:
    """The first one counts: what comes after it would stand on what is wrong."""
    for keyword, value in part.keys.items():
        if keyword not in VALUES:
            known = ", ".join(VALUES)
            yield wrong((*part.path, keyword), value, f"MFJS knows only {known}")
    yield from _kind(part)
    yield from _beside(part)
    for keyword, value in part.keys.items():
        yield from VALUES[keyword](part, keyword, value)
    for low, high in PAIRS:
        if low in part.keys and high in part.keys and part.keys[low] > part.keys[high]:
            right = f"it must not be below {low}, which is {part.keys[low]}"
            yield wrong((*part.path, high), part.keys[high], right)


def _kind(part: Part) -> Iterator[str]:
    kinds = [kind for kind in KINDS if kind in part.keys]
    if len(kinds) > 1:
        yield wrong(part.path, kinds, "only one of type, anyOf and $ref may stand in a schema")
    if not kinds and (part.keys or not part.may_be_empty):
        yield wrong(part.path, dict(part.keys), "a schema must have type, anyOf or $ref")
    if "type" in part.keys:
        yield from _type((*part.path, "type"), part.keys["type"])


def _type(path: Path, value: Any) -> Iterator[str]:
    known = ", ".join(OF_TYPE)
    listed = value if isinstance(value, list) else [value]
    if not listed or any(not isinstance(each, str) or each not in OF_TYPE for each in listed):
        yield wrong(path, value, f"it must be one of {known}, or a list of them")
    if len(set(listed)) < len(listed):
        yield wrong(path, value, "each type may be named once")


def _beside(part: Part) -> Iterator[str]:
    """What may not stand beside the subschema's type, anyOf or $ref, or not below the root."""
    for keyword, value in part.keys.items():
        path = (*part.path, keyword)
        if keyword in ROOT_ONLY:
            if part.path:
                yield wrong(path, value, f"{keyword} may stand at the root alone")
        elif keyword not in KINDS and keyword not in NOTES | _allowed(part):
            yield wrong(path, value, f"it may not stand beside {_company(part)}")
    if "enum" in part.keys and len(types(part)) > 1:
        yield from _nullable(part)


def _allowed(part: Part) -> frozenset[str]:
    listed = types(part)
    if len(listed) == 1:
        return OF_TYPE[listed[0]] | {"default"}
    if listed and "enum" in part.keys:
        return frozenset({"enum", "default"})
    return frozenset()


def _company(part: Part) -> str:
    (kind,) = (kind for kind in KINDS if kind in part.keys)
    return f"type {json.dumps(part.keys['type'])}" if kind == "type" else kind


def _nullable(part: Part) -> Iterator[str]:
    rest = [each for each in types(part) if each != "null"]
    if len(types(part)) != 2 or len(rest) != 1 or rest[0] not in NULLABLE:
        right = f"beside enum it must be one type, or null and one of {', '.join(NULLABLE)}"
        yield wrong((*part.path, "type"), part.keys["type"], right)


def _anything(_part: Part, _keyword: str, _value: Any) -> Iterator[str]:
    yield from ()


def _string(part: Part, keyword: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str):
        yield wrong((*part.path, keyword), value, "it must be a string")


def _count(part: Part, keyword: str, value: Any) -> Iterator[str]:
    if not _is_integer(value) or value < 0:
        yield wrong((*part.path, keyword), value, "it must be an integer of 0 or more")


def _bound(part: Part, keyword: str, value: Any) -> Iterator[str]:
    if not _is_number(value):
        yield wrong((*part.path, keyword), value, "it must be a number")
    elif types(part) == ["integer"] and not _is_integer(value):
        yield wrong((*part.path, keyword), value, "it must be an integer, as the type is")


def _enum(part: Part, keyword: str, value: Any) -> Iterator[str]:
    path = (*part.path, keyword)
    if not isinstance(value, list) or not 1 <= len(value) <= ENUM:
        yield wrong(path, value, f"it must be an array of 1 to {ENUM} values")
        return
    listed = types(part)
    numeric = {"number", "integer"} & set(listed)
    for index, each in enumerate(value):
        if numeric and each is None:
            right = f"an enum of type {json.dumps(listed)} has no null: anyOf can say it"
            yield wrong((*path, index), each, right)
        elif not any(IS[kind](each) for kind in listed):
            yield wrong((*path, index), each, f"it must be of the type {' or '.join(listed)}")


def _properties(part: Part, keyword: str, value: Any) -> Iterator[str]:
    path = (*part.path, keyword)
    yield from _schemas(path, value)
    for name in value:
        if name in RESERVED:
            right = f"no property may be called {', '.join(RESERVED)}"
            yield wrong(path, name, right)
        if part.path[:1] == ("$defs",):
            yield from _no_slash(path, name)


def _defs(part: Part, keyword: str, value: Any) -> Iterator[str]:
    path = (*part.path, keyword)
    yield from _schemas(path, value)
    for name in value:
        yield from _no_slash(path, name)


def _schemas(path: Path, value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield wrong(path, value, "it must be an object, a schema under each name")
        return
    for name, inner in value.items():
        if not name:
            yield wrong(path, name, "a name may not be empty")
        if not isinstance(inner, dict):
            yield wrong((*path, name), inner, "a schema must be an object")


def _no_slash(path: Path, name: str) -> Iterator[str]:
    if "/" in name:
        yield wrong(path, name, 'no name in $defs may have a "/" in it')


def _required(part: Part, keyword: str, value: Any) -> Iterator[str]:
    path = (*part.path, keyword)
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        yield wrong(path, value, "it must be an array of strings")
        return
    for index, name in enumerate(value):
        if name not in _declared(part):
            yield wrong((*path, index), name, "it must be the name of one of the properties")
    if len(set(value)) < len(value):
        yield wrong(path, value, "each property may be named once")


def _declared(part: Part) -> Mapping[str, Any]:
    """The properties: not checked yet, where `required` comes first in the text."""
    value: object = named(part, "properties")
    return value if isinstance(value, dict) else {}


def _additional(part: Part, keyword: str, value: Any) -> Iterator[str]:
    if not isinstance(value, bool | dict):
        yield wrong((*part.path, keyword), value, "it must be true, false or a schema")


def _items(part: Part, keyword: str, value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield wrong((*part.path, keyword), value, "it must be one schema, an object")


def _any_of(part: Part, keyword: str, value: Any) -> Iterator[str]:
    path = (*part.path, keyword)
    if not isinstance(value, list) or not 1 <= len(value) <= ANY_OF:
        yield wrong(path, value, f"it must be an array of 1 to {ANY_OF} schemas")
        return
    for index, each in enumerate(value):
        if not isinstance(each, dict):
            yield wrong((*path, index), each, "a schema must be an object")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    """1.0 is one, as it is for JSON Schema."""
    return type(value) is int or (isinstance(value, float) and value.is_integer())


IS: Mapping[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": _is_integer,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
VALUES: Mapping[str, Callable[[Part, str, Any], Iterator[str]]] = {
    "type": _anything,
    "anyOf": _any_of,
    "$ref": _string,
    "description": _string,
    "title": _string,
    "default": _anything,
    "enum": _enum,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "items": _items,
    "minItems": _count,
    "maxItems": _count,
    "minLength": _count,
    "maxLength": _count,
    "pattern": _string,
    "minimum": _bound,
    "maximum": _bound,
    "$id": _string,
    "$defs": _defs,
}
