"""The `$ref`s of an MFJS schema: each leads to a subschema, and says nothing that is said there.

Names are taken to the letter, by the vendor's validator. A JSON pointer would decode ~0 and %20, so
a $ref in which there is something to decode is refused: it would be read in two ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

from suites.mfjs_keywords import NOTES
from suites.mfjs_parts import Part, Parts, Path, at, children, wrong

DEFS = "#/$defs/"


def target(part: Part) -> Path:
    """Where the $ref of a subschema leads; `problems` has found nothing wrong with it."""
    return tuple(part.keys["$ref"].split("/")[1:])


def problems(parts: Parts) -> Iterator[str]:
    """`parts` are all subschemas, each checked by itself."""
    for part in parts.values():
        if "$ref" in part.keys:
            yield from _leads(part, parts)
    for part in parts.values():
        yield from _said_twice(part, parts)


def _leads(part: Part, parts: Parts) -> Iterator[str]:
    path, ref = (*part.path, "$ref"), part.keys["$ref"]
    if ref != "#" and not ref.startswith(DEFS):
        yield wrong(path, ref, f"it must be # or begin with {DEFS}")
    if unquote(ref) != ref or "~0" in ref or "~1" in ref:
        yield wrong(path, ref, "it must have no escapes: names are taken to the letter")
    if target(part) not in parts:
        yield wrong(path, ref, "it must lead to a schema in $defs")


def _said_twice(part: Part, parts: Parts) -> Iterator[str]:
    """A title or description beside anyOf or $ref must not be said again right behind it."""
    for note in sorted(NOTES & set(part.keys)):
        for other in _behind(part, parts):
            if note in other.keys:
                right = f"it must not be said twice, here and {at(other.path)}"
                yield wrong((*part.path, note), part.keys[note], right)


def _behind(part: Part, parts: Parts) -> list[Part]:
    """All that a chain of $refs leads to, and the ways of an anyOf at its end, no further."""
    found: dict[Path, Part] = {}
    while "$ref" in part.keys and target(part) not in found:
        part = parts[target(part)]
        found[part.path] = part
    return [*found.values(), *(children(part) if "anyOf" in part.keys else ())]
