"""What a run came to, for a reader: JSON, and the same in a page of plain text. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from harness.runs.results import EngineRow, SuiteRow
from harness.runs.spec import RunSpec

SCHEMA = 1
SUMMARY, PAGE = "summary.json", "report.md"
LATE_S = 1.0  # from here on a reader of times is warned


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run came to."""

    folder: Path
    spec: RunSpec
    rows: tuple[EngineRow, ...]
    breaches: tuple[str, ...]  # of a model's sampling contract
    problems: tuple[str, ...]  # why an engine was given up
    stopped: bool  # by the user: then long journals are not read, and there are no `rows`
    asked: int  # requests of all engines
    over: int

    @property
    def complete(self) -> bool:
        """Every request is over."""
        return self.over == self.asked

    @property
    def answered(self) -> bool:
        """And every one is answered."""
        return not self.stopped and all(row.answered == row.asked for row in self.rows)


def to_json(report: Report) -> bytes:
    """One object on one line."""
    table = {
        "schema": SCHEMA,
        "run": str(report.folder),
        "spec": report.spec.hash,
        "complete": report.complete,
        "stopped": report.stopped,
        "override_reason": report.spec.override_reason,
        "breaches": report.breaches,
        "problems": report.problems,
        "engines": [asdict(row) for row in report.rows],
    }
    return orjson.dumps(table) + b"\n"


def lines(report: Report) -> Iterator[str]:
    """In plain text: what is missing first, then a line for each suite of each engine."""
    if not report.complete:
        yield (
            f"INCOMPLETE: {report.over} of {report.asked} requests are over; the same command "
            "goes on"
        )
    for problem in report.problems:
        yield f"given up: {problem}"
    if report.breaches:
        yield f"outside the model's sampling contract, because: {report.spec.override_reason}"
        yield from (f"  {breach}" for breach in report.breaches)
    for row in report.rows:
        yield f"{row.engine}: {row.answered} of {row.asked} answered"
        yield from (f"  {_suite(suite)}" for suite in row.suites)
        yield f"  {_account(row)}"
        if len(row.nodes) > 1:
            yield f"  {_places(row)}"


def page(report: Report) -> str:
    """Markdown."""
    title = f"# {report.folder.name}\n\nspec {report.spec.hash}\n\n"
    return title + "".join(f"    {line}\n" for text in lines(report) for line in text.split("\n"))


def _suite(row: SuiteRow) -> str:
    if row.score is None or row.low is None or row.high is None:
        return f"{row.suite}: no data"
    text = (
        f"{row.suite}: {row.score:.3f} ({row.low:.3f} to {row.high:.3f}), "
        f"{row.points:g} of {row.over}"
    )
    if row.over < row.asked:
        text += f", {row.asked - row.over} not asked yet"
    if row.failed:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(row.failed.items()))
        text += f", {sum(row.failed.values())} failed and counted as not right ({kinds})"
    return text


def _places(row: EngineRow) -> str:
    text = ", ".join(f"{count} on {node}" for node, count in row.nodes.items())
    if row.paired is not None:
        text += f"; {row.paired} on the same node as with the first engine"
    if row.again:
        text += f"; {row.again} were answered twice, and the first answer counts"
    return text


def _account(row: EngineRow) -> str:
    text = (
        f"{row.attempts} attempts, {row.continued} answers continued, {row.prompt_tokens:,} + "
        f"{row.completion_tokens:,} tokens"
    )
    if row.late_worst_s >= LATE_S:
        text += f"; we were {row.late_worst_s:.1f} s late at worst: read times with care"
    return text
