"""One run from end to end: what can be refused is refused, then each engine is asked on every node.

spec -> nodes -> engines prepared there -> the directory -> the lead -> results
"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base import atomic
from harness.base.errors import ConfigError
from harness.base.home import home
from harness.candidate import Announce
from harness.nodes import prepared, survey
from harness.nodes.lead import Lead
from harness.nodes.node import Here, Node
from harness.nodes.prepared import Prepared, secret
from harness.nodes.stop import Stop
from harness.nodes.survey import Facts
from harness.nodes.turn import Turn
from harness.runs import folder as folders
from harness.runs import metrics, results, status
from harness.runs import report as reports
from harness.runs import spec as specs
from harness.runs.expected import Expected
from harness.runs.plan import Cases
from harness.runs.report import Report
from harness.runs.spec import LOCAL, RunSpec
from harness.runs.story import ANSWERED
from harness.runs.watch import Watch
from launchers import joining

if TYPE_CHECKING:
    from harness.nodes.remote import Remote

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
    cases = prepared.cases(spec)
    folder = (chosen or folders.place(home() / "runs", path, spec)).absolute()
    stop = Stop(terminal.announce)
    leads = list[Lead]()
    with (
        _nodes(spec, cases, folder, stop, terminal.announce) as (nodes, engines, facts),
        metrics.served(lambda: [w for lead in leads for w in lead.watches()], port) as url,
        folders.held(folder, path, spec),
        ExitStack() as opened,
    ):
        run_id = folders.require_same(folder, _provenance(spec, cases, engines, facts()))
        for node in nodes:
            node.enter(run_id)
        _announce_long(folder, terminal.announce)
        turns = list[Turn]()
        for engine in engines:
            turns.append(_turn(spec, cases, engine, nodes, folder, turns, stop))
            opened.callback(turns[-1].close)
        lead = Lead(turns, nodes, spec.limits.restarts, stop, terminal.announce)
        leads.append(lead)
        terminal.announce(f"run: {folder}; metrics: {url}")
        for turn in turns:
            _tell_found(turn, terminal.announce)
        with status.told(folder, lead.watches, url, terminal.show):
            stopped = lead.run()
        _refuse_all_wrong(turns, len(nodes))
        report = _report(spec, cases, turns, folder, stopped=stopped)
        if not any(turn.left for turn in turns):
            _forget(turns, nodes, folder, terminal.announce)
        return report


def _forget(turns: Sequence[Turn], nodes: Sequence[Node], folder: Path, announce: Announce) -> None:
    """What nodes have kept of a run that is over is not needed any more."""
    for turn in turns:
        turn.sync()
    files = [turn.engine.file for turn in turns]
    for node in nodes:
        if not node.forget(folder / "logs", files):
            announce(f"{node.name}: cannot be reached; what it kept of the run stays there")


@contextmanager
def _nodes(
    spec: RunSpec, cases: Cases, folder: Path, stop: Stop, announce: Announce
) -> Generator[tuple[Sequence[Node], Sequence[Prepared], Callable[[], Mapping[str, Facts]]]]:
    """Where a spec's engines are asked; these as they are there, the same on all nodes; and what
    each machine is."""
    if spec.nodes == (LOCAL,):
        engines = [prepared.engine(spec, cases, n, announce) for n in range(len(spec.engines))]
        yield [Here(spec=spec, cases=cases, folder=folder)], engines, _own_facts
        return
    from harness.nodes import cluster  # Ray is an extra, and takes a second

    begun = (folder / folders.PROVENANCE).exists()
    announce("joining the Ray cluster")
    with cluster.opened(spec.nodes, stop.is_set, away=begun) as servers:
        present = [server for server in servers if server.present()]
        announce(f"looking at {', '.join(server.name for server in present)}")
        surveys = cluster.surveyed(present, spec, stop.set, announce)
        survey.require_agreed(surveys, survey.needed_gb(spec, len(cases), len(servers)), announce)
        for server in servers:
            if server not in present:
                server.expect(surveys[0], spec)
        engines = [one.prepared for one in surveys[0].engines if one.prepared is not None]
        yield _places(servers, engines), engines, lambda: {one.node: one.facts for one in surveys}


def _own_facts() -> Mapping[str, Facts]:
    return {LOCAL: survey.facts()}


def _places(servers: Sequence[Remote], engines: Sequence[Prepared]) -> Sequence[Node]:
    """One for each server, or for as many as an engine takes. Raises ConfigError."""
    from harness.nodes.joined import Joined

    takes = {one.title: 1 if one.loaded is None else joining.nodes(one.loaded) for one in engines}
    size = max(takes.values())
    if set(takes.values()) != {size}:
        raise ConfigError(
            "engines: "
            + ", ".join(f"{title} takes {count}" for title, count in takes.items())
            + "; the engines of a run must take equally many nodes: make two specs of it"
        )
    if len(servers) % size:
        raise ConfigError(
            f"nodes: there are {len(servers)}, and each engine takes {size} of them together"
        )
    if size == 1:
        return servers
    return [Joined(servers[n : n + size]) for n in range(0, len(servers), size)]


def _turn(
    spec: RunSpec,
    cases: Cases,
    engine: Prepared,
    nodes: Sequence[Node],
    folder: Path,
    before: Sequence[Turn],
    stop: Stop,
) -> Turn:
    """`before`: the engines whose requests it is to be asked where they were."""
    return Turn(
        spec,
        cases,
        engine,
        len(before),
        folder,
        fetched={node.name: node.fetched for node in nodes},
        expected=before[0].expected if before else Expected(cases),
        homes=before[0].homes if before else {},
        full=stop.full,
    )


def _report(
    spec: RunSpec, cases: Cases, turns: Sequence[Turn], folder: Path, *, stopped: bool
) -> Report:
    """Of a run that was stopped without the results, where these take long to be read."""
    told = not stopped or _journals(folder) < BRIEF_JOURNAL
    rows = [results.gathered(_asked(turn), cases, folder) for turn in turns] if told else []
    for row, turn in zip(rows, turns, strict=False):
        row.again = turn.again
        row.paired = turn.paired(turns[0]) if turn is not turns[0] else None
    report = Report(
        folder=folder,
        spec=spec,
        rows=tuple(rows),
        breaches=tuple(breach for turn in turns for breach in turn.engine.breaches),
        problems=tuple(f"{turn.title}{at}: {error}" for turn, at, error in _problems(turns)),
        stopped=stopped,
        asked=len(cases) * len(turns),
        over=sum(turn.outcomes.total() for turn in turns),
    )
    if told:
        atomic.write_bytes(folder / reports.SUMMARY, reports.to_json(report))
        atomic.write_bytes(folder / reports.PAGE, reports.page(report).encode())
    return report


def _problems(turns: Sequence[Turn]) -> Iterator[tuple[Turn, str, Exception]]:
    """Engines that were given up, on which node where there are several, and why."""
    for turn in turns:
        for node, error in turn.given_up.items():
            yield turn, "" if node == LOCAL else f" on {node}", error


def _refuse_all_wrong(turns: Sequence[Turn], nodes: int) -> None:
    """Raises the first ConfigError where no engine could be asked on any node: there are no
    results of it."""
    wrong = [
        [error for error in turn.given_up.values() if isinstance(error, ConfigError)]
        for turn in turns
    ]
    if all(len(errors) == nodes for errors in wrong):
        raise wrong[0][0]


def _provenance(
    spec: RunSpec, cases: Cases, engines: Sequence[Prepared], facts: Mapping[str, Facts]
) -> dict[str, Any]:
    """What decides the answers and stands in no spec, and what it was done with."""
    decides = {f"suite {one.suite.name}": one.suite.fingerprint for one in cases}
    decides |= {f"pin {one.title}": one.hash for one in engines if one.hash is not None}
    return {
        "schema": folders.SCHEMA,
        "run": uuid.uuid4().hex,
        "spec": spec.hash,
        "decides": decides,
        "machine": platform.machine(),
        "nodes": {node: asdict(one) for node, one in facts.items()},
    }


def _asked(turn: Turn) -> results.Asked:
    return results.Asked(
        name=turn.engine.file,
        engine=turn.title,
        hash=turn.engine.hash,
        journals=turn.journals(),
        counted=turn.counted,
        secret=secret(),
    )


def _journals(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "records").glob("*/*.jsonl"))


def _announce_long(folder: Path, announce: Announce) -> None:
    if (size := _journals(folder)) > LONG_JOURNAL:
        announce(f"reading {folder / 'records'}, {size / 1e9:.1f} GB")


def _tell_found(turn: Turn, announce: Announce) -> None:
    """Of a run that goes on."""
    if turn.found:
        answered = turn.outcomes[ANSWERED]
        announce(
            f"found of {turn.title}: {answered} of {turn.total} answered, "
            f"{turn.found - answered} failed"
        )
