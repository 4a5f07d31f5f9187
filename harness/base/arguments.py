"""One tool call held against the tools that were declared: JSON Schema, Draft 2020-12.

That draft holds whatever `$schema` says, `format` says nothing, and nothing is fetched: a `$ref`
that leads out of the schema is a fault of the schema. The only importer of jsonschema.

Trade-offs accepted:
- A `pattern` is Python's, not ECMA's. One that Python cannot compile is a fault of the schema; `$`
  matches before a last newline too, `\\d` digits of every script; one that backtracks without end
  is not stopped.
- An `$id` with a fragment passes, which the draft forbids: schemas that are in use have one.
- How deeply arguments may be nested depends on how deep the caller stands: 50 levels always pass.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from harness.base import references
from harness.base.errors import ConfigError
from harness.base.excerpt import excerpt
from harness.base.reply import Call
from harness.base.strict_json import parsed

SHOWN = 160  # characters of a reason
SCHEMAS = 256  # that are kept compiled
TOO_DEEP = "nested too deeply"
DATA = ("const", "enum", "default", "examples")  # keys of a schema that hold no schemas
NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")

Tools = Sequence[Any]  # tables, as the chat API declares them; of a wrong request, anything


class Kind(StrEnum):
    """What a call can have wrong: the classes of OpenRouter's Exacto."""

    INVALID_JSON = "InvalidJson"
    UNKNOWN_NAME = "UnknownName"
    SCHEMA_MISMATCH = "SchemaMismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """Why no tool can be run by a call."""

    kind: Kind
    why: str  # which path, which value; one line, shortened


def wrong(call: Call, tools: Tools | None) -> Wrong | None:
    """None: the call is as declared. ConfigError names a tool whose declaration is at fault."""
    declared = parameters(tools)
    if call.name not in declared:
        among = ", ".join(declared) or "no tool"
        return Wrong(kind=Kind.UNKNOWN_NAME, why=_short(f"{call.name!r}; declared is {among}"))
    judge = _compiled(declared[call.name])
    if isinstance(judge, str):
        raise ConfigError(f"tool {call.name!r}: its parameters are no schema: {judge}")
    try:
        value = parsed(call.arguments)
    except ValueError as error:
        return Wrong(kind=Kind.INVALID_JSON, why=_short(f"{error}: {call.arguments!r}"))
    except RecursionError:
        return Wrong(kind=Kind.SCHEMA_MISMATCH, why=TOO_DEEP)
    why = _mismatch(judge, value)
    return None if why is None else Wrong(kind=Kind.SCHEMA_MISMATCH, why=_short(why))


def mismatch(schema: object, value: object) -> str | None:
    """Why a value is not one of a schema; None: it is. ConfigError where `schema` is no schema."""
    judge = _compiled(schema)
    if isinstance(judge, str):
        raise ConfigError(f"it is no schema: {judge}")
    why = _mismatch(judge, value)
    return None if why is None else _short(why)


def parameters(tools: Tools | None) -> dict[str, Any]:
    """Each tool's schema by its name: the first where two have one name, and `{}`, which any object
    meets, where there is none. ConfigError: something is no tool."""
    declared: dict[str, Any] = {}
    for at, tool in enumerate(tools or ()):
        if not isinstance(tool, Mapping):
            raise ConfigError(f"tools[{at}] is {tool!r}; it must be a table")
        function = cast("Mapping[str, Any]", tool).get("function")
        if not isinstance(function, Mapping):
            raise ConfigError(f"tools[{at}]: function is {function!r}; it must be a table")
        table = cast("Mapping[str, Any]", function)
        name, schema = table.get("name"), table.get("parameters")
        if not isinstance(name, str):
            raise ConfigError(f"tools[{at}]: its function's name is {name!r}; it must be a string")
        declared.setdefault(name, {} if schema is None else schema)
    return declared


def schema_error(schema: object) -> str | None:
    """Why no arguments can be held against the schema; None: they can."""
    judge = _compiled(schema)
    return judge if isinstance(judge, str) else None


def _multiple_of(validator: Any, step: Any, value: Any, _: Any) -> Generator[ValidationError]:
    """In decimals, as they are written: 19.99 is a multiple of 0.01, which no floats show."""
    if validator.is_type(value, "number") and Fraction(str(value)) % Fraction(str(step)):
        yield ValidationError(f"{value!r} is not a multiple of {step!r}")


OFFLINE: Any = Registry()  # without it, jsonschema fetches what a `$ref` names
ARGUMENTS: Any = extend(Draft202012Validator, {"multipleOf": _multiple_of})
SCHEMA: Any = Draft202012Validator(
    Draft202012Validator.META_SCHEMA, format_checker=FormatChecker(["regex"]), registry=OFFLINE
)


def _mismatch(judge: Any, value: object) -> str | None:
    if not isinstance(value, dict):
        return f"$: {value!r} is no object"
    try:
        return _first(judge.iter_errors(cast("dict[str, Any]", value)))
    except RecursionError:
        return TOO_DEEP


def _check(schema: object) -> str | None:
    """What is wrong with the schema alone; that an `$id` has a fragment is borne."""
    return _first(
        each
        for each in SCHEMA.iter_errors(schema)
        if each.validator != "pattern" or each.absolute_path[-1] != "$id"
    )


def _first(faults: Iterable[Any]) -> str | None:
    """The outermost; jsonschema's own order is another in every process."""
    told = min(((len(one.absolute_path), one.json_path, one.message) for one in faults), default=())
    return f"{told[1]}: {told[2]}" if told else None


def _compiled(schema: object) -> Any | str:
    """What judges arguments, or why nothing can."""
    try:
        return _judge(json.dumps(schema))
    except (TypeError, ValueError) as error:
        return f"it is no JSON: {error}"
    except RecursionError:
        return TOO_DEEP


@lru_cache(SCHEMAS)
def _judge(text: str) -> Any | str:
    schema = _undated(parsed(text))
    with warnings.catch_warnings():  # that `[[` in a pattern may mean another thing one day
        warnings.simplefilter("ignore", FutureWarning)
        try:
            fault = _check(schema) or references.fault(schema, _check)
        except OverflowError as error:  # a{9999999999}
            fault = f"a pattern cannot be compiled: {error}"
    return ARGUMENTS(schema, registry=OFFLINE) if fault is None else _short(fault)


def _undated(schema: Any) -> Any:
    """A copy without `$schema`, which makes jsonschema take up another draft, in parts too."""
    if isinstance(schema, list):
        return [_undated(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    table = cast("dict[str, Any]", schema)
    kept = {key: value for key, value in table.items() if key != "$schema"}
    for key, value in kept.items():
        if key in NAMED and isinstance(value, dict):
            named = cast("dict[str, Any]", value)
            kept[key] = {name: _undated(each) for name, each in named.items()}
        elif key not in DATA:
            kept[key] = _undated(value)
    return kept


def _short(text: str) -> str:
    return excerpt(text, characters=SHOWN)
