"""What is asked of the deployments: whose contract, how long an answer may be, what there is to
ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from harness import candidate, templates
from harness.address import address
from harness.base import atomic
from harness.base.errors import ConfigError
from harness.base.sampling_rules import Rules
from harness.client import Endpoint
from harness.recording import Trace
from harness.verifying import truth
from harness.verifying.how import How
from harness.verifying.spec import LONG, SHORT, Asked, Engine
from launchers import contracts
from launchers.pins import LoadedPin
from suites import outside, trigger_cases

TRUTH = "prompt-tokens.jsonl"
CONTEXTS = ("max-model-len", "context-length")  # the engines' flags
SHORT_CONTEXT = 8192  # tokens: as short as those of the models for tests


def rules(how: How, loaded: Sequence[LoadedPin | None]) -> Rules:
    """Of one contract, which all deployments are held to. Raises ConfigError."""
    named = {one.pin.serving.contract for one in loaded if one is not None}
    own = sorted(name for name in named if name is not None)
    if how.contract is not None:
        if own and own != [how.contract]:
            raise ConfigError(f"--contract is {how.contract}, but the pins name {', '.join(own)}")
        return contracts.rules(how.contract)
    if len(own) == 1:
        return contracts.rules(own[0])
    said = f"the pins name {', '.join(own)}" if own else "nothing here names one"
    known = ", ".join(sorted(path.stem for path in contracts.FOLDER.glob("*.toml")))
    raise ConfigError(f"--contract is needed, for {said}; it must be one of {known}")


def refuse_unreadable(how: How) -> None:
    """Raises ConfigError for data that is named and cannot be read, before minutes are spent."""
    for name in outside.NAMES:
        outside.folder(name)
    if how.trigger is not None:
        trigger_cases.load(Path(how.trigger))


def servers(how: How) -> Mapping[str, Any]:
    """What each URL serves: [model, context in tokens or None]. Raises ConfigError where nobody
    answers."""
    return {name: _served(name) for name in how.names if candidate.is_url(name)}


def choices(
    how: How, loaded: Sequence[LoadedPin | None], servers: Mapping[str, Any]
) -> dict[str, Any]:
    """What is decided for this machine: how long an answer may be, and what data there is. Raises
    ConfigError for --max-tokens that no context has room for."""
    contexts = [_context(one) for one in loaded if one is not None]
    contexts += [context for models in servers.values() for _, context in models]
    shortest = min((one for one in contexts if type(one) is int), default=None)
    if how.max_tokens is not None and shortest is not None and how.max_tokens >= shortest:
        raise ConfigError(
            f"--max-tokens is {how.max_tokens}; it must be below the context, {shortest} tokens"
        )
    short = shortest is not None and shortest <= SHORT_CONTEXT
    return {
        "max_tokens": how.max_tokens or (SHORT if short else LONG),
        "outside": [name for name in outside.NAMES if outside.folder(name) is not None],
    }


def asked(
    how: How,
    loaded: Sequence[LoadedPin | None],
    rules: Rules,
    trace: Trace | None,
    folder: Path,
    chosen: Mapping[str, Any],
) -> Asked:
    """Writes the prompt tokens that are owed into `folder`, where the trace knows them. `chosen`:
    of `choices`."""
    rendered = None if trace is None else trace.member(templates.MEMBER)
    if rendered is not None:
        lines = truth.lines(templates.read(rendered), rules)
        atomic.write_bytes(folder / TRUTH, "".join(lines).encode())
    return Asked(
        engines=tuple(_engines(how, loaded)),
        rules=rules,
        max_tokens=chosen["max_tokens"],
        quick=how.quick,
        prompt_tokens=None if rendered is None else str(folder / TRUTH),
        trigger=None if how.trigger is None else str(Path(how.trigger).absolute()),
        outside=tuple(chosen["outside"]),
        seed=how.seed,
    )


def _engines(how: How, loaded: Sequence[LoadedPin | None]) -> Iterator[Engine]:
    for name, one in zip(how.names, loaded, strict=True):
        changes = how.changes_of(name)
        yield Engine(name=name, changes=changes, enforce=False, url=one is None)
        if how.enforce and one is not None:
            yield Engine(name=name, changes=changes, enforce=True, url=False)


def _context(loaded: LoadedPin) -> Any:
    return next((loaded.pin.args[name] for name in CONTEXTS if name in loaded.pin.args), None)


def _served(name: str) -> list[tuple[str, int | None]]:
    """Nothing where the server lists no models."""
    with Endpoint(address(name).base) as endpoint:
        answer = endpoint.get("/v1/models")
    try:
        models = orjson.loads(answer or b"")["data"]
        return sorted((str(one["id"]), one.get("max_model_len")) for one in models)
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
