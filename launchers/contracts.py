"""Sampling contracts: what a model may be asked for, as its vendor allows it and nothing else.

A contract is data, `contracts/FAMILY.toml`; the engines' further sampling knobs, the same for all
families, are `knobs.toml`. `hold` is pure: a body goes in, a refusal or the body to forward comes
out. What a request leaves open (null counts as left open) is filled in, so that no default of a
server or of a model's generation config decides it. Nothing else is touched.

A chat is held to the mode that it asks for, and the switch that the chat template reads is filled
in with that mode: vLLM ignores `thinking`, the field of Kimi's own API, and would think at the
temperature of the other mode. A raw prompt passes no template, so what its request says about
thinking moves nothing: it is held to the default mode.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base import strict_toml
from harness.base.errors import ConfigError
from harness.base.sampling_rules import ALL, INSTANT, LOOP, THINKING, History, Rules
from launchers.json_object import Fill, JsonObject, filled, parse

FOLDER = Path(__file__).parent / "contracts"
KNOBS = Path(__file__).parent / "knobs.toml"
SHOWN = 60  # characters of a wrong value in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way in which a request says whether to think."""

    field: str  # a name, or TABLE.NAME
    thinking: tuple[Any, ...]  # the values that ask for it
    instant: tuple[Any, ...]  # the values that ask for the opposite


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractTable:
    """One family's file."""

    schema: int
    source: str
    default: str  # the mode of a request that says nothing
    switch: str | None = None  # what the chat template reads, one of `ways`; None: it reads nothing
    always: Mapping[str, float]  # field -> its only value, in every mode
    modes: Mapping[str, Mapping[str, float]]  # mode -> field -> its only value
    ways: tuple[Way, ...]
    forced: tuple[str, ...] = ()  # tool choices that are served while it thinks: required, named
    efforts: tuple[str, ...] = ()  # of thinking, that the model tells apart
    dynamic_tools: bool = False  # a system message may declare tools
    history: History | None = None  # None: nothing is known of it, or there is no reasoning


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A further sampling parameter of some engine. null is always neutral."""

    field: str
    neutral: tuple[Any, ...]  # the values that change nothing
    fill: Any = None  # what a request that leaves it open gets; None: it stays open
    chat_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobsTable:
    schema: int
    knobs: tuple[Knob, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a model is held to."""

    family: str
    table: ContractTable
    knobs: tuple[Knob, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is not let through, for the `error` of an answer in OpenAI's form."""

    message: str
    param: str | None
    code: str


def load(family: str) -> Contract:
    """The contract of a family; ConfigError where there is none or its file is wrong."""
    known = sorted(path.stem for path in FOLDER.glob("*.toml"))
    if family not in known:
        raise ConfigError(f"there is no contract {family!r}; known are {', '.join(known)}")
    path = FOLDER / f"{family}.toml"
    table = strict_toml.convert(ContractTable, strict_toml.load(path), str(path))
    knobs = strict_toml.convert(KnobsTable, strict_toml.load(KNOBS), str(KNOBS))
    if not {table.default} <= set(table.modes) <= {THINKING, INSTANT}:
        raise ConfigError(f"{path}: modes must be among thinking and instant, with the default")
    if table.history is not None and table.history.rendered not in (LOOP, ALL):
        raise ConfigError(f"{path}: history.rendered must be {LOOP} or {ALL}")
    return Contract(family=family, table=table, knobs=knobs.knobs)


def rules(family: str) -> Rules:
    """What a deployment of a family is held to. Raises ConfigError."""
    table = load(family).table
    switch = next((way for way in table.ways if way.field == table.switch), table.ways[0])
    return Rules(
        family=family,
        default=table.default,
        modes=table.modes,
        always=table.always,
        asked_by={
            THINKING: _said_by((table.ways[0], switch), lambda way: way.thinking[0]),
            INSTANT: _said_by((table.ways[0], switch), lambda way: way.instant[0]),
        },
        forced=table.forced,
        efforts=table.efforts,
        dynamic_tools=table.dynamic_tools,
        history=table.history,
    )


def _said_by(ways: Iterable[Way], value: Callable[[Way], Any]) -> dict[str, Any]:
    """All of them at once: the vendor's own API reads one, the engines another, and each passes
    over what it does not know."""
    fields: dict[str, Any] = {}
    for way in ways:
        name, _, inner = way.field.partition(".")
        fields[name] = {inner: value(way)} if inner else value(way)
    return fields


def hold(contract: Contract, body: bytes, *, chat: bool) -> Refusal | bytes:
    """The body to forward: `body` itself where nothing is missing."""
    try:
        request = parse(body)
    except ValueError as error:
        message = f"the request's body cannot be read: {error}"
        return Refusal(message=message, param=None, code="invalid_json")
    decided = decide(contract, request, chat=chat)
    if isinstance(decided, Refusal):
        return decided
    return filled(request, decided) if decided else body


def decide(contract: Contract, request: JsonObject, *, chat: bool) -> Refusal | tuple[Fill, ...]:
    """The first thing that is wrong with a request, or all that it leaves open."""
    asked = _mode(contract, request) if chat else contract.table.default
    if isinstance(asked, Refusal):
        return asked
    fills: list[Fill] = []
    only = {**contract.table.modes[asked], **contract.table.always}
    for field, value in only.items():
        given = request.value(field)
        if given is None:
            fills.append(Fill(path=(field,), value=_short(value)))
        elif not _same(given, value):
            where = f"with {contract.family} in {asked} mode"
            return _refused(field, given, f"only {_short(value)} is allowed {where}")
    for knob in contract.knobs:
        path = tuple(knob.field.split("."))
        if knob.chat_only and not chat:
            continue
        given = request.value(*path)
        if given is None and knob.fill is not None:
            fills.append(Fill(path=path, value=knob.fill))
        elif given is not None and not any(_same(given, value) for value in knob.neutral):
            return _refused(knob.field, given, _only_neutral(knob))
    switch = contract.table.switch
    if chat and switch is not None and not _said(request, switch):
        fills.append(Fill(path=tuple(switch.split(".")), value=asked == THINKING))
    return tuple(fills)


def _mode(contract: Contract, request: JsonObject) -> str | Refusal:
    """What a request asks for. Ways that disagree, and modes that are not served, are refused."""
    asked, said_by = contract.table.default, None
    for way in contract.table.ways:
        table, _, inner = way.field.partition(".")
        whole = request.value(table)
        if inner and whole is not None and not isinstance(whole, dict):
            return _refused(table, whole, "it must be an object")
        if not _said(request, way.field):
            continue
        value = request.value(*way.field.split("."))
        mode = _meant(way, value)
        if mode is None:
            known = " or ".join(json.dumps(v) for v in (*way.thinking, *way.instant))
            return _refused(way.field, value, f"it must be {known}")
        if said_by is not None and mode != asked:
            return _refused(way.field, value, f"{said_by} asks for the opposite")
        asked, said_by = mode, way.field
        if mode not in contract.table.modes:
            return _refused(way.field, value, f"{contract.family} is not served in {mode} mode")
    return asked


def _said(request: JsonObject, field: str) -> bool:
    """A null inside a table counts as said: a template takes it for false."""
    table, _, inner = field.partition(".")
    value = request.value(table)
    return inner in value if inner and isinstance(value, dict) else value is not None and not inner


def _meant(way: Way, value: Any) -> str | None:
    if any(_same(value, known) for known in way.thinking):
        return THINKING
    return INSTANT if any(_same(value, known) for known in way.instant) else None


def _same(given: Any, value: Any) -> bool:
    """1, 1.0 and 1e0 are the same; true and "1.0", which an engine would take for 1, are not."""
    numbers = {int, float}
    if type(given) in numbers and type(value) in numbers:
        return given == value
    return type(given) is type(value) and given == value


def _short(value: float) -> float:
    """1 for 1.0: as good a float, and the only way to write an integer."""
    return int(value) if value == int(value) else value


def _only_neutral(knob: Knob) -> str:
    if not knob.neutral:
        return "it must be left out: it changes what is sampled"
    known = " or ".join(json.dumps(value) for value in knob.neutral)
    return f"it changes what is sampled; only {known} is allowed"


def _refused(field: str, given: Any, why: str) -> Refusal:
    text = json.dumps(given)
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return Refusal(
        message=f"invalid {field}: it is {shown}, but {why}", param=field, code="unsupported_value"
    )
