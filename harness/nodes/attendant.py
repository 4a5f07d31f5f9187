"""What a server of a cluster does for a run: an actor of Ray there, which only `cluster` knows.

Its journals are its own, under `$ENGINEDIFF_HOME/shards/<run>`, until whoever leads has them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from harness import doctor
from harness.base.errors import ConfigError, LaunchError
from harness.base.home import home
from harness.doctor import Diagnosis
from harness.nodes import checkup, prepared, survey
from harness.nodes.checkup import Checkup, Question
from harness.nodes.follower import Follower
from harness.nodes.prepared import Prepared
from harness.nodes.survey import EngineThere, Facts
from harness.nodes.worker import Errand, News, Orders, Worker
from harness.runs import journal
from harness.runs.plan import Cases
from harness.runs.spec import RunSpec
from launchers import joining
from launchers.pins import LoadedPin

STOP_S = 30.0  # for a worker that is to end, its engine included
TAKEN_S = 60.0  # for the actor of a driver that was killed to be gone
POLL_S = 0.1
LOG_BYTES = 1 << 20


P = ParamSpec("P")
T = TypeVar("T")


def _alone(
    method: Callable[Concatenate[Attendant, P], T],
) -> Callable[Concatenate[Attendant, P], T]:
    """One at a time: what is called again after a cut may meet itself."""

    @wraps(method)
    def called(own: Attendant, *args: P.args, **kwargs: P.kwargs) -> T:
        with own.lock:
            return method(own, *args, **kwargs)

    return called


class Attendant:
    """One server's; one worker at a time."""

    def __init__(self, name: str) -> None:
        """`name`: the server's, for a home may be shared by several."""
        self._name, self.lock = name, threading.RLock()
        self._spec: RunSpec | None = None
        self._cases: Cases | None = None
        self._engines: tuple[EngineThere, ...] = ()
        self._worker: Worker | None = None
        self._follower: Follower | None = None
        self._working_on: tuple[str, int] | None = None
        self._locks: dict[str, int] = {}

    def clock(self) -> float:
        return survey.clock()

    def facts(self) -> Facts:
        return survey.facts()

    def checkup(self, question: Question) -> Checkup:
        return checkup.checkup(question)

    def engines(self, spec: RunSpec, folder: str) -> tuple[EngineThere, ...]:
        """Verified and built, for the workers to come. `folder`: that names in a spec are relative
        to, where it is here too."""
        if Path(folder).is_dir():
            os.chdir(folder)
        self._spec, self._cases = spec, prepared.cases(spec)
        self._engines = survey.engines(spec, self._cases, lambda _: None)
        return self._engines

    def diagnose(
        self, names: Sequence[str], changes: Sequence[str], profile: str | None
    ) -> list[Diagnosis]:
        """Of pins what is of this server; of the server alone where none is named."""
        if not names:
            return [doctor.of_node(profile)]
        return doctor.of_pins_here(names, changes, profile)

    @_alone
    def chain_at(self, run: str, n: int, end: int) -> bytes:
        """Of its journal's line that ends there; nothing where none does."""
        path = self._journal(run, n)
        if end == 0 or not path.exists() or path.stat().st_size < end:
            return b""
        return journal.chain_at(path, end)

    @_alone
    def restore(self, run: str, n: int, at: int, lines: bytes) -> None:
        """Its journal is what whoever leads has of it. `at`: 0, and then as far as it is."""
        path = self._journal(run, n)
        path.parent.mkdir(parents=True, exist_ok=True)
        if at == 0 and path.exists():
            path.replace(path.with_suffix(f".strange-{time.time_ns()}"))
        with path.open("ab") as file:
            file.truncate(at)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    @_alone
    def begin(self, run: str, n: int, own: str) -> None:
        """A worker for the `n`-th engine; where it is there already, it stays. `own`: this node's
        address, at which others find an engine that takes several.

        Raises ConfigError, or LaunchError where another driver's worker does not end.
        """
        if self._worker is not None and self._working_on == (run, n):
            return
        self.end()
        assert self._spec is not None and self._cases is not None
        errand = Errand(
            spec=self._spec,
            cases=self._cases,
            engine=self._prepared(n),
            placed=self._placed(n, 0, own, own),
            journal=self._journal(run, n),
            log=self._log(run, n),
        )
        self._worker, self._working_on = Worker(errand, fetched=True), (run, n)

    def exchange(self, orders: Orders) -> News:
        assert self._worker is not None
        return self._worker.exchange(orders)

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()

    @_alone
    def end(self) -> None:
        """Its worker, and the engine of it; its part of another's."""
        if self._follower is not None:
            self._follower.end()
            self._follower = self._working_on = None
        if self._worker is not None:
            self._worker.stop()
            if not self._worker.join(STOP_S):
                raise LaunchError(f"{self._name}: its worker does not end within {STOP_S:g} s")
            self._worker = self._working_on = None

    @_alone
    def follow(
        self, run: str, n: int, life: str, rank: int, head: str, own: str
    ) -> tuple[str, str]:
        """This node's part of an engine that `head` leads, of that launch of it: the launch, and
        why the part has ended, where it has. Raises LaunchError where it cannot be started."""
        if self._follower is None or self._working_on != (run, n):
            self.end()
            placed = self._placed(n, rank, head, own)
            assert placed is not None
            self._follower = Follower(placed, self._log(run, n))
            self._working_on = run, n
        return life, self._follower.keep(life)

    def log_end(self, run: str, n: int) -> bytes:
        """The last MiB of what its engine has written; nothing where it has not."""
        path = self._log(run, n)
        if not path.exists():
            return b""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return file.read(LOG_BYTES)

    @_alone
    def forget(self, run: str) -> None:
        self.end()
        shutil.rmtree(self._place(run), ignore_errors=True)
        with suppress(OSError):  # others of the same home may not be through
            self._place(run).parent.rmdir()

    @_alone
    def take(self, run: str) -> None:
        """The run's files here are this process's, as soon as no other works on them.

        Raises LaunchError where another still does after a minute.
        """
        if run in self._locks:
            return
        folder = self._place(run)
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() - began > TAKEN_S:
                    os.close(lock)
                    raise LaunchError(f"{folder}: another process still works there") from None
                time.sleep(POLL_S)
                continue
            self._locks[run] = lock
            return

    def _place(self, run: str) -> Path:
        return home() / "shards" / run / self._name

    def _prepared(self, n: int) -> Prepared:
        there = self._engines[n]
        if there.prepared is None:
            raise there.error or ConfigError(f"{there.name}: is not prepared")
        return there.prepared

    def _placed(self, n: int, rank: int, head: str, own: str) -> LoadedPin | None:
        loaded = self._prepared(n).loaded
        if loaded is None or joining.nodes(loaded) == 1:
            return loaded
        return joining.placed(loaded, joining.here(rank, head, own))

    def _log(self, run: str, n: int) -> Path:
        return self._journal(run, n).with_suffix(".log")

    def _journal(self, run: str, n: int) -> Path:
        return self._place(run) / f"{self._prepared(n).file}.jsonl"
