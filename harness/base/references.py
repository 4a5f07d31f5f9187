"""Where the `$ref`s of a JSON Schema lead: to a schema, or nowhere. Nothing is fetched.

A validator meets a `$ref` only when a value comes to it: what leads nowhere would be found by one
answer and not by the next, and what leads back to itself would never end. So all are followed
before any value is judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, cast

from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

KEYS = ("$ref", "$dynamicRef")
LISTS = ("allOf", "anyOf", "oneOf")  # of schemas for the value itself, not for a part of it
SINGLE = ("not", "if", "then", "else")


def fault(schema: object, check: Callable[[object], str | None]) -> str | None:
    """Why the schema cannot be followed to its end; None: it can.

    `check` says what is wrong with a schema alone. `schema` has passed it; what a `$ref` leads to
    is put to it here, for that may lie where nobody expects a schema.
    """
    root = DRAFT202012.create_resource(cast("Any", schema))
    left: list[tuple[Any, Any]] = [(schema, REGISTRY.resolver_with_root(root))]
    same: dict[int, list[int]] = {}  # a schema's id -> ids of those that judge the same value
    while left:
        part, around = left.pop()
        if not isinstance(part, dict) or id(cast("object", part)) in same:
            continue
        part = cast("dict[str, Any]", part)
        try:
            resource = DRAFT202012.create_resource(part)
            resolver = around.in_subresource(resource)
            re.compile("|".join(part.get("patternProperties", ())))  # as jsonschema does
        except (ValueError, re.error) as error:
            return f"{part.get('$id', 'patternProperties')}: {error}"
        targets = _targets(part, resolver)
        if isinstance(targets, str):
            return targets
        for target in targets:
            if id(target.contents) not in same and (why := check(target.contents)):
                return f"what a $ref leads to is no schema: {why}"
        same[id(part)] = [id(each) for each in [*_beside(part), *(one.contents for one in targets)]]
        left.extend((one.contents, one.resolver) for one in targets)
        left.extend((each.contents, resolver) for each in resource.subresources())
    return _endless(same)


def _targets(part: Mapping[str, Any], resolver: Any) -> list[Any] | str:
    """What the references of one schema lead to, or which leads nowhere."""
    found: list[Any] = []
    for key in KEYS:
        if key in part:
            try:
                found.append(resolver.lookup(part[key]))
            except (Unresolvable, LookupError, ValueError, TypeError):  # the last two: of pointers
                return f"{key} {part[key]!r} leads nowhere"
    return found


def _beside(part: Mapping[str, Any]) -> list[Any]:
    lists = [each for key in LISTS for each in part.get(key, ())]
    single = [part[key] for key in SINGLE if key in part]
    return [*lists, *single, *part.get("dependentSchemas", {}).values()]


def _endless(same: Mapping[int, Sequence[int]]) -> str | None:
    try:
        TopologicalSorter(same).prepare()
    except CycleError:
        return "it refers to itself without end"
    return None
