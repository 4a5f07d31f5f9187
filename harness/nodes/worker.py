"""One engine on one node, asked what its feed holds, its records in a journal of the node's own.

Whoever leads the run talks to it by `exchange` alone: orders go in, news come out, and each says
all of it again, so that an exchange that was lost is made good by the next one (what is said to
the user aside). What was written is fetched by its place in the journal, which stays until nobody
needs it any more.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections import deque
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import ConfigError, EnginediffError
from harness.nodes.lives import Lives
from harness.nodes.prepared import Prepared, secret
from harness.runs.feed import Feed
from harness.runs.journal import SCHEMA, Journal
from harness.runs.life import End
from harness.runs.plan import Cases
from harness.runs.spec import RunSpec
from harness.runs.story import ANSWERED, Story
from harness.runs.watch import Watch
from launchers.pins import LoadedPin

FETCHED_BYTES = 4 << 20  # of a journal, in one exchange
AHEAD_S = 1.0  # so long must what is given, and not begun, last
SAID = 200  # lines that wait to be told; the oldest are forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a worker is to do."""

    keep: tuple[int, ...]  # all that it is to ask and is not over, in this order
    recalled: tuple[int, ...]  # what it had, and is to give back if it has not begun it
    closed: bool  # no more will come
    have: int  # bytes of its journal that are safe elsewhere
    number: int = 0  # counts up; what comes behind later ones is not heeded
    fallen: tuple[str, str] | None = None  # a launch of which another node's part ended, and why


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """How a worker stands."""

    lines: bytes  # of its journal, whole ones, behind what was had
    size: int  # of its journal's whole lines
    unbegun: tuple[int, ...]
    begun: tuple[int, ...]  # those of `recalled` too that are over
    room: int  # for how many more there is
    watch: Watch
    life: str  # of its engine: which launch of which worker
    now: float  # of its time.monotonic
    said: tuple[str, ...]  # to the user
    end: End | None  # None: it works
    problem: Exception | None  # why it ended: an EnginediffError, or the machine's
    bug: str | None  # a traceback, where that was a bug of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One engine of a run on one node."""

    spec: RunSpec
    cases: Cases
    engine: Prepared
    placed: LoadedPin | None  # its pin, as this node starts it; None: a URL
    journal: Path
    log: Path


class Worker:
    """Begun when it is made; `stop` it, and `join` it before its journal is another's."""

    def __init__(self, errand: Errand, *, fetched: bool) -> None:
        """`fetched`: whether its lines are handed out; else its journal is where they are needed.

        Raises ConfigError where the journal is not this run's, or is broken.
        """
        self._errand, self._fetched = errand, fetched
        self._feed, self._story = Feed(), Story()
        self._watch = Watch(engine=errand.engine.title, total=len(errand.cases))
        self._said: deque[str] = deque(maxlen=SAID)
        self._began_ns = time.time_ns()
        self._fallen: tuple[str, str] | None = None
        self._number = 0  # of the orders that are heeded
        self._end: End | None = None
        self._problem: Exception | None = None
        self._bug: str | None = None
        errand.journal.parent.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(errand.journal, self._tell)
        self._tell_found()
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._thread.start()

    def exchange(self, orders: Orders) -> News:
        """May be repeated with the same orders. From any thread."""
        if orders.number >= self._number:
            self._number = orders.number
            self._feed.keep(orders.keep, closed=orders.closed)
            self._fallen = orders.fallen
        end = self._end  # read first: what was written before it is in the journal then
        size = self._journal.size
        over = self._story.over
        unbegun, begun = self._feed.held(over)
        room = self._room(len(unbegun), len(begun))
        begun += [n for n in (*orders.keep, *orders.recalled) if n in over]  # not yet told of
        return News(
            lines=self._lines(orders.have, size) if self._fetched else b"",
            size=size,
            unbegun=tuple(unbegun),
            begun=tuple(begun),
            room=room,
            watch=deepcopy(self._watch),
            life=self._life(),
            now=time.monotonic(),
            said=self._told(),
            end=end,
            problem=self._problem,
            bug=self._bug,
        )

    def stop(self) -> None:
        """Its engine is stopped; what is under way can be gone on with."""
        self._feed.stop()

    def join(self, within_s: float) -> bool:
        """Whether it has ended."""
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        errand = self._errand
        lives = Lives(
            spec=errand.spec,
            cases=errand.cases,
            engine=errand.engine,
            placed=errand.placed,
            secret=secret(),
            log=errand.log,
            journal=self._journal,
            story=self._story,
            feed=self._feed,
            watch=self._watch,
            fallen=self._why_fallen,
            announce=self._said.append,
        )
        end = End.GONE
        try:
            end = lives.run()
        except (EnginediffError, OSError) as error:
            self._problem = error
        except Exception:  # noqa: BLE001 - the edge of a node: it has to reach whoever leads
            self._bug = traceback.format_exc()
        finally:
            self._journal.close()
            self._end = end

    def _life(self) -> str:
        return f"{self._began_ns}-{self._watch.restarts}"

    def _why_fallen(self) -> str:
        """Why the present launch is over though its own process may run; nothing: it is not."""
        life, why = self._fallen or ("", "")
        return why if life == self._life() else ""

    def _tell_found(self) -> None:
        """Of a run that goes on."""
        begun = [one.answer for one in self._story.begun.values()]
        if begun:
            whole = sum(answer.done for answer in begun)
            cut = sum(answer.safe > 0 and not answer.done for answer in begun)
            self._said.append(
                f"{self._errand.engine.title}: of {len(begun)} that were under way, {whole} are "
                f"whole and {cut} can be gone on with"
            )

    def _tell(self, line: dict[str, Any]) -> None:
        known = SCHEMA, self._errand.spec.hash
        if line["kind"] == "opened" and (line["schema"], line["spec"]) != known:
            raise ConfigError(
                f"{self._errand.journal}: is of schema {line['schema']}, spec {line['spec']}"
            )
        self._story.tell(line)

    def _lines(self, have: int, size: int) -> bytes:
        if have >= size:
            return b""
        with self._errand.journal.open("rb") as file:
            data = os.pread(file.fileno(), min(FETCHED_BYTES, size - have), have)
        whole = data[: data.rfind(b"\n") + 1]
        if whole:
            return whole
        with self._errand.journal.open("rb") as file:  # one line that is longer
            file.seek(have)
            return file.readline()

    def _room(self, unbegun: int, begun: int) -> int:
        """As many as can be begun now, and as will be within a second as fast as they end."""
        watch = self._watch
        if not watch.allowed:
            return 0  # it loads
        # What fails ends fast: that earns nothing.
        ended = watch.outcomes[ANSWERED] / max(1.0, time.monotonic() - watch.began)
        return max(0, watch.allowed + round(AHEAD_S * ended) - unbegun - begun)

    def _told(self) -> tuple[str, ...]:
        told: list[str] = []
        with suppress(IndexError):  # another exchange may tell the rest
            while True:
                told.append(self._said.popleft())
        return tuple(told)
