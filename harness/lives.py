"""An engine that is asked, and started again where it has died: one life after another.

A launch, and waiting for it, is ordinary blocking code; only asking is asynchronous, and ends with
the engine's life. The journal and the story that it tells go on from one life to the next.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvloop

from harness import candidate
from harness.base.errors import ConfigError, LaunchError, RequestError
from harness.candidate import Announce, Opened
from harness.runs.asking import Asking
from harness.runs.attempt import Attempts
from harness.runs.engine import Engine
from harness.runs.gate import Gate
from harness.runs.journal import SCHEMA, Journal
from harness.runs.lateness import Lateness
from harness.runs.life import End, live
from harness.runs.pace import Pace
from harness.runs.plan import Cases, Plan, Request
from harness.runs.spec import EngineTable, RunSpec
from harness.runs.story import Story
from harness.runs.transport import Transport
from harness.runs.watch import Watch
from harness.runs.writer import Writer
from launchers.dialect import Chatting
from launchers.pins import LoadedPin
from launchers.registry import launcher

GRACE_S = 5.0  # for an engine to stop by itself: all is to end within 10 s
INTERRUPTED = 130
LONGEST_BACKOFF_S = 60.0
REACH_S = 10.0  # for any answer from an engine that seems to be gone
MODELS = "/v1/models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An engine of the spec, looked at before anything is started."""

    table: EngineTable
    loaded: LoadedPin | None  # None: a URL
    file: str  # what its files are named by
    breaches: tuple[str, ...]  # of its model's sampling contract

    @property
    def title(self) -> str:
        return self.table.name if self.loaded is None else self.loaded.title

    @property
    def hash(self) -> str | None:
        return None if self.loaded is None else self.loaded.hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """An engine that is asked, and started again where it died."""

    spec: RunSpec
    cases: Cases
    engine: Prepared
    secret: str  # the key, which stands in no journal
    log: Path
    journal: Journal
    story: Story
    watch: Watch
    announce: Announce

    def run(self) -> End:
        """DONE or STOPPED; LaunchError or RequestError where the engine is given up."""
        while True:
            end, why = self._life()
            if end in (End.DONE, End.STOPPED):
                self.watch.state = end
                return end
            if end is End.GONE:
                raise RequestError(f"does not answer any more: {why}; the same command goes on")
            if self.watch.restarts >= self.spec.limits.restarts:
                raise LaunchError(f"given up after {self.watch.restarts} restarts: {why}")
            self.watch.restarts += 1
            wait_s = min(LONGEST_BACKOFF_S, 2.0 ** (self.watch.restarts - 1))
            self.watch.state = f"{end}; starting again"
            self.announce(f"{self.engine.title}: {end}; starting it again in {wait_s:g} s")
            time.sleep(wait_s)

    def _life(self) -> tuple[End, str]:
        """How one life of the engine ended, and why. Raises where the first one did not begin."""
        end, gone = None, ""
        table, loaded = self.engine.table, self.engine.loaded
        try:
            with candidate.opened(
                table.name, loaded, log=self.log, announce=self.announce, grace_s=GRACE_S
            ) as opened:
                self._require_same(opened)
                self.watch.state = "running"
                if self.watch.restarts == 0:
                    self.watch.began = time.monotonic()
                end, gone = uvloop.run(self._asked(opened))
        except (LaunchError, RequestError) as error:
            if end is None and self.watch.restarts == 0:
                raise
            return end or End.DIED, str(error)
        return end, gone or f"{end}: see {self.log}"

    async def _asked(self, opened: Opened) -> tuple[End, str]:
        limits = self.spec.limits

        def announce(text: str) -> None:
            self.watch.paused = not writer.has_room
            self.announce(text)

        writer = Writer(self.journal, time.time, announce)
        identity = {"title": opened.title, "identity": opened.identity, "url": opened.url}
        launch_s = {} if opened.launch_seconds is None else {"launch_s": opened.launch_seconds}
        writer.line(
            "opened",
            schema=SCHEMA,
            spec=self.spec.hash,
            engine=self.engine.hash or opened.title,
            **identity,
            **launch_s,
        )
        transport = _transport(self.spec, opened)
        engine = _engine(opened, transport)
        attempts = Attempts(
            engine=engine,
            transport=transport,
            writer=writer,
            limits=limits,
            watch=self.watch,
            secret=self.secret,
        )
        asking = Asking(
            attempts=attempts,
            engine=engine,
            writer=writer,
            story=self.story,
            gate=Gate(Pace(limits.in_flight)),
            limits=limits,
            watch=self.watch,
            lateness=Lateness(),
            rng=random.Random(),
        )
        self.watch.allowed = limits.in_flight
        plan = Plan(self.spec, self.cases, opened.asker.dialect, self.engine.hash or opened.title)
        stop = asyncio.Event()
        try:
            with _stopping(stop, self.announce):
                end = await live(asking, self._left(plan), stop)
        finally:
            await transport.close()
            self.watch.in_flight = 0
        return end, engine.why_gone

    def _left(self, plan: Plan) -> Iterator[Request]:
        """What is under way first, so that little is held in memory; then the rest."""
        begun = list(self.story.begun)
        yield from map(plan.request, begun)
        seen = set(begun)
        for n in plan.order():
            if n not in self.story.over and n not in seen:
                yield plan.request(n)

    def _require_same(self, opened: Opened) -> None:
        """A URL may be another server by now. Raises ConfigError."""
        before = self.story.identity
        if before is not None and before != opened.identity:
            raise ConfigError(
                f"{self.engine.title}: was {before} when this run began, and is "
                f"{opened.identity} now; name another folder for another run"
            )
        self.story.identity = opened.identity


def _engine(opened: Opened, transport: Transport) -> Engine:
    started = opened.process
    ready = MODELS if opened.pin is None else launcher(opened.pin.pin.engine.name).ready_path

    async def reachable() -> bool:
        return await transport.status(ready, REACH_S) is not None

    async def key_refused() -> bool:
        return await transport.status(MODELS, REACH_S) == 401

    dialect = opened.asker.dialect
    return Engine(
        dialect=dialect,
        ends_with_done=isinstance(dialect, Chatting) and dialect.ends_with_done,
        supervised=started is not None,
        alive=(lambda: True) if started is None else started.alive,
        reachable=reachable,
        key_refused=key_refused,
        heard_at=time.monotonic(),
    )


def _transport(spec: RunSpec, opened: Opened) -> Transport:
    if spec.transport == "openai":
        from harness.runs.sdk import Sdk as Chosen
    else:
        from harness.runs.wire import Wire as Chosen
    return Chosen(
        opened.url,
        key=opened.asker.endpoint.key,
        most=spec.limits.in_flight,
    )


@contextmanager
def _stopping(stop: asyncio.Event, announce: Announce) -> Generator[None]:
    """Ctrl-C and SIGTERM set `stop`; a second one ends this process at once, and its guardian the
    engine."""
    loop, asked = asyncio.get_running_loop(), list[int]()

    def stopped(signum: int, frame: FrameType | None) -> None:
        del frame
        if asked:
            os._exit(INTERRUPTED)
        asked.append(signum)
        loop.call_soon_threadsafe(stop.set)
        announce("stopping; what is under way can be gone on with; again to stop at once")

    kept = {name: signal.signal(name, stopped) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in kept.items():
            signal.signal(name, handler)
