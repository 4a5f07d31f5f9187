"""One run from end to end: what can be refused is refused, then each engine is asked, life by life.

spec -> engines prepared -> the directory -> each engine's lives -> results
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import candidate
from harness.base import atomic
from harness.base.errors import ConfigError, EnginediffError, LaunchError, RequestError
from harness.base.home import home
from harness.candidate import Announce
from harness.client import api_key
from harness.lives import Lives, Prepared
from harness.runs import folder as folders
from harness.runs import metrics, results, status
from harness.runs import report as reports
from harness.runs import spec as specs
from harness.runs.journal import SCHEMA, Journal
from harness.runs.life import End
from harness.runs.plan import Asked, Cases, breaches
from harness.runs.report import Report
from harness.runs.spec import RunSpec
from harness.runs.story import ANSWERED, Story
from harness.runs.watch import Watch
from launchers import contracts
from suites import registry

LEAST_KEY = 8  # characters of a key
BRIEF_JOURNAL = 16 << 20  # bytes that are read in a second or two, also when it is to stop
LONG_JOURNAL = 100 << 20  # whose reading is announced
Show = Callable[[Sequence[Watch]], None]


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
            secret=secret(),
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
