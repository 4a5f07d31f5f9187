"""An engine that is asked, and started again where it has died: one life after another.

A launch, and waiting for it, is ordinary blocking code; only asking is asynchronous, and ends with
the engine's life. The journal and the story that it tells go on from one life to the next.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from harness import candidate, gateway, ports
from harness.base.errors import ConfigError, EnginediffError, LaunchError, RequestError
from harness.candidate import Announce, Opened
from harness.nodes.prepared import Prepared
from harness.runs import power
from harness.runs.asking import Asking
from harness.runs.attempt import Attempts
from harness.runs.engine import Engine
from harness.runs.feed import Feed
from harness.runs.gate import Gate
from harness.runs.journal import SCHEMA, Journal
from harness.runs.lateness import Lateness
from harness.runs.life import End, live
from harness.runs.pace import Pace
from harness.runs.plan import Cases, Plan, Request
from harness.runs.spec import RunSpec
from harness.runs.story import Story
from harness.runs.transport import Transport
from harness.runs.watch import Watch
from harness.runs.writer import Writer
from hw_profiles import nvml
from launchers import contracts
from launchers.dialect import Chatting
from launchers.pins import LoadedPin
from launchers.registry import launcher

GRACE_S = 5.0  # for an engine to stop by itself: all is to end within 10 s
LONGEST_BACKOFF_S = 60.0
REACH_S = 10.0  # for any answer from an engine that seems to be gone
MODELS = "/v1/models"
LOOPBACK = "127.0.0.1"


class StoppedError(EnginediffError):
    """A launch was ended because the run is; no fault of the engine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """An engine that is asked, and started again where it died."""

    spec: RunSpec
    cases: Cases
    engine: Prepared
    placed: LoadedPin | None  # the pin, as this node starts it; None: a URL
    secret: str  # the key, which stands in no journal
    log: Path
    journal: Journal
    story: Story
    feed: Feed
    watch: Watch
    fallen: Callable[[], str]  # why another node's part of this launch ended; nothing: it did not
    announce: Announce

    def run(self) -> End:
        """DONE or STOPPED; LaunchError or RequestError where the engine is given up."""
        fruitless = 0  # lives, one after the other
        while True:
            done = self.watch.done
            end, why = self._life()
            fruitless = 0 if self.watch.done > done else fruitless + 1
            if end in (End.DONE, End.STOPPED):
                self.watch.state = end
                return end
            if end is End.GONE:
                raise RequestError(f"does not answer any more: {why}; the same command goes on")
            if self.watch.restarts >= self.spec.limits.restarts:
                raise LaunchError(f"given up after {self.watch.restarts} restarts: {why}")
            self.watch.restarts += 1
            wait_s = min(LONGEST_BACKOFF_S, 2.0**fruitless)
            self.watch.state = f"{end}; starting again"
            self.announce(f"{self.engine.title}: {end}; starting it again in {wait_s:g} s")
            if self.feed.stopped.wait(wait_s):
                return End.STOPPED

    def _life(self) -> tuple[End, str]:
        """How one life of the engine ended, and why. Raises where the first one did not begin."""
        end, gone = None, ""
        try:
            with (
                candidate.opened(
                    self.engine.table.name,
                    self.placed,
                    log=self.log,
                    announce=self.announce,
                    grace_s=GRACE_S,
                    proceed=self._require_going_on,
                ) as launched,
                self._held(launched) as opened,
            ):
                self._require_same(opened)
                self.watch.state = "running"
                if self.watch.restarts == 0:
                    self.watch.began = time.monotonic()
                end, gone = uvloop.run(self._asked(opened))
        except StoppedError:
            return End.STOPPED, ""
        except (LaunchError, RequestError) as error:
            if end is None and self.watch.restarts == 0:
                raise
            return end or End.DIED, str(error)
        return end, gone or self.fallen() or f"{end}: see {self.log}"

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
        engine = _engine(opened, transport, self.fallen)
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
        try:
            with self.feed.bound() as stop, _metered(opened, writer):
                end = await live(asking, _Fed(self.feed, plan, self.story), stop)
        finally:
            await transport.close()
            self.watch.in_flight = 0
        return end, engine.why_gone

    @contextmanager
    def _held(self, opened: Opened) -> Generator[Opened]:
        """The same, behind the gateway of its contract where it is to be asked there."""
        if not self.engine.table.enforce:
            yield opened
            return
        assert self.placed is not None and self.placed.pin.serving.contract is not None
        contract = contracts.load(self.placed.pin.serving.contract)
        with (
            ports.bound(LOOPBACK, None) as listener,
            gateway.running(listener, engine=opened.url, contract=contract),
        ):
            yield replace(opened, url=ports.url(LOOPBACK, listener.getsockname()[1]))

    def _require_going_on(self) -> None:
        if self.feed.stopped.is_set() or self.feed.drained:
            raise StoppedError("stopped")
        if why := self.fallen():
            raise LaunchError(why)

    def _require_same(self, opened: Opened) -> None:
        """A URL may be another server by now. Raises ConfigError."""
        before = self.story.identity
        if before is not None and before != opened.identity:
            raise ConfigError(
                f"{self.engine.title}: was {before} when this run began, and is "
                f"{opened.identity} now; name another folder for another run"
            )
        self.story.identity = opened.identity


@contextmanager
def _metered(opened: Opened, writer: Writer) -> Generator[None]:
    """Samples the power of this node's GPUs, where an engine of ours has them."""
    with nvml.metered() as read:
        if opened.process is None or not read:
            yield
            return
        sampling = asyncio.create_task(power.sample(writer, read))
        try:
            yield
        finally:
            sampling.cancel()


class _Fed:
    """The requests that a feed's numbers stand for."""

    def __init__(self, feed: Feed, plan: Plan, story: Story) -> None:
        self._feed, self._plan, self._story = feed, plan, story

    def __aiter__(self) -> _Fed:
        return self

    async def __anext__(self) -> Request:
        while (n := await self._feed.next()) is not None:
            if n not in self._story.over:  # its end is written, and not known to all yet
                return self._plan.request(n)
        raise StopAsyncIteration


def _engine(opened: Opened, transport: Transport, fallen: Callable[[], str]) -> Engine:
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
        alive=(lambda: True) if started is None else lambda: started.alive() and not fallen(),
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
