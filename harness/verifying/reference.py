"""What the deployments are checked against: a trace that is named, or one of the model's own
reference pin, which is launched to record it where this machine can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from harness import candidate, session
from harness.base import atomic
from harness.base.errors import ConfigError, EnginediffError
from harness.recording import Trace
from harness.verifying.how import How
from launchers import pins
from launchers.pins import LoadedPin

QUICK_SHARE = 4  # one of so many prompts of the corpus is recorded for --quick
FILE = "reference.json"  # which trace, by path and sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A trace; or `why` there is none."""

    trace: Trace | None
    why: str | None


def found(
    how: How, loaded: Sequence[LoadedPin | None], folder: Path, announce: Callable[[str], None]
) -> Reference:
    """The same as before, where `folder` says which it was. Raises an EnginediffError where one is
    named, and cannot be had."""
    kept = folder / FILE
    if kept.exists():
        return Reference(trace=_again(kept), why=None)
    name, why = (how.against, None) if how.against is not None else _own(loaded)
    if name is None:
        return Reference(trace=None, why=why)
    promises = [
        session.promise(one, how.changes_of(one), how.numerics_of(one), announce)
        for one in how.names
    ]
    classes = [known for known in pins.NUMERICS_CLASSES if known in promises]
    share = QUICK_SHARE if how.quick else 1
    trace = session.trace_of(name, classes=classes, announce=announce, one_in=share)
    told = {"path": str(trace.path.absolute()), "sha256": trace.sha256}
    atomic.write_bytes(kept, orjson.dumps(told))
    return Reference(trace=trace, why=None)


def _again(kept: Path) -> Trace:
    told = orjson.loads(kept.read_bytes())
    trace = Trace(Path(told["path"]))
    if trace.sha256 != told["sha256"]:
        raise ConfigError(
            f"{trace.path}: is another trace than {kept.parent} was begun with (sha256 "
            f"{trace.sha256}, not {told['sha256']}); name another folder with --run"
        )
    return trace


def _own(loaded: Sequence[LoadedPin | None]) -> tuple[str | None, str | None]:
    """The reference pin beside the first pin; or why there is none that runs here."""
    pinned = next((one for one in loaded if one is not None), None)
    if pinned is None:
        return None, "--against names no reference, and a URL has none of its own"
    name = f"{pinned.name.rpartition('/')[0]}/reference"
    try:
        candidate.prepared(name, ())
    except EnginediffError as error:
        return None, f"--against names no reference, and {name} is none here: {error}"
    return name, None
