"""A run's status, for another terminal: a small file that it renews, and a look at its lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.base import strict_toml
from harness.base.errors import ConfigError
from harness.runs import folder as folders
from harness.runs.watch import Watch

NAME = "status.json"
SCHEMA = 1
EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """One engine."""

    engine: str
    state: str
    total: int
    done: int
    failed: int
    in_flight: int
    allowed: int
    tokens: int  # received by the process that wrote this
    tokens_per_s: float
    retried: int
    restarts: int
    left_s: tuple[float, ...]  # a 95 % interval; empty: too little is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a run says of itself."""

    schema: int
    written: float  # seconds since the epoch
    metrics: str  # a URL
    engines: tuple[EngineStatus, ...]


def of(watch: Watch, now: float) -> EngineStatus:
    """`now`: of time.monotonic."""
    left = watch.left_s(now)
    elapsed = max(1e-9, now - watch.began)
    return EngineStatus(
        engine=watch.engine,
        state="waits for room on the disk" if watch.paused else watch.state,
        total=watch.total,
        done=watch.done,
        failed=watch.failed,
        in_flight=watch.in_flight,
        allowed=watch.allowed,
        tokens=watch.tokens,
        tokens_per_s=round(watch.tokens / elapsed, 1),
        retried=watch.failures.total(),
        restarts=watch.restarts,
        left_s=() if left is None else tuple(round(seconds, 1) for seconds in left),
    )


def read(folder: Path) -> tuple[Status, int | None]:
    """What a run said last, and the process that works on it; None: none does.

    Raises ConfigError where there is no run.
    """
    process = folders.holder(folder)
    path = folder / NAME
    try:
        table: Any = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path}: no run has said anything there yet") from error
    return strict_toml.convert(Status, table, str(path)), process


@contextmanager
def told(
    folder: Path, watches: list[Watch], metrics: str, show: Callable[[list[Watch]], None]
) -> Generator[None]:
    """Renews the file every second for the length of the block, and calls `show`, by a thread."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(EVERY_S):
            _write(folder, watches, metrics)
            show(watches)

    thread = threading.Thread(target=renew, name="status", daemon=True)
    _write(folder, watches, metrics)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _write(folder, watches, metrics)


def _write(folder: Path, watches: list[Watch], metrics: str) -> None:
    """Without a sync: it is worth nothing after a power cut. A full disk keeps the old one."""
    now = time.monotonic()
    status = Status(
        schema=SCHEMA,
        written=time.time(),
        metrics=metrics,
        engines=tuple(of(watch, now) for watch in list(watches)),
    )
    temporary = folder / f".{NAME}.partial"
    with suppress(OSError):
        temporary.write_bytes(orjson.dumps(status))
        temporary.replace(folder / NAME)
