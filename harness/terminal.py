"""What a person sees in the terminal: progress on stderr, the verdict on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness import comparison
from harness.checker.narrowed import Effect
from harness.checker.outcome import LevelResult, StatisticRow, Word
from harness.comparison import Comparison, Row
from harness.report import issue_text
from harness.report.text import readable
from harness.verdict import Verdict, to_json
from launchers.capabilities import TITLES

COLOURS = {Word.EQUIVALENT: "green", Word.DIFFERENT: "red", Word.INCONCLUSIVE: "yellow"}
PLAIN_LINE_EVERY_S = 2.0
LIKELY = 3  # causes that the terminal names
LEGEND = """\
  each as a multiple of its tolerance: A mean |d|, K divergence, F decisive flips,
  S bad sequences; = shows EQUIVALENT, ! above its tolerance, ? undecided"""


def plain(text: str) -> str:
    """A text that nobody here wrote, for rich: no markup, no escape sequence, nothing invisible."""
    return escape(readable(text))


@contextmanager
def announcing() -> Generator[Callable[[str], None]]:
    """A live line on a terminal; a line now and then where stderr is a file or a pipe."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with console.status("") as status:
            began = time.monotonic()

            def update(text: str) -> None:
                status.update(f"{time.monotonic() - began:4.0f} s  {plain(text)}")

            yield update
        return
    last = [-PLAIN_LINE_EVERY_S, ""]

    def line(text: str) -> None:
        # The head of a message says what goes on; its numbers alone need no line each.
        now, head = time.monotonic(), text.split(":")[0]
        if head != last[1] or now - float(last[0]) >= PLAIN_LINE_EVERY_S:
            print(readable(text), file=sys.stderr, flush=True)
            last[:] = [now, head]

    yield line


def show_json(verdict: Verdict, run: Path) -> None:
    """One JSON object on one line."""
    sys.stdout.write(to_json(verdict, run).decode())


def show(verdict: Verdict, run: Path) -> None:
    """The verdict first, then why, then the statistics, then where the report is."""
    console = Console(highlight=False)
    colour = COLOURS[verdict.verdict]
    console.print(f"[bold {colour}]{verdict.verdict}[/]  {plain(verdict.candidate['title'])}")
    console.print(f"  against {plain(verdict.reference['title'])}, judged as {verdict.numerics}")
    for level, reason in _reasons(verdict):
        console.print(f"  {level}: {plain(reason)}", soft_wrap=True)
    for line in _likely(verdict):
        console.print(f"  {plain(line)}", soft_wrap=True)
    launch = "" if verdict.launch_seconds is None else f", launch {verdict.launch_seconds:.0f} s"
    console.print(f"  {verdict.tokens:,} tokens in {verdict.seconds:.1f} s{launch}")
    if "capabilities" in verdict.candidate:
        for line in _capabilities(verdict.candidate["capabilities"]):
            console.print(f"  {line}", soft_wrap=True)
    for result in verdict.levels:
        console.print(_level(result, decided=verdict.level), soft_wrap=True)
    for line in _ratios(verdict):
        console.print(f"  {escape(line)}", soft_wrap=True)
    if verdict.statistics:
        console.print(_table(verdict))
        console.print(LEGEND)
    console.print(
        f"  wrong DIFFERENT: at most {verdict.alpha:.1%}; wrong EQUIVALENT: at most "
        f"{verdict.beta:.1%}, in either case given the tolerances"
    )
    weakness = verdict.tolerances["weakness"]
    if weakness is not None:
        line = f"this trace cannot support EQUIVALENT: {weakness}"
        console.print(f"  {escape(line)}", soft_wrap=True)
    console.print(f"  report: {run / 'report.html'}", soft_wrap=True)
    if verdict.verdict is Word.DIFFERENT:
        console.print(f"  to paste into an issue: {run / issue_text.NAME}", soft_wrap=True)


def _likely(verdict: Verdict) -> Iterator[str]:
    """The first three causes, and what narrowing showed."""
    yield from (f"{one.words} ({one.why[0]})" for one in verdict.diagnosis[:LIKELY])
    for row in () if verdict.narrowing is None else verdict.narrowing.rows:
        factor = f", by {row.factor:.3g}" if row.effect is Effect.SMALLER else ""
        yield f"{row.toggle}: {row.effect}{factor}"


def _level(result: LevelResult, *, decided: str) -> str:
    """What decided stands above with its reasons; another level that found a fault says it here."""
    if result.word is None:
        return f"  {result.level:9}  not asked: {plain(result.reasons[0])}"
    word = f"[{COLOURS[result.word]}]{result.word:12}[/]"
    line = f"  {result.level:9}  {word}  {result.tokens:,} tokens, {result.seconds:.1f} s"
    if result.word is Word.DIFFERENT and result.level != decided:
        line += f"; {escape(result.reasons[0])}"
    return line


def _ratios(verdict: Verdict) -> Iterator[str]:
    """How far off the candidate is against the reference itself in the same numerics class."""
    forced = [level.findings for level in verdict.levels if level.level == "L2"]
    found = [row for findings in forced for row in findings.get("strata", ())]
    ratios = [(row["ratio"], row["stratum"]) for row in found if row["ratio"] is not None]
    if ratios:
        (least, _), (most, where) = min(ratios), max(ratios)
        yield (
            f"against fp32 its error is {least:.2g} to {most:.2g} times ({where}) that of the "
            f"reference itself in {verdict.numerics}"
        )


def _reasons(verdict: Verdict) -> list[tuple[str, str]]:
    """Those of the level that decided; of an endpoint that cannot be asked all, of every level."""
    undecided = [r for r in verdict.levels if r.word is Word.INCONCLUSIVE]
    if verdict.verdict is Word.INCONCLUSIVE and "capabilities" in verdict.candidate and undecided:
        return [(result.level, reason) for result in undecided for reason in result.reasons]
    return [(verdict.level, reason) for reason in verdict.reasons]


def _capabilities(found: Mapping[str, Any]) -> Iterator[str]:
    """In three lines; the report has the evidence of each."""
    for able, words in (("yes", "the endpoint can"), ("no", "cannot"), ("unknown", "unknown")):
        titles = [title for name, title in TITLES.items() if found[name]["able"] == able]
        if titles:
            yield f"{words}: {', '.join(titles)}"


def show_comparison_json(result: Comparison, run: Path) -> None:
    """One JSON object on one line."""
    sys.stdout.write(comparison.to_json(result, run).decode())


def show_comparison(result: Comparison, run: Path) -> None:
    """What it comes to first, then a row for each candidate, then how far any two lie apart."""
    console = Console(highlight=False)
    word = f"[bold {COLOURS[result.word]}]{result.word}[/]"
    console.print(f"{word}  {plain(result.headline)}", soft_wrap=True)
    for line in result.conclusions:
        console.print(f"  {plain(line)}", soft_wrap=True)
    width = max(len(row.name) for row in result.rows)
    for number, row in enumerate(result.rows, 1):
        console.print(_candidate_line(number, row, width), soft_wrap=True)
        said = _first_line(row.error) if row.word is None else f"{row.level}: {row.reasons[0]}"
        console.print(f"     {plain(said)}", soft_wrap=True)
    for pair in result.pairs:
        if pair.mean_absolute_d is not None:
            console.print(
                f"  {pair.first + 1} and {pair.second + 1}: mean |d| {pair.mean_absolute_d:.2g} "
                f"nats over {pair.tokens:,} tokens"
            )
    console.print(f"  report: {run / 'report.html'}", soft_wrap=True)


def _candidate_line(number: int, row: Row, width: int) -> str:
    name = f"{number:3}  {plain(row.name):{width}}"
    if row.word is None:
        return f"{name}  [bold]failed[/]"
    cost = f"{row.tokens:,} tokens in {row.seconds:.1f} s"
    return f"{name}  [bold {COLOURS[row.word]}]{row.word:12}[/]  judged as {row.numerics}, {cost}"


def _first_line(error: str | None) -> str:
    return (error or "").split("\n", 1)[0]


def _table(verdict: Verdict) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 2), header_style="bold")
    table.add_column("level, group", no_wrap=True)
    names = [name for name in "AKFSG" if any(r.statistic == name for r in verdict.statistics)]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("prompts", justify="right", no_wrap=True)
    groups: dict[tuple[str, str], dict[str, StatisticRow]] = {}
    for row in verdict.statistics:
        groups.setdefault((row.level, row.group), {})[row.statistic] = row
    for (level, group), rows in sorted(groups.items()):
        some = next(iter(rows.values()))
        cells = [_cell(rows[name]) if name in rows else "-" for name in names]
        table.add_row(f"{level} {plain(group)}", *cells, f"{some.units}/{some.population}")
    return table


def _cell(row: StatisticRow) -> str:
    shown = row.shown()
    if shown is None:
        return "-"
    mark = "=" if row.equivalent else "!" if row.above() else "?"
    return f"{shown / row.tolerance:.2g} {mark}"
