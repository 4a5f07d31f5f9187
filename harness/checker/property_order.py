"""Whether properties stand in the order in which a schema has them.

An engine that is held to a schema token by token writes them in that order; a model that writes
freely may not. So another order breaks nothing, but tells of how the arguments came to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

HOPS = 16  # of references and wrappers, one behind the other


def reordered(value: object, schema: object) -> str | None:
    """The first object whose declared properties stand in another order, outermost first; None: no
    such object. Where a schema leaves several ways, nothing can be said; it need not be sound."""
    left: list[tuple[str, object, object]] = [("$", value, schema)]
    while left:
        path, one, part = left.pop()
        table = _followed(part, schema)
        within: list[tuple[str, object, object]] = []
        if isinstance(one, list):
            items = enumerate(cast("list[object]", one))
            within = [(f"{path}[{at}]", each, table.get("items")) for at, each in items]
        elif isinstance(one, dict) and isinstance(table.get("properties"), Mapping):
            found, declared = cast("dict[str, object]", one), table["properties"]
            order = [name for name in found if name in declared]
            expected = [name for name in declared if name in found]
            if order != expected:
                return f"{path}: {', '.join(order)}; declared: {', '.join(expected)}"
            within = [(f"{path}.{name}", found[name], declared[name]) for name in order]
        left.extend(reversed(within))
    return None


def _followed(part: object, root: object) -> Mapping[str, Any]:
    """What a schema comes to: behind `$ref`s into its own document, and behind a choice that has
    but one branch beside null."""
    for _ in range(HOPS):
        if not isinstance(part, Mapping):
            return {}
        table = cast("Mapping[str, Any]", part)
        if "properties" in table:
            return table
        if isinstance(reference := table.get("$ref"), str):
            part = _pointed(reference, root)
        elif branches := _branches(table):
            part = branches[0] if len(branches) == 1 else None
        else:
            return table
    return {}


def _branches(table: Mapping[str, Any]) -> list[object]:
    branches: list[object] = []
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(table.get(key), list):
            branches += table[key]
    return [each for each in branches if each != {"type": "null"}]


def _pointed(reference: str, root: object) -> object:
    """What a JSON pointer in a fragment leads to through tables; None where to nothing."""
    if not reference.startswith("#"):
        return None
    for name in reference[1:].split("/")[1:]:
        if not isinstance(root, Mapping):
            return None
        root = cast("Mapping[str, object]", root).get(name.replace("~1", "/").replace("~0", "~"))
    return root
