"""The reference that runs beside a candidate, so that it can score what the candidate generates."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import candidate
from harness.base.errors import ConfigError
from harness.candidate import Opened
from harness.recording import Trace
from launchers.pins import LoadedPin

Announce = Callable[[str], None]
LOG = "reference.log"  # in the run directory of the check


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A reference that can be opened."""

    name: str
    loaded: LoadedPin | None  # None: a URL


def prepared(name: str, trace: Trace, checked: LoadedPin | None, announce: Announce) -> Live:
    """What `--against` named, a pin, a URL or a trace of either, to be opened beside `checked`.

    Raises ConfigError where the trace's reference is not to be had as it was, or where both would
    take the GPUs of this node.
    """
    changes: list[str] = []
    if candidate.is_url(name):
        return Live(name=name, loaded=candidate.prepared(name, ()))
    recorded: Mapping[str, Any] = trace.manifest["reference"]
    pin: Mapping[str, Any] | None = recorded["pin"]
    if pin is None:
        title = str(recorded["title"])
        if not candidate.is_url(title):
            raise ConfigError(
                f"--live: {trace.path} does not say which pin or server its reference was; name a "
                "reference pin or its URL in --against"
            )
        return Live(name=title, loaded=candidate.prepared(title, ()))
    changes = list(pin["changes"])
    loaded = candidate.prepared(str(pin["name"]), changes, announce)
    assert loaded is not None
    if loaded.hash != pin["hash"]:
        raise ConfigError(
            f"--live: {trace.path} was recorded of {loaded.title} as that pin was then (hash "
            f"{pin['hash'][:12]}), and it is another now ({loaded.hash[:12]}): record it again"
        )
    _refuse_same_gpus(loaded, checked)
    return Live(name=loaded.name, loaded=loaded)


def _refuse_same_gpus(reference: LoadedPin, checked: LoadedPin | None) -> None:
    if checked is not None and _takes_gpus(reference) and _takes_gpus(checked):
        raise ConfigError(
            f"--live: {reference.title} and {checked.title} each take the GPUs of this node; serve "
            "the reference on another node, and give its URL to --against"
        )


def _takes_gpus(loaded: LoadedPin) -> bool:
    deployment = loaded.pin.deployment
    return deployment is not None and deployment.gpus_per_node > 0


@contextmanager
def opened(
    live: Live | None, trace: Trace, *, run: Path, announce: Announce
) -> Generator[Opened | None]:
    """The running reference; None where none is wanted. ConfigError where it is another model."""
    if live is None:
        yield None
        return
    with candidate.opened(live.name, live.loaded, log=run / LOG, announce=announce) as reference:
        _refuse_other_model(reference, trace)
        yield reference


def _refuse_other_model(reference: Opened, trace: Trace) -> None:
    wanted, served = trace.manifest["model"]["name"], reference.asker.dialect.model
    if served != wanted:
        raise ConfigError(
            f"--live: {reference.title} serves {served!r}, but {trace.path} is of {wanted!r}"
        )
