"""The subschemas of an MFJS schema, each by its path: what the checks speak of, and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHOWN = 60  # characters of a wrong value in a message

Path = tuple[str | int, ...]  # from the root: ("properties", "age"), ("anyOf", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One subschema; the root is one too."""

    path: Path
    keys: Mapping[str, Any]
    may_be_empty: bool  # {} is "anything" here


Parts = Mapping[Path, Part]


def children(part: Part) -> list[Part]:
    """The subschemas right below, in the order of the text. `part` must have been checked."""
    found: list[Part] = []
    for keyword, value in part.keys.items():
        path = (*part.path, keyword)
        if keyword in ("properties", "$defs"):
            found += [_child((*path, name), inner) for name, inner in value.items()]
        elif keyword == "anyOf":
            found += [_child((*path, index), inner) for index, inner in enumerate(value)]
        elif keyword == "items" or (keyword == "additionalProperties" and isinstance(value, dict)):
            found.append(_child(path, value, may_be_empty=keyword == "additionalProperties"))
    return found


def _child(path: Path, keys: Mapping[str, Any], *, may_be_empty: bool = False) -> Part:
    return Part(path=path, keys=keys, may_be_empty=may_be_empty)


def types(part: Part) -> list[str]:
    """The types of a checked subschema; none where it has anyOf, $ref or nothing."""
    value = part.keys.get("type", [])
    return [value] if isinstance(value, str) else value


def named(part: Part, keyword: str) -> Mapping[str, Any]:
    """The properties or $defs of a checked subschema."""
    return part.keys.get(keyword, {})


def at(path: Path) -> str:
    """The path as a JSON pointer."""
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return "at " + "".join(f"/{shown(step)}" for step in steps) if path else "at the root"


def wrong(path: Path, value: object, right: str) -> str:
    """A message: where, which value, what would be right."""
    text = json.dumps(value)
    return f"{at(path)}: it is {shown(text)}, but {right}"


def shown(text: str) -> str:
    """A text cut to what a message holds, of characters that any terminal takes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
