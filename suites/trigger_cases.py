"""Requests with tools, and whether a reference called one: a user's own file, JSON line by line.

    {"id": "weather-1",                                   may be left out: the line's number
     "request": {"messages": [...], "tools": [...], ...}, a body of the chat API, kept as it stands
     "reference": {"finish_reason": "tool_calls",         null: the reference's request failed
                   "calls": [{"name": "f", "arguments": "{}"}]}}        may be left out

A line with the key `response` is read as a row of the results that K2-Vendor-Verifier writes:
`data_index` is the id, `extra_body` is part of the request, as it was when that was sent, and a
`status` of "failed" is a request that failed. A stream that was cut short stands there as "stop",
and nobody can tell any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from harness.base.errors import ConfigError
from harness.base.strict_json import parsed, require_sendable
from harness.base.strict_toml import convert
from harness.base.trigger import called

Table = Mapping[str, Any]
Tables = tuple[Table, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCall:
    """One call of the reference, its arguments as it wrote them."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerCase:
    """One request, and what the reference did."""

    id: str
    request: Table
    finish_reason: str | None  # None: its request failed
    calls: tuple[ReferenceCall, ...] | None  # None: not laid down

    @property
    def called(self) -> bool | None:
        return called(self.finish_reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    finish_reason: str | None
    calls: tuple[ReferenceCall, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    request: Table
    reference: _Reference
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What is read of a row of K2-Vendor-Verifier; its other keys decide nothing here."""

    data_index: int
    request: Table
    response: Any
    status: str
    finish_reason: str | None
    extra_body: Table | None = None


def load(path: Path) -> tuple[TriggerCase, ...]:
    """All cases in the order of the file; ConfigError names file, line and key."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    cases: dict[str, TriggerCase] = {}
    for number, line in enumerate(lines, 1):
        where = f"{path}: line {number}"
        case = _case(line, where, number)
        if case.id in cases:
            raise ConfigError(f"{where}: the id {case.id!r} occurs twice")
        cases[case.id] = case
    if not cases:
        raise ConfigError(f"{path}: holds no case")
    return tuple(cases.values())


def fingerprint(path: Path) -> str:
    """sha256 of the file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _case(line: bytes, where: str, number: int) -> TriggerCase:
    try:
        table = parsed(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise ConfigError(f"{where}: is not JSON: {error}") from error
    if isinstance(table, dict) and "response" in table:
        case = _of_result(cast("dict[str, Any]", table), where)
    else:
        case = _of_line(convert(_Line, table, where), number)
    if not _is_name(case.id):
        raise ConfigError(f"{where}: id is {case.id!r}; it must be a printable name")
    if case.finish_reason is not None and not _is_name(case.finish_reason):
        reason = case.finish_reason
        raise ConfigError(f"{where}: finish_reason is {reason!r}; it must be a reason, or null")
    _check(case.request, f"{where}: request")
    return case


def _is_name(text: str) -> bool:
    return bool(text) and text.isprintable()


def _of_line(line: _Line, number: int) -> TriggerCase:
    return TriggerCase(
        id=str(number) if line.id is None else line.id,
        request=line.request,
        finish_reason=line.reference.finish_reason,
        calls=line.reference.calls,
    )


def _of_result(table: Table, where: str) -> TriggerCase:
    known = {field.name for field in fields(_Result)}
    row = convert(_Result, {key: table[key] for key in table if key in known}, where)
    if row.status not in ("success", "failed"):
        raise ConfigError(f"{where}: status is {row.status!r}; it must be success or failed")
    whole = row.status == "success" and row.finish_reason is not None
    return TriggerCase(
        id=str(row.data_index),
        request={**row.request, **(row.extra_body or {})},
        finish_reason=row.finish_reason if whole else None,
        calls=_calls(row.response, f"{where}: response") if whole else None,
    )


def _calls(response: object, where: str) -> tuple[ReferenceCall, ...]:
    """Those of a response of the chat API, of which only what is needed is looked at."""
    message = convert(Table, _in(where, response, "choices", 0, "message"), f"{where}: message")
    calls = convert(Tables, message.get("tool_calls") or [], f"{where}: tool_calls")
    return tuple(
        convert(
            ReferenceCall,
            {key: _in(where, call, "function", key) for key in ("name", "arguments")},
            where,
        )
        for call in calls
    )


def _in(where: str, value: Any, *keys: str | int) -> Any:
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            raise ConfigError(f"{where}: has no {key!r}") from error
    return value


def _check(request: Table, where: str) -> None:
    """A chat, and tools where there are any; the rest is the engine's to judge, and reaches it."""
    messages = convert(Tables, request.get("messages"), f"{where}: messages")
    if not messages:
        raise ConfigError(f"{where}: messages is empty")
    _check_tools(request, where)
    for at, message in enumerate(messages):
        _check_tools(message, f"{where}: messages[{at}]")
    require_sendable(request, where)


def _check_tools(table: Table, where: str) -> None:
    """A message may declare some too."""
    if table.get("tools") is not None:
        convert(Tables, table["tools"], f"{where}: tools")
