"""What a node is and has, as far as a run depends on it, and what of it is not as elsewhere.

A node is surveyed before anything is started: its engines' files are hashed and their environments
built on the way. All else here is pure.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import harness
import hw_profiles
import launchers
import suites
from harness import candidate
from harness.base.errors import ConfigError, EnginediffError, LaunchError
from harness.base.home import home
from harness.nodes import prepared
from harness.nodes.prepared import Prepared
from harness.runs.plan import Cases
from harness.runs.spec import RunSpec, flat
from hw_profiles import nvml, system
from hw_profiles.reading import Unknown
from launchers import environments

SOURCE = (".py", ".toml", ".txt", ".json", ".jsonl")
CLOCK_S = 1.0  # apart, from which on it is said: times of two nodes are compared by readers
LEAST_GB = 1.0  # free, below which nothing is begun
TOKEN_BYTES = 60.0  # of a journal, a token, roughly
Announce = Callable[[str], None]
Severity = Literal["wrong", "blocking", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of a node itself."""

    enginediff: str
    source: str  # sha256 over our own code and data
    python: str
    home: str
    free_gb: float  # where journals and environments are
    cpu: str
    gpus: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineThere:
    """An engine of a spec on a node."""

    name: str
    prepared: Prepared | None  # None: `error`
    error: EnginediffError | None = None
    identity: Mapping[str, Any] | None = None  # of the server at a URL, where one answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One node."""

    node: str
    facts: Facts
    engines: tuple[EngineThere, ...]
    clock_ahead_s: float = 0.0  # of whoever asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """`wrong`: the nodes, or a pin, are not what they must be; `blocking`: a node cannot do it."""

    node: str
    severity: Severity
    what: str


def facts() -> Facts:
    """Of this machine, in a second. Raises LaunchError where nothing can be written."""
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            room = os.statvfs(folder)
    except OSError as error:
        raise LaunchError(f"{folder}: cannot be written: {error.strerror}") from error
    read = system.read()
    return Facts(
        enginediff=version("enginediff"),
        source=source(),
        python=platform.python_version(),
        home=str(folder),
        free_gb=room.f_bavail * room.f_frsize / 1e9,
        cpu="unknown" if isinstance(read.cpu, Unknown) else f"{read.threads} x {read.cpu}",
        gpus=_gpus(),
    )


@cache
def source() -> str:
    """Equal where the same code runs."""
    digest = hashlib.sha256()
    for package in (harness, hw_profiles, launchers, suites):
        root = Path(package.__path__[0])
        for path in sorted(path for path in root.rglob("*") if path.suffix in SOURCE):
            digest.update(f"{path.relative_to(root.parent)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def engines(spec: RunSpec, cases: Cases, announce: Announce) -> tuple[EngineThere, ...]:
    """Those of a spec on this machine: models verified, environments built. Takes minutes."""
    return tuple(_engine(spec, cases, n, announce) for n in range(len(spec.engines)))


def _engine(spec: RunSpec, cases: Cases, n: int, announce: Announce) -> EngineThere:
    name = spec.engines[n].name
    try:
        found = prepared.engine(spec, cases, n, announce)
        if found.loaded is not None:
            environments.build(found.loaded.pin.engine.environment, announce=announce)
    except EnginediffError as error:
        return EngineThere(name=name, prepared=None, error=error)
    identity = _identity(name, announce) if found.loaded is None else None
    return EngineThere(name=name, prepared=found, identity=identity)


def _identity(url: str, announce: Announce) -> Mapping[str, Any] | None:
    """None: nobody answers there, which is no fault of a run that is done."""
    try:
        with candidate.opened(url, None, log=Path(os.devnull), announce=announce) as opened:
            return opened.identity
    except EnginediffError:
        return None


def needed_gb(spec: RunSpec, requests: int, nodes: int) -> float:
    """Of a node's disk, if every answer is as long as it may be."""
    tokens = requests * len(spec.engines) * spec.sampling.max_tokens
    return tokens * TOKEN_BYTES / nodes / 1e9


def problems(surveys: Sequence[Survey], most_gb: float) -> list[Problem]:
    """What is to be refused or said, node by node. `most_gb`: of disk, in the worst case."""
    found = [problem for one in surveys for problem in _own(one, most_gb)]
    for one in surveys[1:]:
        found += _apart(surveys[0], one)
    return found


def require_agreed(surveys: Sequence[Survey], most_gb: float, announce: Announce) -> None:
    """Tells warnings. Raises ConfigError where a node is not what it must be, else LaunchError."""
    found = problems(surveys, most_gb)
    for problem in found:
        if problem.severity == "warning":
            announce(f"{problem.node}: {problem.what}")
    for severity, error in (("wrong", ConfigError), ("blocking", LaunchError)):
        wrong = [one for one in found if one.severity == severity]
        if wrong:
            lines = "\n".join(f"  {one.node}: {one.what}" for one in wrong)
            raise error(f"not every node can take part, and nothing was begun:\n{lines}")


def _own(one: Survey, most_gb: float) -> Iterator[Problem]:
    for engine in one.engines:
        if engine.error is not None:
            severity: Severity = "wrong" if engine.error.exit_code == 2 else "blocking"
            what = str(engine.error)
            if not what.startswith(engine.name):
                what = f"{engine.name}: {what}"
            yield Problem(node=one.node, severity=severity, what=what)
    free, folder = one.facts.free_gb, one.facts.home
    if free < LEAST_GB:
        what = f"{folder}: {free:.2f} GB are free; at least {LEAST_GB:g} must be"
        yield Problem(node=one.node, severity="blocking", what=what)
    elif free < most_gb:
        what = f"{folder}: {free:.0f} GB are free; answers as long as can be take {most_gb:.0f}"
        yield Problem(node=one.node, severity="warning", what=what)
    if abs(one.clock_ahead_s) > CLOCK_S:
        ahead = "ahead of" if one.clock_ahead_s > 0 else "behind"
        what = f"its clock is {abs(one.clock_ahead_s):.1f} s {ahead} this machine's; set it by NTP"
        yield Problem(node=one.node, severity="warning", what=what)


def _apart(first: Survey, other: Survey) -> Iterator[Problem]:
    if (first.facts.enginediff, first.facts.source) != (
        other.facts.enginediff,
        other.facts.source,
    ):
        own, there = (
            f"{one.enginediff} (source {one.source[:12]})" for one in (other.facts, first.facts)
        )
        what = f"enginediff is {own}, and {there} on {first.node}; install the same on both"
        yield Problem(node=other.node, severity="wrong", what=what)
    for one, same in zip(other.engines, first.engines, strict=True):
        yield from _pins_apart(first.node, same, other.node, one)
        if one.identity and same.identity and one.identity != same.identity:
            shown = f"is {dict(one.identity)}, and {dict(same.identity)} on {first.node}"
            what = f"{one.name} {shown}; name an address that is the same server on every node"
            yield Problem(node=other.node, severity="wrong", what=what)


def _pins_apart(first: str, same: EngineThere, node: str, one: EngineThere) -> Iterator[Problem]:
    if one.prepared is None or same.prepared is None or one.prepared.hash == same.prepared.hash:
        return
    own, there = _content(one.prepared), _content(same.prepared)
    changed = [key for key in {**own, **there} if own.get(key) != there.get(key)]
    shown = "; ".join(
        f"{key} is {own.get(key)!r}, and {there.get(key)!r} on {first}" for key in changed[:3]
    )
    what = f"{one.name} is another pin than on {first}: {shown}"
    yield Problem(node=node, severity="wrong", what=what)


def _content(one: Prepared) -> Mapping[str, Any]:
    return {} if one.loaded is None else dict(flat(asdict(one.loaded.pin), ""))


def _gpus() -> str:
    driver = nvml.read()
    if isinstance(driver, Unknown):
        return "none"
    return _counted(
        "unknown" if isinstance(gpu, Unknown) or isinstance(gpu.name, Unknown) else gpu.name
        for gpu in driver.gpus
    )


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in Counter(names).items()) or "none"


def clock() -> float:
    """Seconds since the epoch, by this machine."""
    return time.time()
