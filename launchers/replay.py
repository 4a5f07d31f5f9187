"""Sends raw answers through an engine's own tool and reasoning parsers, cut in every way.

A replay is a script of ours that runs in the engine's environment, where it makes the object that
answers chats there, and hands it what the engine would have generated. It takes an engine's import
(5 to 15 s) and a few seconds more, so its answers are kept: `<home>/replays/`, under a hash of all
that they depend on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.base import atomic
from harness.base.home import home
from harness.base.stream import Parsed, ParsedCall, Stream
from launchers import environments, scripted, shimmed
from launchers.command import Command
from launchers.environments import Environment
from launchers.pins import LoadedPin
from launchers.registry import launcher

SCRIPTS = Path(__file__).with_name("replays")
PARSERS = ("tool-call-parser", "reasoning-parser")
# Flags and variables that can reach a parser; all others leave the kept answers as they are.
RELEVANT = re.compile(
    r"parser|tool|reason|think|template|chat|stream|tokenizer|trust|plugin|hf-|override|^config$|"
    r"^PYTHONPATH$|^ENGINEDIFF_",
    re.IGNORECASE,
)

Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The script of one engine, and the variable that has another program answer the chats."""

    script: str
    elsewhere: str | None = None


ENGINES = {
    "ktransformers": Replay(script="ktransformers_replay.py"),
    "sglang": Replay(script="sglang_replay.py"),
    "vllm": Replay(script="vllm_replay.py", elsewhere="VLLM_USE_RUST_FRONTEND"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is replayed."""

    streams: Sequence[Stream]
    markers: Sequence[str]  # each must be one token, else the streams are not this model's
    tools: Sequence[Mapping[str, Any]]  # that a request offers, as in the OpenAI chat API


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What an engine's parsers made of the streams."""

    version: str
    unknown: tuple[str, ...]  # markers that the tokenizer does not have: nothing was replayed
    answers: Mapping[str, tuple[Parsed, ...]]  # stream id -> not streamed first
    kept: bool  # from an earlier replay


def impossible(loaded: LoadedPin) -> str | None:
    """Why a pin's parsers cannot be replayed; None where they can."""
    engine = loaded.pin.engine.name
    replay = ENGINES.get(engine)
    if replay is None:
        return f"{engine} has no parsers of its own that could be replayed"
    unnamed = [name for name in PARSERS if not loaded.pin.args.get(name)]
    if unnamed:
        return f"the pin names no {unnamed[0]}"
    if replay.elsewhere and loaded.pin.env.get(replay.elsewhere, "0") not in ("", "0"):
        return f"with {replay.elsewhere} another program parses, which cannot be driven"
    return None


def replayed(loaded: LoadedPin, asked: Asked, announce: Announce) -> Replayed:
    """The answers of a pin's parsers, replayed once and then kept. Builds no environment.

    Raises BuildError or LaunchError where the script fails, ConfigError where there is no such
    environment.
    """
    engine = loaded.pin.engine
    built = environments.require(engine.environment)
    command = launcher(engine.name).command(loaded, python=built.python, port=8000)  # as if
    request = _request(command, asked)
    path = home() / "replays" / f"{built.name}-{_key(loaded, built, command, request)[:16]}.json"
    count = f"{len(asked.streams)} raw answers"
    if path.is_file():
        announce(f"the parsers of {engine.name} {engine.version}: {count}, replayed before")
        return _read(json.loads(path.read_bytes()), kept=True)
    announce(f"the parsers of {engine.name} {engine.version} read {count}, cut in every way")
    script = SCRIPTS / ENGINES[engine.name].script
    answer = scripted.answer(script, request, built, command.env, what="the replay of its parsers")
    atomic.write_bytes(path, answer)
    return _read(json.loads(answer), kept=False)


def _request(command: Command, asked: Asked) -> dict[str, Any]:
    kept = ("id", "text", "thinking", "tools", "letters", "finish")
    return {
        "argv": list(command.argv[3:]),  # what follows `python -m MODULE`
        "markers": list(asked.markers),
        "tools": list(asked.tools),
        "streams": [{name: asdict(stream)[name] for name in kept} for stream in asked.streams],
    }


def _key(
    loaded: LoadedPin, built: Environment, command: Command, request: Mapping[str, Any]
) -> str:
    """A hash of all that the answers depend on."""
    pin = loaded.pin
    known = {
        "environment": built.key,
        "shims": [shimmed.digest(name) for name in pin.engine.shims],
        "script": ENGINES[pin.engine.name].script,
        "scripts": {path.name: _digest(path) for path in sorted(SCRIPTS.glob("*.py"))},
        "files": {k: v for k, v in pin.model.files.items() if not k.endswith(".safetensors")},
        "args": {k: _content(v) for k, v in pin.args.items() if RELEVANT.search(k)},
        "env": {k: v for k, v in command.env.items() if RELEVANT.search(k)},
        "request": {k: v for k, v in request.items() if k != "argv"},
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()


def _content(value: object) -> object:
    """A flag's value; of a file that it names, such as a chat template or a plugin, the hash."""
    path = Path(value) if isinstance(value, str) else None
    return _digest(path) if path is not None and path.is_file() else value


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(found: Mapping[str, Any], *, kept: bool) -> Replayed:
    return Replayed(
        version=found["version"],
        unknown=tuple(found["unknown"]),
        answers={each["id"]: tuple(map(_parsed, each["answers"])) for each in found["streams"]},
        kept=kept,
    )


def _parsed(answer: Mapping[str, Any]) -> Parsed:
    return Parsed(
        cuttings=tuple(answer["cuttings"]),
        error=answer["error"],
        reasoning=answer["reasoning"],
        content=answer["content"],
        calls=tuple(ParsedCall(**call) for call in answer["calls"]),
    )
