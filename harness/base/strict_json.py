"""JSON read strictly: no key twice, no NaN, nothing behind it, no number that is lost on a double.

Python's own reader lets all of these pass but the third. What it reads, the writer of requests may
still refuse: half a surrogate pair, an integer of more than 64 bits, some 250 levels.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from harness.base.errors import ConfigError


def parsed(text: str) -> Any:
    """ValueError says what is wrong; RecursionError: it is nested more deeply than Python goes,
    some hundred levels, by how deep the caller stands."""
    return json.loads(
        text,
        object_pairs_hook=_unique,
        parse_constant=_no_number,
        parse_float=_double,
        parse_int=_integer,
    )


def require_sendable(body: object, where: str) -> None:
    """Raises ConfigError where a request's body cannot be written."""
    try:
        orjson.dumps([body])  # a plan makes its id of a list with the body in it
    except TypeError as error:
        raise ConfigError(f"{where}: cannot be sent as JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"the key {name!r} stands twice")
        table[name] = value
    return table


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _double(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError("a number is beyond what a double holds")
    return value


def _integer(text: str) -> int:
    _double(text)  # then it has some 300 digits at most: Python reads no more than 4300
    return int(text)
