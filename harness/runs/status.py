"""A run's status, for another terminal: a small file that it renews, and a look at its lock."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.base import strict_toml
from harness.base.errors import ConfigError
from harness.runs import folder as folders
from harness.runs.watch import Watch, Watches

NAME = "status.json"
SCHEMA = 1
EVERY_S = 1.0
BYTES = 16384  # of the file; a run of more engines than fit makes it longer
TRIES, TRY_S = 5, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """An engine on one node."""

    node: str
    state: str
    done: int  # that ended there, by its worker
    in_flight: int
    tokens_per_s: float
    restarts: int


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
    attempts_failed: int
    restarts: int
    left_s: tuple[float, ...]  # a 95 % interval; empty: too little is known
    nodes: tuple[NodeStatus, ...]  # that are at it


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
    return EngineStatus(
        engine=watch.engine,
        state="waits for room on the disk" if watch.paused else watch.state,
        total=watch.total,
        done=watch.done,
        failed=watch.failed,
        in_flight=watch.in_flight,
        allowed=watch.allowed,
        tokens=watch.tokens,
        tokens_per_s=_tokens_per_s(watch, now),
        attempts_failed=watch.failures.total(),
        restarts=watch.restarts,
        left_s=() if left is None else tuple(round(seconds, 1) for seconds in left),
        nodes=tuple(_of_node(node, there, now) for node, there in watch.nodes.items()),
    )


def _of_node(node: str, watch: Watch, now: float) -> NodeStatus:
    return NodeStatus(
        node=node,
        state="waits for room on the disk" if watch.paused else watch.state,
        done=watch.done,
        in_flight=watch.in_flight,
        tokens_per_s=_tokens_per_s(watch, now),
        restarts=watch.restarts,
    )


def _tokens_per_s(watch: Watch, now: float) -> float:
    return round(watch.tokens / max(1e-9, now - watch.began), 1)


def read(folder: Path) -> tuple[Status, int | None]:
    """What a run said last, and the process that works on it; None: none does.

    Raises ConfigError where there is no run.
    """
    process = folders.holder(folder)
    path = folder / NAME
    for _ in range(TRIES):  # it may be half renewed
        try:
            table: Any = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            time.sleep(TRY_S)
            continue
        return strict_toml.convert(Status, table, str(path)), process
    raise ConfigError(f"{path}: no run has said anything there yet")


@contextmanager
def told(
    folder: Path, watches: Watches, metrics: str, show: Callable[[Sequence[Watch]], None]
) -> Generator[None]:
    """Renews the file every second for the length of the block, and calls `show`, by a thread."""
    ended = threading.Event()
    file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.truncate(file, 0)

    def renew() -> None:
        while not ended.wait(EVERY_S):
            _write(file, watches, metrics)
            show(watches())

    thread = threading.Thread(target=renew, name="status", daemon=True)
    _write(file, watches, metrics)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _write(file, watches, metrics)
        os.close(file)


def _write(file: int, watches: Watches, metrics: str) -> None:
    """In place, and always as long: that needs no room on a full disk. Without a sync."""
    now = time.monotonic()
    status = Status(
        schema=SCHEMA,
        written=time.time(),
        metrics=metrics,
        engines=tuple(of(watch, now) for watch in watches()),
    )
    with suppress(OSError):
        os.pwrite(file, orjson.dumps(status).ljust(BYTES), 0)
