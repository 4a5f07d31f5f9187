"""TOML (or JSON) tables read strictly into frozen dataclasses.

No key is unknown, none missing, none of another type.

The dataclass is the schema. A field is a str, int, float, bool, `T | None`, another dataclass,
`tuple[T, ...]`, `Mapping[str, T]`, or `Any` (kept as it stands: the value of an engine's own
flag). A field with a default may be left out; nothing else may.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from harness.base.errors import ConfigError

T = TypeVar("T")

NAMES = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}


def load(path: Path) -> dict[str, Any]:
    """The file as plain values; raises ConfigError where it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: {error.reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error


def convert(kind: type[T], value: object, where: str) -> T:
    """`value` as a `kind`; `where` (file, then key) opens the message of a ConfigError."""
    return cast("T", _convert(kind, value, where))


def _convert(kind: Any, value: object, where: str) -> object:
    if kind is Any:
        return value
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:  # TOML has no null; a table read from JSON may
            return None
        (inner,) = (part for part in typing.get_args(kind) if part is not type(None))
        return _convert(inner, value, where)
    if origin is tuple:
        return _convert_list(typing.get_args(kind)[0], value, where)
    if origin is Mapping:
        return _convert_mapping(typing.get_args(kind)[1], value, where)
    if dataclasses.is_dataclass(kind):
        return _convert_table(cast("type[Any]", kind), value, where)
    return _convert_scalar(kind, value, where)


def _convert_scalar(kind: type, value: object, where: str) -> object:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:  # bool is an int, and must not pass for one
        raise ConfigError(f"{where} is {value!r}; it must be {NAMES[kind]}")
    return value


def _convert_list(kind: Any, value: object, where: str) -> object:
    if not isinstance(value, list):
        raise ConfigError(f"{where} is {value!r}; it must be an array")
    items = cast("list[object]", value)
    return tuple(_convert(kind, item, f"{where}[{i}]") for i, item in enumerate(items))


def _convert_mapping(kind: Any, value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is {value!r}; it must be a table")
    items = cast("dict[str, object]", value)
    return {key: _convert(kind, item, f"{where}.{key}") for key, item in items.items()}


def _convert_table(kind: type[Any], value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is {value!r}; it must be a table")
    table = cast("dict[str, object]", value)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(table) - set(fields))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(fields)}")
    required = [n for n, f in fields.items() if f.default is dataclasses.MISSING]
    missing = [name for name in required if name not in table]
    if missing:
        raise ConfigError(f"{where}: the key {missing[0]!r} is missing")
    return kind(**{k: _convert(hints[k], v, f"{where}: {k}") for k, v in table.items()})
