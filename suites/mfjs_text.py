"""The text of a schema as a JSON object, small and flat enough to be looked at."""

from __future__ import annotations

import json
from typing import Any, cast

from harness.base.strict_json import parsed

SIZE = 120_000  # bytes, without white space
LEVELS = 200  # of brackets: ours, for a vendor's reader has no limit that is written down
ESCAPED = "<>&"  # the vendor counts these as \u003c and so on


def parse(text: str) -> dict[str, Any]:
    """Raises ValueError with the reason; no other error."""
    deep = f"it is nested too deeply; at most {LEVELS} levels of brackets are allowed"
    try:
        value = parsed(text)
    except RecursionError as error:
        raise ValueError(deep) from error
    except ValueError as error:
        raise ValueError(f"it is no JSON that all readers read alike: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"a schema must be a JSON object, not {_kind(value)}")
    if _levels(cast("object", value)) > LEVELS:
        raise ValueError(deep)
    if (size := _size(cast("object", value))) > SIZE:
        raise ValueError(f"it is {size} bytes without white space; at most {SIZE} are allowed")
    return cast("dict[str, Any]", value)


def _kind(value: object) -> str:
    return "an array" if isinstance(value, list) else f"the value {json.dumps(value)[:60]}"


def _levels(value: object) -> int:
    """How deep arrays and objects stand in each other."""
    level, count = [value], 0
    while level := [each for each in level if isinstance(each, list | dict)]:
        count += 1
        level = [inner for each in level for inner in _inner(each)]
    return count


def _inner(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return cast("list[object]", value)


def _size(value: object) -> int:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    escapes = sum(text.count(character) for character in ESCAPED) * len("u003c")
    return len(text.encode("utf-8", "surrogatepass")) + escapes
