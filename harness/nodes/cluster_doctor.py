"""Every server of a Ray cluster looked at, all at once: what each is, and what stands in the way.

A server may take as long as it needs, a model of 600 GB is hashed there, as long as it answers
what its clock shows. One that does not for a minute is a row that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol

from harness import doctor
from harness.base.errors import EnginediffError
from harness.doctor import Diagnosis, Line
from harness.nodes import checkup
from harness.nodes.checkup import Checkup, Place, Question
from harness.nodes.cluster_findings import Examination, Row
from harness.nodes.survey import Problem, Severity
from hw_profiles import node as profiles

HEARD_S = 30.0  # in which a server is to answer, or at least to say what its clock shows
Announce = Callable[[str], None]


class Server(Protocol):
    """One that can be asked: `remote.Remote`. Thread-safe."""

    name: str

    def checkup(self, question: Question) -> Checkup: ...

    def ahead_s(self) -> float: ...

    def diagnose(
        self, names: Sequence[str], changes: Sequence[str], profile: str | None
    ) -> list[Diagnosis]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The same of every server."""

    names: tuple[str, ...]  # pins
    changes: tuple[str, ...]
    profile: str | None
    ports: tuple[int, ...]  # of `Question`


def examine(
    names: Sequence[str], changes: Sequence[str], profile: str | None, announce: Announce
) -> Examination:
    """The cluster that this machine is in. Raises ConfigError for what can be read here already."""
    asked = _asked(names, changes, profile)
    from harness.nodes import cluster, raylets  # Ray is an extra, and takes a second
    from harness.nodes.remote import Remote

    stop = Event()
    with cluster.opened(None, stop.is_set), ThreadPoolExecutor(1) as pool:
        recipes = pool.submit(_recipes, asked, announce)
        places = raylets.places()
        servers = [Remote(place.name, stop.is_set) for place in places if place.alive]
        rows = gathered(servers, places, asked, stop, announce)
        return Examination(pins=recipes.result(), rows=tuple(rows))


def _asked(names: Sequence[str], changes: Sequence[str], profile: str | None) -> Asked:
    """Paths are absolute in it, for servers' processes are elsewhere."""
    named = [_absolute(name) for name in names]
    own = None if profile is None else _absolute(profile)
    if own is not None:
        profiles.load(own)
    loaded = doctor.named(named, changes, own)
    ports = sorted({port for one in loaded for port in checkup.head_ports(one)})
    return Asked(names=tuple(named), changes=tuple(changes), profile=own, ports=tuple(ports))


def _absolute(name: str) -> str:
    return str(Path(name).absolute()) if name.endswith(".toml") else name


def _recipes(asked: Asked, announce: Announce) -> tuple[Diagnosis, ...]:
    """Their flags are read once: what says so is of the pin, and its parser can take GBs."""
    try:
        return tuple(doctor.of_recipes(asked.names, asked.changes, asked.profile, announce))
    except EnginediffError as error:  # the servers are looked at all the same
        line = Line(area="flags", severity=_severity(error), what=str(error))
        return tuple(
            Diagnosis(title=one.title, pin_hash=one.hash, lines=(line,), model_files=None)
            for one in doctor.named(asked.names, asked.changes, asked.profile)
        )


def gathered(
    servers: Sequence[Server],
    places: Sequence[Place],
    asked: Asked,
    stop: Event,
    announce: Announce,
    heard_s: float = HEARD_S,
) -> list[Row]:
    """A row for each place. Sets `stop`, by which servers know that nobody waits any more."""
    alive = {place.name: place for place in places if place.alive}
    found = {place.name: _dead(place) for place in places if not place.alive}
    announce(f"looking at {', '.join(alive)}")
    with ThreadPoolExecutor(2 * len(servers)) as pool:
        waiting = {
            pool.submit(_row, server, alive[server.name], alive, asked): server
            for server in servers
        }
        try:
            while waiting:
                done, late = wait(waiting, heard_s)
                for one in done:
                    row = one.result()
                    found[row.place.name] = row
                if late:
                    announce(f"waiting for {', '.join(waiting[one].name for one in late)}")
                heard = _heard([waiting[one] for one in late], pool, heard_s)
                for one in late:
                    if waiting[one].name not in heard and not one.done():
                        found[waiting[one].name] = _silent(alive[waiting[one].name], 2 * heard_s)
                waiting = {one: waiting[one] for one in late if waiting[one].name not in found}
        finally:
            stop.set()
    return [found[place.name] for place in places]


def _heard(servers: Sequence[Server], pool: ThreadPoolExecutor, within_s: float) -> set[str]:
    """Those that say what their clock shows."""
    asked: dict[Future[float], Server] = {pool.submit(one.ahead_s): one for one in servers}
    done, _late = wait(asked, within_s)
    return {asked[one].name for one in done if one.exception() is None}


def _row(server: Server, place: Place, alive: Mapping[str, Place], asked: Asked) -> Row:
    others = tuple(other for other in alive.values() if other.name != place.name)
    question = Question(address=place.address, ports=asked.ports, others=others)
    seen = ahead_s = diagnoses = error = None
    try:
        seen = server.checkup(question)
        ahead_s = server.ahead_s()
        diagnoses = tuple(server.diagnose(asked.names, asked.changes, asked.profile))
    except EnginediffError as refused:
        what = str(refused).removeprefix(f"{place.name}: ")
        error = Problem(node=place.name, severity=_severity(refused), what=what)
    except RuntimeError as broken:  # ours, of another version there
        why = str(broken).splitlines()[-1]
        what = f"cannot be asked; is another enginediff installed there? {why}"
        error = Problem(node=place.name, severity="wrong", what=what)
    return Row(place=place, checkup=seen, clock_ahead_s=ahead_s, diagnoses=diagnoses, error=error)


def _dead(place: Place) -> Row:
    what = f"has been in the cluster, at {place.address}, and is no more"
    return _unheard(place, Problem(node=place.name, severity="warning", what=what))


def _silent(place: Place, waited_s: float) -> Row:
    what = (
        f"no answer within {waited_s:g} s; see the logs of Ray there, /tmp/ray/session_latest/logs"
    )
    return _unheard(place, Problem(node=place.name, severity="blocking", what=what))


def _unheard(place: Place, error: Problem) -> Row:
    return Row(place=place, checkup=None, clock_ahead_s=None, diagnoses=None, error=error)


def _severity(error: EnginediffError) -> Severity:
    return "wrong" if error.exit_code == 2 else "blocking"
