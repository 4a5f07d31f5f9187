"""MFJS, Moonshot Flavored JSON Schema: the schemas that Kimi's API takes for tool parameters.

    text       one JSON object, no key twice; 120 000 bytes, 200 levels of brackets at most
    what       each subschema has one of type, anyOf, $ref; {} stands for anything only as the whole
               schema and in additionalProperties; true and false are no schemas
    type       one of JSON Schema's seven, or a list of them, where little else may stand beside
    beside     a type has its own few keywords; anyOf and $ref have description and title alone
    root       $id and $defs stand there alone; no "/" in a name anywhere in $defs
    $ref       # or #/$defs/NAME, and on from there by properties, items, additionalProperties
    loops      each value must be able to end; `mfjs_loops` has the vendor's rule for it
    size       properties in properties five deep, 3 000 of them, 1 000 values an enum, 500 anyOf

Learnt from github.com/MoonshotAI/walle, the vendor's own validator: its documents, its judged
examples and its answers, with the settings of its examples: the strictest, and five levels deep.

Trade-offs accepted. Where documents and examples differ, the examples hold. Where the documents ask
for more than walle checks (a type in each subschema, titles that are strings, no key twice), they
hold: what is called valid here, neither refuses. Refused too is what walle takes and nobody can
use: $refs that lead to themselves, objects that no finite value fits, an escape in a $ref.
"""

from __future__ import annotations

from collections.abc import Iterator

from suites import mfjs_keywords, mfjs_loops, mfjs_refs, mfjs_text
from suites.mfjs_parts import Part, Parts, Path, at, children, named

PROPERTIES, DEPTH = 3000, 5


def problem(schema_text: str) -> str | None:
    """What is wrong with a schema, where, and what would be right; None: it is valid."""
    return next(_problems(schema_text), None)


def _problems(schema_text: str) -> Iterator[str]:
    """The first one counts: what is checked later stands on what was checked before."""
    try:
        root = mfjs_text.parse(schema_text)
    except ValueError as error:
        yield str(error)
        return
    parts: dict[Path, Part] = {}
    waiting = [Part(path=(), keys=root, may_be_empty=True)]
    while waiting:
        part = waiting.pop()
        yield from mfjs_keywords.problems(part)
        parts[part.path] = part
        waiting.extend(reversed(children(part)))
    yield from mfjs_refs.problems(parts)
    yield from _sizes(parts)
    yield from mfjs_loops.problems(parts)


def _sizes(parts: Parts) -> Iterator[str]:
    count = sum(len(named(part, "properties")) for part in parts.values())
    if count > PROPERTIES:
        yield f"{at(())}: it has {count} properties in all; at most {PROPERTIES} are allowed"
    depths = mfjs_loops.depths(parts)
    deepest = max(depths, key=lambda path: depths[path])
    if depths[deepest] > DEPTH:
        deep = f"properties stand {depths[deepest]} levels deep"
        yield f"{at(deepest)}: {deep}; at most {DEPTH} are allowed"
