"""A run's directory: whose it is, by its spec, and that one process at a time works in it.

runs/<spec's name>-<its hash>/
    spec.toml  provenance.json  lock  status.json
    records/<engine>/<node>.jsonl  what happened there; all else can be made of it again
    records/<engine>/ledger.jsonl  which node was given what, and whose answer counts
    logs/<engine>.log              of an engine that we started
    power/<engine>/<node>.jsonl    what its GPUs drew, where there are any
    answers/<engine>.jsonl  tokens/<engine>.parquet  scores/<engine>.jsonl  summary.json  report.md
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

from harness.base import atomic
from harness.base.errors import ConfigError
from harness.runs import spec as specs
from harness.runs.spec import RunSpec

SPEC, PROVENANCE, LOCK = "spec.toml", "provenance.json", "lock"
SCHEMA = 2
TRIES, TRY_S = 5, 0.1  # `status` looks at the lock for an instant


def place(runs: Path, path: Path, spec: RunSpec) -> Path:
    """Where the run of a spec is, unless it is said."""
    return runs / f"{path.stem}-{spec.hash[:12]}"


@contextmanager
def held(folder: Path, path: Path, spec: RunSpec) -> Generator[None]:
    """The directory is this process's for the length of the block, made where it is not there.

    Raises ConfigError where another lives in it, or where it is another spec's.
    """
    with locked(folder, SPEC):
        _claim(folder, path, spec)
        yield


@contextmanager
def locked(folder: Path, mark: str) -> Generator[None]:
    """The same of any directory in which work goes on; the file `mark` tells it from others."""
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{folder}: {nearest} is a file, and a run needs a folder")
    if folder.is_dir() and not (folder / mark).exists() and _strange(folder):
        raise ConfigError(f"{folder}: holds no run, and is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(lock, folder)
        yield
    finally:
        os.close(lock)


def holder(folder: Path) -> int | None:
    """The process that works in a run's directory; None: none does."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR)
    except OSError as error:
        raise ConfigError(f"{folder}: holds no run: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(lock)
    finally:
        os.close(lock)
    return None


def require_same(folder: Path, provenance: Mapping[str, Any]) -> str:
    """Writes down what decides a run beside its spec; refuses to go on with anything else. The
    run's id, of when it was begun.

    Pins and suites are named in a spec, and may be other ones by now. Raises ConfigError.
    """
    path = folder / PROVENANCE
    if not path.exists():
        atomic.write_bytes(path, orjson.dumps(provenance, option=orjson.OPT_INDENT_2))
        return provenance["run"]
    before = orjson.loads(path.read_bytes())
    if before["schema"] != SCHEMA:
        raise ConfigError(
            f"{folder}: is a run of schema {before['schema']}, and this version goes on with "
            f"{SCHEMA}; name another folder"
        )
    changed = [
        f"{key}: {before['decides'].get(key, 'nothing')} became {value}"
        for key, value in provenance["decides"].items()
        if before["decides"].get(key) != value
    ]
    if changed:
        raise ConfigError(
            f"{folder}: was begun with something else, and would mix both:\n"
            + "\n".join(f"  {line}" for line in changed)
        )
    return before["run"]


def _strange(folder: Path) -> bool:
    """Whether more is there than a run leaves that has hardly begun: its lock, half a spec."""
    return any(path.name != LOCK and path.suffix != ".partial" for path in folder.iterdir())


def _take(lock: int, folder: Path) -> None:
    for _ in range(TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(TRY_S)
            continue
        with suppress(OSError):  # without room, nobody is told who has it
            os.pwrite(lock, str(os.getpid()).encode().ljust(20), 0)
        return
    raise ConfigError(
        f"{folder}: a run is under way there (process {_pid(lock)}); "
        f"`enginediff status {folder}` shows it"
    )


def _claim(folder: Path, path: Path, spec: RunSpec) -> None:
    """The spec is written down, or is the one that is there."""
    own = folder / SPEC
    if not own.exists():
        atomic.write_bytes(own, path.read_bytes())
        return
    before = specs.load(own)
    if before.hash != spec.hash:
        changed = "\n".join(f"  {line}" for line in specs.differences(before, spec))
        raise ConfigError(
            f"{folder}: is the run of another spec, and would mix both:\n{changed}\n"
            "name another folder, or leave --run out"
        )


def _pid(lock: int) -> int:
    return int(os.pread(lock, 20, 0) or b"0")
