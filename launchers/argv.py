"""Has each engine's own argument parser read a pin's flags, before 600 GB are loaded for nothing.

A check is a script that runs in the environment of the pinned version (`engine.parser`: its CPU
build reads the flags of a pin for GPUs). One start of Python reads all pins of one environment.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launchers import environments, joining, scripted, shimmed
from launchers.environments import Environment
from launchers.joining import Part
from launchers.pins import LoadedPin
from launchers.registry import launcher

CHECKS = Path(__file__).with_name("argv_checks")
HEAD = "node-0"  # stands for the first node's address, where nodes are joined

Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The script of one engine, and the shims that let it be imported where there is no GPU."""

    script: str
    shims: tuple[str, ...] = ()


ENGINES = {
    "ktransformers": Check(script="ktransformers_argv.py", shims=("ktransformers", "sglang")),
    "sglang": Check(script="sglang_argv.py", shims=("sglang",)),
    "vllm": Check(script="vllm_argv.py"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with a pin's flags or variables; a warning where the engine takes them."""

    error: bool
    what: str


def has_parser(loaded: LoadedPin) -> bool:
    """Whether there is a check for this engine: our own reference reads its flags in a second."""
    return loaded.pin.engine.name in ENGINES


def environment(loaded: LoadedPin) -> str:
    """The environment whose parser reads the pin's flags."""
    return loaded.pin.engine.parser or loaded.pin.engine.environment


def check(pins: Sequence[LoadedPin], announce: Announce) -> list[list[Problem]]:
    """The problems of each pin, in order. Builds parser environments that are not there.

    Raises BuildError, LaunchError where a check itself fails, ConfigError for an unknown lock.
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, loaded in enumerate(pins):
        groups[loaded.pin.engine.name, environment(loaded)].append(index)
    found: list[list[Problem]] = [[] for _ in pins]
    for (engine, name), indexes in groups.items():
        built = environments.build(name, announce=announce)
        announce(f"{name}: its argument parser reads the flags")
        answers = _asked([pins[index] for index in indexes], ENGINES[engine], built)
        for index, problems in zip(indexes, answers, strict=True):
            found[index] = problems
    return found


def commands(loaded: LoadedPin) -> list[tuple[str, tuple[str, ...]]]:
    """Every node's part, in words, and the arguments that its engine is started with."""
    count = joining.nodes(loaded)
    if count == 1:
        return [("", _arguments(loaded))]
    parts = [Part(rank=rank, head=HEAD, own=HEAD, interface="eth0") for rank in range(count)]
    return [(f"node {part.rank}", _arguments(joining.placed(loaded, part))) for part in parts]


def _arguments(loaded: LoadedPin) -> tuple[str, ...]:
    """The flags, behind `python -m MODULE` and a command's name."""
    command = launcher(loaded.pin.engine.name).command(loaded, python=Path("python"), port=8000)
    first = next(n for n, word in enumerate(command.argv) if word.startswith("--"))
    return command.argv[first:]


def _asked(pins: Sequence[LoadedPin], check: Check, built: Environment) -> list[list[Problem]]:
    parts = [(index, *part) for index, loaded in enumerate(pins) for part in commands(loaded)]
    request = [_request(pins[index], argv) for index, _part, argv in parts]
    answer = _answer(check, built, request)
    problems: list[list[Problem]] = []
    for index, loaded in enumerate(pins):
        of_pin = [
            (part, found)
            for (owner, part, _argv), found in zip(parts, answer["commands"], strict=True)
            if owner == index
        ]
        problems.append([*_of_version(loaded, answer["version"], built.name), *_merged(of_pin)])
    return problems


def _merged(parts: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> list[Problem]:
    """The problems of all nodes' parts; what is the same on each is said once."""
    where: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for part, found in parts:
        for entry in found:
            where[entry["error"], entry["what"]].append(part)
    return [
        Problem(error=error, what=what if len(of) == len(parts) else f"{what} ({', '.join(of)})")
        for (error, what), of in where.items()
    ]


def _request(loaded: LoadedPin, argv: tuple[str, ...]) -> dict[str, Any]:
    table = loaded.pin.deployment
    return {
        "argv": argv,
        "env": dict(loaded.pin.env),
        "nodes": 1 if table is None else table.nodes,
        "gpus": None if table is None else table.nodes * table.gpus_per_node or None,
    }


def _of_version(loaded: LoadedPin, version: str, name: str) -> list[Problem]:
    pinned = loaded.pin.engine.version
    if version == pinned:
        return []
    what = f"engine.version is {pinned}, but the parser in {name} is that of {version}"
    return [Problem(error=True, what=what)]


def _answer(check: Check, built: Environment, request: list[dict[str, Any]]) -> Mapping[str, Any]:
    script = CHECKS / check.script
    env = shimmed.variables(check.shims)
    commands = {"commands": request}
    return json.loads(scripted.answer(script, commands, built, env, what="its argument parser"))
