"""What a run is to do: one strict TOML file. Its hash names the run.

What decides a record is part of the hash, and what only decides how it is come by (`limits`) too:
a run that goes on under other limits would be another one to whoever reads its failures.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.address import address
from harness.base import strict_toml
from harness.base.errors import ConfigError

SCHEMA = 1
TRANSPORTS = ("aiohttp", "openai")
LOCAL = "local"  # this machine
NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NO_NODES = ("ledger",)  # a file beside those that nodes are the names of


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTable:
    """A suite that is asked."""

    name: str
    cases: int | None = None  # its first ones; None: all
    continues: bool = True  # a raw answer that was cut is gone on with; false: it is begun anew
    contract: str | None = None  # whose: of launchers/contracts; for suites of what is owed
    file: str | None = None  # of cases, for suites that are made of one


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTable:
    """An engine that is asked: a pin, which is launched, or the URL of a running server."""

    name: str
    changes: tuple[str, ...] = ()  # of the pin, as `--set` takes them
    contract: str | None = None  # a URL's, of launchers/contracts; a pin names its own
    enforce: bool = False  # a pin's engine is asked behind the gateway that holds its contract


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeTable:
    """How an answer is sampled."""

    temperature: float
    top_p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingTable:
    """What every request sends."""

    max_tokens: int
    seeded: bool  # a seed with each request, of the run's own and the case's
    thinking: ModeTable  # of tasks that are to be thought about, or do not say
    instant: ModeTable


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsTable:
    """How hard it is tried."""

    in_flight: int  # requests of one engine at a time, at most
    attempts: int  # of one request, the first one counted
    retries: int  # of one engine on one node: a bad one takes none of another's
    idle_s: float  # without a byte of an answer
    total_s: float  # for one whole answer
    restarts: int  # of one engine on one node, each time that it is begun there


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One file."""

    schema: int
    seed: int  # of the order of asking, and of seeds that are sent
    epochs: int  # how often every case is asked
    transport: str
    nodes: tuple[str, ...]
    suites: tuple[SuiteTable, ...]
    engines: tuple[EngineTable, ...]
    sampling: SamplingTable
    limits: LimitsTable
    override_reason: str | None = None  # why the model's sampling contract is not kept

    @property
    def hash(self) -> str:
        """sha256 over everything."""
        canonical = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()


def load(path: Path) -> RunSpec:
    """Raises ConfigError, naming the file and the key."""
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; it must be a file, such as {path / 'run.toml'}")
    spec = strict_toml.convert(RunSpec, strict_toml.load(path), str(path))
    for wrong in _wrong(spec):
        raise ConfigError(f"{path}: {wrong}")
    return spec


def differences(one: RunSpec, other: RunSpec) -> list[str]:
    """Each key that differs, with both values, in the order of the file."""
    before, after = dict(flat(asdict(one), "")), dict(flat(asdict(other), ""))
    return [
        f"{key}: {_shown(before, key)} became {_shown(after, key)}"
        for key in dict.fromkeys((*before, *after))
        if key not in before or key not in after or before[key] != after[key]
    ]


def _wrong(spec: RunSpec) -> Generator[str]:
    if spec.schema != SCHEMA:
        yield f"schema is {spec.schema}; it must be {SCHEMA}"
    if spec.transport not in TRANSPORTS:
        yield f"transport is {spec.transport!r}; it must be one of {', '.join(TRANSPORTS)}"
    yield from _wrong_nodes(spec.nodes)
    suites = [(one.name,) for one in spec.suites]
    engines = [(_same(one.name), one.enforce, *one.changes) for one in spec.engines]
    for key, named in (("suites", suites), ("engines", engines)):
        if not named:
            yield f"{key}: there is none; at least one is needed"
        twice = [one for place, one in enumerate(named) if one in named[:place]]
        if twice:
            yield f"{key}: {twice[0][0]!r} stands twice"
    sampling, limits = spec.sampling, spec.limits
    least: Mapping[str, tuple[float, float]] = {
        "epochs": (spec.epochs, 1),
        "sampling.thinking.temperature": (sampling.thinking.temperature, 0),
        "sampling.instant.temperature": (sampling.instant.temperature, 0),
        "sampling.max_tokens": (sampling.max_tokens, 1),
        "limits.in_flight": (limits.in_flight, 1),
        "limits.attempts": (limits.attempts, 1),
        "limits.retries": (limits.retries, 0),
        "limits.restarts": (limits.restarts, 0),
    }
    for key, (value, bound) in least.items():
        if not bound <= value < math.inf:  # a NaN is not either
            yield f"{key} is {value}; it must be {bound} or more, and finite"
    for key, seconds in (("idle_s", limits.idle_s), ("total_s", limits.total_s)):
        if not 0 < seconds < math.inf:
            yield f"limits.{key} is {seconds}; it must be above 0, and finite"
    for mode, table in (("thinking", sampling.thinking), ("instant", sampling.instant)):
        if not 0 < table.top_p <= 1:
            yield f"sampling.{mode}.top_p is {table.top_p}; it must be above 0 and at most 1"
    for suite in spec.suites:
        if suite.cases is not None and suite.cases < 1:
            yield f"suites: {suite.name}: cases is {suite.cases}; it must be 1 or more"
    if spec.override_reason is not None and not spec.override_reason.strip():
        yield "override_reason is empty; it must say why the sampling contract is not kept"


def _wrong_nodes(nodes: Sequence[str]) -> Generator[str]:
    if not nodes:
        yield f'nodes: there is none; ["{LOCAL}"] is this machine'
    if LOCAL in nodes and len(nodes) > 1:
        yield f'nodes is {list(nodes)}; "{LOCAL}" is this machine, without others'
    for place, node in enumerate(nodes):
        if node in nodes[:place]:
            yield f"nodes: {node!r} stands twice"
        if not NODE.fullmatch(node) or node in NO_NODES:
            yield f"nodes: {node!r} is no name of a node: letters, digits, dots and dashes"


def _same(name: str) -> str:
    """A URL as it is asked, however it is written."""
    return str(address(name)) if "://" in name else name


def flat(value: Any, key: str) -> Generator[tuple[str, Any]]:
    """Every leaf of a nested table that holds something, by its key, from `key` on."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from flat(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, (list, tuple)):
        for place, inner in enumerate(value):
            yield from flat(inner, f"{key}[{place}]")
    elif value is not None:
        yield key, value


def _shown(table: Mapping[str, Any], key: str) -> str:
    return json.dumps(table[key], ensure_ascii=False) if key in table else "nothing"
