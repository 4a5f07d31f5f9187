"""What was found of a cluster's servers, and what of it is not as it must be: pure.

error      a server that did not answer, or answered with an error; one that has left the cluster
of a node  its disk, clock, ports, environment, model, hardware
between    other code, other versions, another pin than on most; one label on two; not reached
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness import doctor
from harness.doctor import Diagnosis
from harness.nodes import survey
from harness.nodes.checkup import Checkup, Place
from harness.nodes.survey import Problem, Survey

DIGITS = 12  # of a hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One server. What is None it did not say, and `error` why."""

    place: Place
    checkup: Checkup | None
    clock_ahead_s: float | None  # of this machine
    diagnoses: tuple[Diagnosis, ...] | None  # of each pin without recipe and flags, or of the node
    error: Problem | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """All of it."""

    pins: tuple[Diagnosis, ...]  # what is the same on every server: recipe and flags
    rows: tuple[Row, ...]


def exit_code(found: Examination) -> int:
    """2 where a pin or a server is wrong, else 4 where a server is not ready, else 0."""
    severities = {line.severity for one in found.pins for line in one.lines}
    severities |= {problem.severity for problem in problems(found)}
    return next((code for severity, code in doctor.EXIT_CODES.items() if severity in severities), 0)


def to_table(found: Examination) -> dict[str, Any]:
    """For JSON."""
    return {
        "schema": 1,
        "exit_code": exit_code(found),
        "pins": [asdict(one) for one in found.pins],
        "nodes": [asdict(row) for row in found.rows],
        "problems": [asdict(problem) for problem in problems(found)],
    }


def problems(found: Examination) -> list[Problem]:
    """Of every node, and between them."""
    rows = found.rows
    return [
        *(row.error for row in rows if row.error is not None),
        *survey.problems(_surveys(rows), most_gb=0.0),
        *_versions_apart(rows),
        *_labels(rows),
        *_ports(rows),
        *_unreached(rows),
        *_diagnosed(found),
        *_pins_apart(found),
    ]


def _surveys(rows: Sequence[Row]) -> list[Survey]:
    """The first is what most are, for the others are held against it."""
    surveys = [
        Survey(
            node=row.place.name,
            facts=row.checkup.facts,
            engines=(),
            clock_ahead_s=row.clock_ahead_s or 0.0,
        )
        for row in rows
        if row.checkup is not None
    ]
    most = _most([one.facts.source for one in surveys])
    return sorted(surveys, key=lambda one: one.facts.source != most)


def _versions_apart(rows: Sequence[Row]) -> Iterator[Problem]:
    """Of what a server runs with."""
    seen = [(row.place.name, row.checkup) for row in rows if row.checkup is not None]
    for what, versions in (
        ("Ray", [one.ray for _, one in seen]),
        ("Python", [one.facts.python for _, one in seen]),
    ):
        most = _most(versions)
        for (node, _), version in zip(seen, versions, strict=True):
            if version != most:
                said = f"{what} is {version}, and {most} on most nodes"
                yield Problem(node=node, severity="warning", what=said)


def _labels(rows: Sequence[Row]) -> Iterator[Problem]:
    """A run that names one would be given any of its servers."""
    alive = [row.place for row in rows if row.place.alive and row.place.label]
    count = Counter(place.label for place in alive)
    for place in alive:
        if count[place.label] > 1:
            said = f"{count[place.label]} servers have the label {place.label}; give each its own"
            yield Problem(node=place.name, severity="wrong", what=said)


def _ports(rows: Sequence[Row]) -> Iterator[Problem]:
    for row in rows:
        for address, why in row.checkup.taken.items() if row.checkup is not None else ():
            said = f"{address} cannot be listened on, as the first node of an engine must: {why}"
            yield Problem(node=row.place.name, severity="blocking", what=said)


def _unreached(rows: Sequence[Row]) -> Iterator[Problem]:
    """A server that none of several reaches is the one that is wrong."""
    seen = {row.place.name: row.checkup.unreached for row in rows if row.checkup is not None}
    for row in rows:
        name, at = row.place.name, f"{row.place.address}:{row.place.port}"
        failed = {node: unreached[name] for node, unreached in seen.items() if name in unreached}
        if len(failed) > 1 and len(failed) == len(seen.keys() - {name}):
            said = f"no other node reaches Ray at {at}: {_most(list(failed.values()))}"
            yield Problem(node=name, severity="blocking", what=said)
            continue
        for node, why in failed.items():
            said = f"does not reach Ray on {name}, at {at}: {why}"
            yield Problem(node=node, severity="blocking", what=said)


def _diagnosed(found: Examination) -> Iterator[Problem]:
    for row in found.rows:
        for diagnosis in row.diagnoses or ():
            title = f"{diagnosis.title}: " if len(found.pins) > 1 else ""
            for line in diagnosis.lines:
                if line.severity != "good":
                    said = f"{title}{line.what}"
                    yield Problem(node=row.place.name, severity=line.severity, what=said)


def _pins_apart(found: Examination) -> Iterator[Problem]:
    """What a node says of a pin whose model it has not is no hash that could be compared."""
    for n in range(len(found.pins)):
        known = [(row.place.name, one) for row in found.rows if (one := whole(row, n)) is not None]
        most = _most([one.pin_hash for _, one in known])
        for node, one in known:
            if one.pin_hash != most:
                where, same = next(pair for pair in known if pair[1].pin_hash == most)
                yield Problem(node=node, severity="wrong", what=_apart(one, where, same))


def whole(row: Row, n: int) -> Diagnosis | None:
    """Of the `n`-th pin, where its model is there and as pinned."""
    if row.diagnoses is None:
        return None
    bad = ("blocking", "wrong")
    models = [line.severity for line in row.diagnoses[n].lines if line.area == "model"]
    return None if any(one in bad for one in models) else row.diagnoses[n]


def _apart(one: Diagnosis, where: str, same: Diagnosis) -> str:
    hashes = f"{(one.pin_hash or '')[:DIGITS]}, and {(same.pin_hash or '')[:DIGITS]} on {where}"
    own, there = one.model_files or {}, same.model_files or {}
    files = sorted(name for name in {*own, *there} if own.get(name) != there.get(name))
    why = f"{files[0]} of its model differs" if files else "its TOML differs"
    return f"{one.title} is pin {hashes}: {why}"


def _most(values: Sequence[Any]) -> Any:
    """The most frequent; of several, the first. None: there is none."""
    return next((value for value, _ in Counter(values).most_common(1)), None)
