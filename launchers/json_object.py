"""A JSON object as it was sent: what it holds, and where, so that fields are added and all else
stays byte for byte.

Read as strictly as the strictest engine would: UTF-8, no NaN, no name twice in one object (of two
values one engine takes the first, another the last).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

BLANK = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One value of an object, and where it stands in the text."""

    value: Any
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonObject:
    """A parsed object. `opened` is the place right after its brace."""

    text: str
    opened: int
    members: Mapping[str, Member]

    def value(self, *path: str) -> Any:
        """What stands at `path`, one name or two; None where nothing or null does."""
        member = self.members.get(path[0])
        value = None if member is None else member.value
        if len(path) == 1:
            return value
        return value.get(path[1]) if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """A value that is missing: a field of the object, or of one of its tables."""

    path: tuple[str, ...]  # one name or two
    value: Any


def parse(body: bytes) -> JsonObject:
    """Raises ValueError, with the reason, for anything but one JSON object."""
    try:
        text = body.decode()
        return _object(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def filled(body: JsonObject, fills: Sequence[Fill]) -> bytes:
    """The same text with `fills` in it: null is replaced, a missing field is put first."""
    edits: list[tuple[int, int, str]] = []  # from, to, what stands there instead
    first: list[str] = []
    for fill in fills:
        name, *inner = fill.path
        member = body.members.get(name)
        if member is not None and inner and member.value is not None:
            place = member.start + 1  # the table's brace
            edits.append((place, place, _named({inner[0]: fill.value}, member.value)))
            continue
        value = {inner[0]: fill.value} if inner else fill.value
        if member is not None:
            edits.append((member.start, member.end, json.dumps(value)))
        else:
            first.append(json.dumps({name: value})[1:-1])
    if first:
        comma = ", " if body.members else ""
        edits.append((body.opened, body.opened, ", ".join(first) + comma))
    text = body.text
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text.encode()


def _named(field: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    return json.dumps(field)[1:-1] + (", " if table else "")


def _object(text: str) -> JsonObject:
    place = _after_blank(text, 0)
    if text[place : place + 1] != "{":
        json.loads(text or "?")  # says what is wrong, where it is no JSON at all
        raise ValueError("it must be a JSON object")
    opened = place = place + 1
    members: dict[str, Member] = {}
    place = _after_blank(text, place)
    ended = text[place : place + 1] == "}"
    while not ended:
        if text[place : place + 1] != '"':
            raise json.JSONDecodeError("a name in double quotes must stand here", text, place)
        name, place = DECODER.raw_decode(text, place)
        place = _after_blank(text, place)
        if text[place : place + 1] != ":":
            raise json.JSONDecodeError("a colon must stand here", text, place)
        start = _after_blank(text, place + 1)
        value, end = DECODER.raw_decode(text, start)
        if name in members:
            _refuse_twice(name)
        members[name] = Member(value=value, start=start, end=end)
        place = _after_blank(text, end)
        ended = text[place : place + 1] == "}"
        if not ended and text[place : place + 1] != ",":
            raise json.JSONDecodeError("a comma or } must stand here", text, place)
        place = place if ended else _after_blank(text, place + 1)
    if _after_blank(text, place + 1) != len(text):
        raise json.JSONDecodeError("nothing may follow the object", text, place + 1)
    return JsonObject(text=text, opened=opened, members=members)


def _after_blank(text: str, place: int) -> int:
    found = BLANK.match(text, place)
    assert found is not None  # it matches the empty text too
    return found.end()


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        _refuse_twice(next(name for name in names if names.count(name) > 1))
    return table


def _refuse_twice(name: str) -> NoReturn:
    raise ValueError(f"the name {name[:80]!r} stands twice in one object")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


DECODER = json.JSONDecoder(object_pairs_hook=_without_twins, parse_constant=_refuse_constant)
