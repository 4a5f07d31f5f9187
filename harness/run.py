"""One run from end to end: what can be refused is refused, then each engine is asked, life by life.

    spec -> engines prepared -> the directory -> per engine: launch, ask, start again -> results

A launch, and waiting for it, is ordinary blocking code; only asking is asynchronous, and ends with
the engine's life. The journal and the story that it tells go on from one life to the next.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import re
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop

from harness import candidate
from harness.base import atomic
from harness.base.errors import ConfigError, EnginediffError, LaunchError, RequestError
from harness.base.home import home
from harness.candidate import Announce, Opened
from harness.client import api_key
from harness.runs import folder as folders
from harness.runs import metrics, results, status
from harness.runs import report as reports
from harness.runs import spec as specs
from harness.runs.asking import Asking
from harness.runs.attempt import Attempts
from harness.runs.engine import Engine
from harness.runs.gate import Gate
from harness.runs.journal import SCHEMA, Journal
from harness.runs.lateness import Lateness
from harness.runs.life import End, live
from harness.runs.pace import Pace
from harness.runs.plan import Asked, Cases, Plan, Request, breaches
from harness.runs.report import Report
from harness.runs.spec import EngineTable, RunSpec
from harness.runs.story import ANSWERED, Story
from harness.runs.transport import Transport
from harness.runs.watch import Watch
from harness.runs.writer import Writer
from launchers import contracts
from launchers.dialect import Chatting
from launchers.pins import LoadedPin
from launchers.registry import launcher
from suites import registry

GRACE_S = 5.0  # for an engine to stop by itself: all is to end within 10 s
INTERRUPTED = 130
LONGEST_BACKOFF_S = 60.0
REACH_S = 10.0  # for any answer from an engine that seems to be gone
MODELS = "/v1/models"
LEAST_KEY = 8  # characters of a key
BRIEF_JOURNAL = 16 << 20  # bytes that are read in a second or two, also when it is to stop
LONG_JOURNAL = 100 << 20  # whose reading is announced
Show = Callable[[Sequence[Watch]], None]


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
class Terminal:
    """Where a run tells what goes on."""

    announce: Announce
    show: Show  # once a second


def run(path: Path, chosen: Path | None, port: int, terminal: Terminal) -> Report:
    """Begins the run of a spec, or goes on with it where it is. Raises an EnginediffError.

    `chosen`: its directory; None: one that its hash names. `port`: of /metrics; 0: any free one.
    """
    spec = specs.load(path)
    cases = Cases([_asked(table) for table in spec.suites], spec.epochs)
    engines = [_prepared(spec, cases, n, terminal.announce) for n in range(len(spec.engines))]
    folder = (chosen or folders.place(home() / "runs", path, spec)).absolute()
    watches: list[Watch] = []
    problems: dict[str, EnginediffError] = {}
    stopped = False
    with metrics.served(watches, port) as url, folders.held(folder, path, spec):
        folders.require_same(folder, _provenance(spec, cases, engines))
        terminal.announce(f"run: {folder}; metrics: {url}")
        with status.told(folder, watches, url, terminal.show):
            for engine in engines:
                try:
                    stopped = _run_engine(spec, cases, engine, folder, watches, terminal)
                except (ConfigError, LaunchError, RequestError) as error:
                    watches[-1].state = "given up"
                    problems[engine.title] = error
                    if engine is not engines[-1]:
                        terminal.announce(f"{engine.title}: {error}")
                if stopped:
                    break
        _refuse_all_wrong(engines, problems)
        files = [_files(engine, folder) for engine in engines]
        told = not stopped or sum(_bytes(one.journal) for one in files) < BRIEF_JOURNAL
        rows = [results.gathered(one, cases, folder) for one in files] if told else []
        report = Report(
            folder=folder,
            spec=spec,
            rows=tuple(rows),
            breaches=tuple(breach for engine in engines for breach in engine.breaches),
            problems=tuple(f"{title}: {error}" for title, error in problems.items()),
            stopped=stopped,
            asked=len(cases) * len(engines),
            over=sum(watch.done for watch in watches),
        )
        if told:
            atomic.write_bytes(folder / reports.SUMMARY, reports.to_json(report))
            atomic.write_bytes(folder / reports.PAGE, reports.page(report).encode())
    return report


def _refuse_all_wrong(engines: Sequence[Prepared], problems: Mapping[str, EnginediffError]) -> None:
    """Raises the first ConfigError where no engine could be asked: there are no results of it."""
    wrong = [error for error in problems.values() if isinstance(error, ConfigError)]
    if len(wrong) == len(engines):
        raise wrong[0]


def _asked(table: specs.SuiteTable) -> Asked:
    suite = registry.suite(table.name)
    if table.cases is not None and table.cases > len(suite.tasks):
        raise ConfigError(
            f"suites: {table.name}: cases is {table.cases}; it has {len(suite.tasks)}"
        )
    return Asked(suite=suite, tasks=suite.tasks[: table.cases], continues=table.continues)


def _prepared(spec: RunSpec, cases: Cases, n: int, announce: Announce) -> Prepared:
    table = spec.engines[n]
    loaded = candidate.prepared(table.name, table.changes, announce)
    if loaded is not None and table.contract is not None:
        raise ConfigError(f"engines: {table.name}: contract is a URL's; a pin names its own")
    family = table.contract if loaded is None else loaded.pin.serving.contract
    broken = [] if family is None else breaches(spec, cases.asked, contracts.load(family))
    if broken and spec.override_reason is None:
        raise ConfigError(
            f"{table.name}: the sampling of this run breaks the contract of {family}:\n"
            + "\n".join(f"  {line}" for line in broken)
            + "\nkeep it, or say in override_reason why it is not kept"
        )
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", table.name).strip("-")
    return Prepared(
        table=table, loaded=loaded, file=f"{n + 1}-{word}"[:100], breaches=tuple(broken)
    )


def _provenance(spec: RunSpec, cases: Cases, engines: Sequence[Prepared]) -> dict[str, Any]:
    """What decides the answers and stands in no spec, and what it was done with."""
    decides = {f"suite {one.suite.name}": one.suite.fingerprint for one in cases}
    decides |= {f"pin {one.title}": one.hash for one in engines if one.hash is not None}
    return {
        "schema": folders.SCHEMA,
        "spec": spec.hash,
        "decides": decides,
        "enginediff": version("enginediff"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def secret() -> str:
    """What stands in no file. A word that is so short is no key, and would be hidden in answers."""
    key = api_key()
    return key if len(key) >= LEAST_KEY else ""


def _files(engine: Prepared, folder: Path) -> results.Asked:
    return results.Asked(
        name=engine.file,
        engine=engine.title,
        hash=engine.hash,
        journal=folder / "records" / engine.file / "0.jsonl",
        secret=secret(),
    )


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _run_engine(
    spec: RunSpec,
    cases: Cases,
    engine: Prepared,
    folder: Path,
    watches: list[Watch],
    terminal: Terminal,
) -> bool:
    """Asks one engine until every request is over; whether the user has stopped it before.

    Raises LaunchError or RequestError where the engine is given up.
    """
    watch = Watch(engine=engine.title, total=len(cases))
    watches.append(watch)
    path = _files(engine, folder).journal
    path.parent.mkdir(parents=True, exist_ok=True)
    story = Story()
    if _bytes(path) > LONG_JOURNAL:
        terminal.announce(f"reading {path}, {_bytes(path) / 1e9:.1f} GB")

    def tell(line: dict[str, Any]) -> None:
        if line["kind"] == "opened" and (line["schema"], line["spec"]) != (SCHEMA, spec.hash):
            raise ConfigError(f"{path}: is of schema {line['schema']}, spec {line['spec']}")
        story.tell(line)

    with Journal(path, tell) as journal:
        _tell_found(watch, story, terminal.announce)
        if len(story.over) == len(cases):
            watch.state = "done"
            return False
        lives = Lives(
            spec=spec,
            cases=cases,
            engine=engine,
            log=folder / "logs" / f"{engine.file}.log",
            journal=journal,
            story=story,
            watch=watch,
            announce=terminal.announce,
        )
        return lives.run() is End.STOPPED


def _tell_found(watch: Watch, story: Story, announce: Announce) -> None:
    """Of a run that goes on."""
    watch.outcomes.update(story.over.values())
    watch.found = len(story.over)
    if not story.over and not story.begun:
        return
    whole = sum(one.answer.done for one in story.begun.values())
    cut = sum(one.answer.safe > 0 and not one.answer.done for one in story.begun.values())
    announce(
        f"found of {watch.engine}: {watch.outcomes[ANSWERED]} of {watch.total} answered, "
        f"{watch.failed} failed, {len(story.begun)} under way, of which {whole} are whole and "
        f"{cut} can be gone on with"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """An engine that is asked, and started again where it died."""

    spec: RunSpec
    cases: Cases
    engine: Prepared
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
            secret=secret(),
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
