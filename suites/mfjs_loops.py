"""What the `$ref`s of an MFJS schema make of it: how deep it is, and whether a value ever ends.

The vendor's rule for the end of a value, as its examples show it: an object that requires something
ends if one of the required properties does, an array if its items do, whatever minItems says. By
itself that rule would let an object require itself beside a string, which no finite value meets, so
the plain rule is held too: all that is required must end, and an array may be empty.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from suites.mfjs_parts import Part, Parts, Path, at, children, types
from suites.mfjs_refs import target

Rule = Callable[[Part, Container[Path]], bool]


def depths(parts: Parts) -> dict[Path, int]:
    """How many properties stand in each other below each subschema, what $refs lead to included.

    A $ref back to where one comes from adds nothing: a loop is not gone through twice.
    """
    known: dict[Path, int] = {}
    begun: set[Path] = set()
    waiting = list(parts)[::-1]
    while waiting:
        path = waiting[-1]
        steps = _steps(parts[path])
        if path in known:
            waiting.pop()
        elif path in begun:
            known[path] = max((known[p] + step for p, step in steps if p in known), default=0)
        else:
            begun.add(path)
            waiting += [p for p, _ in reversed(steps) if p not in begun]
    return known


def _steps(part: Part) -> list[tuple[Path, int]]:
    """The subschemas of a value of this one, and of its parts; 1 where that is a property."""
    if "$ref" in part.keys:
        return [(target(part), 0)]
    length = len(part.path)
    below = [child.path for child in children(part) if child.path[length] != "$defs"]
    return [(path, int(path[length] == "properties")) for path in below]


def problems(parts: Parts) -> Iterator[str]:
    yield from _standing_still(parts)
    for rule, needed in RULES.items():
        ended = _ended(parts, rule)
        if () not in ended:
            where = at(_last_before_again(parts, ended))
            yield f"{where}: it leads back to itself, so that no value would end; {needed}"


def _standing_still(parts: Parts) -> Iterator[str]:
    """$refs and anyOf that lead back without a step into the value: no validator gets past them."""
    same = {path: _same_value(part) for path, part in parts.items()}
    try:
        TopologicalSorter(same).prepare()
    except CycleError as error:
        (path, *_) = error.args[1]
        yield f"{at(path)}: it leads back to itself; a property or an item must lie between"


def _same_value(part: Part) -> list[Path]:
    return [path for path, _ in _steps(part)] if {"$ref", "anyOf"} & set(part.keys) else []


def _ended(parts: Parts, rule: Rule) -> set[Path]:
    """The subschemas whose values end: first those that end by themselves, then what holds them."""
    above: dict[Path, list[Path]] = {}
    for part in parts.values():
        for path, _ in _steps(part):
            above.setdefault(path, []).append(part.path)
    ended: set[Path] = set()
    waiting = list(parts)
    while waiting:
        path = waiting.pop()
        if path not in ended and rule(parts[path], ended):
            ended.add(path)
            waiting += above.get(path, [])
    return ended


def _last_before_again(parts: Parts, ended: Container[Path]) -> Path:
    """Where the way from the root, by what does not end, comes to a subschema once more."""
    way: list[Path] = []
    path: Path = ()
    while path not in way:
        way.append(path)
        part = parts[path]
        every = (below for below, _ in _steps(part))
        needed = _required(part) if types(part) == ["object"] else every
        path = next(below for below in needed if below not in ended)
    return way[-1]


def _finite(part: Part, ended: Container[Path]) -> bool:
    if types(part) == ["object"]:
        return all(path in ended for path in _required(part))
    if types(part) == ["array"]:
        return part.keys.get("minItems", 0) < 1 or _items_end(part, ended)
    return _one_way_ends(part, ended)


def _by_vendor(part: Part, ended: Container[Path]) -> bool:
    if types(part) == ["object"]:
        return not part.keys.get("required") or any(path in ended for path in _required(part))
    if types(part) == ["array"]:
        return _items_end(part, ended)
    return _one_way_ends(part, ended)


def _required(part: Part) -> Iterator[Path]:
    return ((*part.path, "properties", name) for name in part.keys.get("required", ()))


def _items_end(part: Part, ended: Container[Path]) -> bool:
    return "items" not in part.keys or (*part.path, "items") in ended


def _one_way_ends(part: Part, ended: Container[Path]) -> bool:
    ways = _same_value(part)
    return not ways or any(path in ended for path in ways)


RULES: Mapping[Rule, str] = {
    _by_vendor: "an object must require a property that does not, and an array's items must not",
    _finite: "an object must require no property that does",
}
