"""A node that answers without an engine: real journal lines, a real feed, and what goes wrong with
nodes as it is asked for. Beside it, what a turn over made-up suites needs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, MutableMapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.base.errors import EnginediffError
from harness.nodes.node import LostError, SilentError
from harness.nodes.prepared import Prepared
from harness.nodes.turn import Turn
from harness.nodes.worker import News, Orders
from harness.runs import journal
from harness.runs.expected import Expected
from harness.runs.feed import Feed
from harness.runs.journal import SCHEMA, Journal, NoRoomError
from harness.runs.life import End
from harness.runs.plan import Cases
from harness.runs.shard import Shard
from harness.runs.spec import EngineTable
from harness.runs.story import Story
from harness.runs.watch import Watch
from tests.harness.runs.made_up import SPEC

IDENTITY = {"version": "1"}
FETCHED_BYTES = 700  # two or three lines, so that news come in pieces


def engine(n: int = 0) -> Prepared:
    """A URL."""
    table = EngineTable(name=f"http://127.0.0.1:{n + 1}")
    return Prepared(table=table, loaded=None, file=f"{n + 1}-e", breaches=())


def no_room(error: NoRoomError) -> None:
    raise error


def turn(
    folder: Path,
    cases: Cases,
    fetched: Mapping[str, bool],
    *,
    n: int = 0,
    expected: Expected | None = None,
    homes: MutableMapping[int, str] | None = None,
) -> Turn:
    return Turn(
        SPEC,
        cases,
        engine(n),
        n,
        folder,
        fetched=fetched,
        expected=expected or Expected(cases),
        homes={} if homes is None else homes,
        full=no_room,
    )


class FakeWorker:
    """As `harness.nodes.worker.Worker`, but it begins and ends what it is told to."""

    def __init__(self, path: Path, *, fetched: bool, slots: int, identity: Any = IDENTITY) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.fetched, self.slots = path, fetched, slots
        self.story, self.feed = Story(), Feed()
        self.journal = Journal(path, self.story.tell)
        self.closed, self.number = False, 0
        self.end: End | None = None
        self.problem: EnginediffError | None = None
        self.watch = Watch(engine="e", total=0, state="running", allowed=slots)
        self.asked: list[int] = []
        opened = {"schema": SCHEMA, "spec": SPEC.hash, "engine": "e", "identity": identity}
        self._write({"kind": "opened", **opened})

    def exchange(self, orders: Orders) -> News:
        if orders.number >= self.number:
            self.number = orders.number
            self.feed.keep(orders.keep, closed=orders.closed)
            self.closed = orders.closed
        end = self.end
        unbegun, begun = self.feed.held(self.story.over)
        begun += [n for n in (*orders.keep, *orders.recalled) if n in self.story.over]
        size = self.journal.size
        return News(
            lines=self._lines(orders.have, size) if self.fetched else b"",
            size=size,
            unbegun=tuple(unbegun),
            begun=tuple(begun),
            room=max(0, self.slots + 1 - len(unbegun) - len(begun)),
            watch=deepcopy(self.watch),
            life="0",
            now=time.monotonic(),
            said=(),
            end=end,
            problem=self.problem,
            bug=None,
        )

    def held(self) -> tuple[list[int], list[int]]:
        """What is not begun, and what is and not over."""
        return self.feed.held(self.story.over)

    def begin(self) -> int | None:
        """The next of its feed, if there is one and a slot for it."""
        unbegun, begun = self.held()
        if not unbegun or len(begun) >= self.slots:
            return None
        waiting = self.feed.next()
        try:
            waiting.send(None)
        except StopIteration as done:
            n: int = done.value
        else:
            raise AssertionError("a feed that holds something waits")
        if n in self.story.over:
            return None
        attempt = self.story.begun[n].attempts + 1 if n in self.story.begun else 1
        self.asked.append(n)
        self._write({"kind": "sent", "n": n, "attempt": attempt, "from": 0})
        return n

    def over(self, n: int, outcome: str = "answered") -> None:
        """One that was begun; its right answer."""
        part = {"content": f"t{n}", "finish_reason": "stop", "done": True}
        end: dict[str, Any] = {"kind": "ended", "n": n, "attempt": 1, "outcome": outcome}
        more = {"tokens": 10 + n} if outcome == "answered" else {"why": "..."}
        self._write({"kind": "parts", "parts": [[n, part]]}, {**end, "final": True, **more})

    def ended(self, end: End, problem: EnginediffError | None = None) -> None:
        self.problem, self.end = problem, end
        self.journal.close()

    def finish(self) -> bool:
        """Whether it has nothing to do, and will not have: it ends then."""
        if self.end is None and self.closed and self.held() == ([], []):
            self.ended(End.DONE)
        return self.end is not None

    def _write(self, *lines: Mapping[str, Any]) -> None:
        self.journal.write(lines)
        for line in lines:
            self.story.tell(line)

    def _lines(self, have: int, size: int) -> bytes:
        behind = self.path.read_bytes()[have:size]
        whole = behind[: behind.rfind(b"\n", 0, FETCHED_BYTES) + 1]
        return whole or behind[: behind.find(b"\n") + 1]


def restored(path: Path, shard: Shard) -> None:
    """As `remote.Remote.begin` does it: a journal that is not what is had of it becomes that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    short = path.stat().st_size < shard.size
    if shard.size and (short or journal.chain_at(path, shard.size) != shard.chain):
        path.write_bytes(shard.path.read_bytes()[: shard.size])


@dataclass(kw_only=True)
class FakeNode:
    """A node with a thread of its own, which asks one request after the other.

    Each trouble comes when so many requests are over there: it is `lost` (an exchange raises, its
    worker is gone), and away when it is asked for so many times; `silent` for so many exchanges,
    working on. `problems`: of engines that do not start, by file. `delivers_late`: orders of before
    come once more, behind newer ones.
    """

    name: str
    folder: Path
    fetched: bool = True
    slots: int = 2
    answer_s: float = 0.001
    lost_at: tuple[int, ...] = ()
    away_for: int = 0
    silent_at: tuple[int, ...] = ()
    silent_for: int = 30
    problems: Mapping[str, EnginediffError] = field(default_factory=dict[str, EnginediffError])
    refused: EnginediffError | None = None  # raised when one is to begin
    identity: Any = field(default_factory=lambda: IDENTITY)
    delivers_late: bool = False
    away: bool = False
    begun: list[str] = field(default_factory=list[str])  # engines, by file
    answered: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    forgot: bool = False
    closed: int = 0
    worker: FakeWorker | None = None
    _file: str = ""
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None
    _done: int = 0  # requests that are over here
    _away: int = 0
    _silent: int = 0
    _before: Orders | None = None

    def present(self) -> bool:
        self._away -= 1
        return not self.away and self._away < 0

    def enter(self, run: str) -> None:
        del run

    def begin(self, engine: Prepared, n: int, shard: Shard) -> None:
        del n
        if self.refused is not None:
            raise self.refused
        self.begun.append(engine.file)
        path = shard.path
        if self.fetched:
            path = self.folder / self.name / f"{engine.file}.jsonl"
            restored(path, shard)
        self._file, self._before = engine.file, None
        self.worker = FakeWorker(
            path, fetched=self.fetched, slots=self.slots, identity=self.identity
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def exchange(self, orders: Orders) -> News:
        if self._silent:
            self._silent -= 1
            time.sleep(0.002)
            raise SilentError(f"{self.name}: no word")
        with self._lock:
            if self.worker is None:
                raise LostError(f"{self.name}: died")
            news = self.worker.exchange(orders)
            if self.delivers_late and self._before is not None and self.worker.end is None:
                self.worker.exchange(self._before)
            self._before = orders
            return news

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self.closed += 1
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
        with self._lock:
            if self.worker is not None:
                self.worker.journal.close()
            self.worker = None

    def forget(self, folder: Path, files: Sequence[str]) -> bool:
        del folder, files
        self.forgot = True
        return True

    def _work(self) -> None:
        while not self._stop.wait(self.answer_s):
            with self._lock:
                worker = self.worker
                assert worker is not None
                if worker.finish():
                    return
                if self._file in self.problems:
                    worker.ended(End.GONE, self.problems[self._file])
                    return
                self._step(worker)
                if self.worker is None:
                    return
        with self._lock:
            if self.worker is not None and self.worker.end is None:
                self.worker.ended(End.STOPPED)

    def _step(self, worker: FakeWorker) -> None:
        while worker.begin() is not None:
            pass
        _, begun = worker.held()
        if not begun:
            return
        worker.over(begun[0])
        self.answered.append((self._file, begun[0]))
        self._done += 1
        if self._done in self.silent_at:
            self._silent = self.silent_for
        if self._done in self.lost_at:
            worker.journal.close()
            self.worker = None
            self._away = self.away_for
