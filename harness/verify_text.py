"""What a person sees of a verification in the terminal: the word first, and where the page is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.base.excerpt import excerpt
from harness.base.held import How
from harness.checker.outcome import Word
from harness.report.holding_text import SIGNS, counts_in_signs, counts_worst_first, headline
from harness.report.suites_section import PARAMETERS
from harness.report.tables import SIGNS as OF_WORDS
from harness.terminal import COLOURS, plain
from harness.verifying.holding import Row, SuiteCount
from harness.verifying.verification import Deployment, Verification, to_json

MOST = 20  # cases that are told
WIDTH = 100  # columns
NAME = 24  # of them, for a suite's
WORDY = 2  # deployments whose columns have room for words
OF_KINDS = {
    How.KEPT: "green",
    How.BROKEN: "red",
    How.NOT_ENFORCED: "yellow",
    How.UNANSWERED: "blue",
    How.UNFINISHED: "",
}


def show_json(found: Verification, folder: Path) -> None:
    """One JSON object on one line."""
    sys.stdout.write(to_json(found, folder).decode())


def show(found: Verification, folder: Path) -> None:
    """The word, then each deployment's, then what each keeps, then the cases that differ."""
    console = Console(highlight=False)
    word = f"[bold {COLOURS[found.word]}]{found.word}[/]"
    console.print(f"{word}  {plain(headline(found))}", soft_wrap=True)
    against = "without a reference" if found.against is None else f"against {found.against}"
    console.print(f"  by the contract of {plain(f'{found.family}, {against}')}", soft_wrap=True)
    for place, one in enumerate(found.deployments, 1):
        console.print(
            f"  {place}  [{COLOURS[one.word]}]{one.word:12}[/]  {plain(one.name)}", soft_wrap=True
        )
        for reason in one.reasons:
            console.print(f"       {plain(reason)}", soft_wrap=True)
    console.print(_table(found), width=min(WIDTH, console.width))
    if _narrow(found):
        console.print(f"  {', '.join(f'{SIGNS[how]} {how}' for how in How)}", soft_wrap=True)
        console.print(f"  {', '.join(f'{OF_WORDS[w]} {w}' for w in Word)}", soft_wrap=True)
    for suite, why in found.not_run.items():
        console.print(f"  {plain(suite)}: not run: {plain(why)}", soft_wrap=True)
    for line in (*_cases(found), *_detectors(found.deployments)):
        console.print(f"  {plain(line)}", soft_wrap=True)
    console.print(f"  report: {folder / 'report.html'}", soft_wrap=True)


def _table(found: Verification) -> Table:
    """Suites in rows, deployments in columns; what the sampler audit says stands with the
    parameters."""
    table = Table(box=None, padding=(0, 1, 0, 2), header_style="bold")
    table.add_column("suite", no_wrap=True, max_width=NAME)
    table.add_column("cases", justify="right", no_wrap=True)
    for place, one in enumerate(found.deployments, 1):
        name = str(place) if _narrow(found) else f"{place} {plain(one.name)}"
        table.add_column(name, overflow="fold")
    suites = dict.fromkeys(suite.suite for one in found.deployments for suite in one.suites)
    for suite in suites:
        cases = sum(row.suite == suite for row in found.rows)
        said = counts_in_signs if _narrow(found) else counts_worst_first
        cells = (_held(one, suite, said) for one in found.deployments)
        table.add_row(plain(suite), f"{cases:,}", *cells)
        if suite == PARAMETERS:
            for way in dict.fromkeys(a.way for one in found.deployments for a in one.applied):
                cells = (_applied(one, way, _narrow(found)) for one in found.deployments)
                table.add_row(f" applied: {plain(way)}", "", *cells)
    return table


def _narrow(found: Verification) -> bool:
    """Whether there are too many columns for words."""
    return len(found.deployments) > WORDY


def _held(one: Deployment, name: str, told: Callable[[SuiteCount], str]) -> str:
    for suite in one.suites:
        if suite.suite == name:
            said = told(suite)
            colour = OF_KINDS[suite.how]
            return f"[{colour}]{said}[/]" if colour else said
    return "not asked"


def _applied(one: Deployment, way: str, narrow: bool) -> str:
    for audited in one.applied:
        if audited.way == way:
            if audited.word is None:
                return "no say"
            said = OF_WORDS[audited.word] if narrow else audited.word
            return f"[{COLOURS[audited.word]}]{said}[/]"
    return "not audited"


def _cases(found: Verification) -> Iterator[str]:
    """Those that deployments hold differently, then those that none keeps."""
    differing = [row for row in found.rows if row.differs]
    alike = [row for row in found.rows if not row.differs and How.BROKEN in _hows(row)]
    if differing:
        yield f"held differently: {len(differing):,} of {len(found.rows):,} cases"
        yield from _told(differing)
    if alike:
        yield f"broken by all: {len(alike):,} of {len(found.rows):,} cases"
        yield from _told(alike)


def _told(rows: Sequence[Row]) -> Iterator[str]:
    """The worst first."""
    order = list(How)
    for row in sorted(rows, key=lambda row: order.index(next(iter(_hows(row)))))[:MOST]:
        hows = _hows(row)
        parts = (
            f"{how} by {', '.join(map(str, places))}" for how, places in hows.items() if row.differs
        )
        yield f"  {_line(f'{row.suite} {row.case}')}  {'; '.join(parts)}".rstrip()
        worst = next(iter(hows))
        why = next(held.why for held in row.held.values() if held.how is worst)
        yield f"    {excerpt(why, characters=WIDTH - 8)}"
    if len(rows) > MOST:
        yield f"  … and {len(rows) - MOST:,} more: report.html has all"


def _hows(row: Row) -> dict[How, list[int]]:
    """The worst first, and the numbers of the deployments."""
    held = [one.how for one in row.held.values()]
    return {how: [n for n, one in enumerate(held, 1) if one is how] for how in How if how in held}


def _line(text: str) -> str:
    return excerpt(text, characters=WIDTH // 2)


def _detectors(deployments: Sequence[Deployment]) -> Iterator[str]:
    """A line for each deployment in whose answers anything was found."""
    for place, one in enumerate(deployments, 1):
        noticed = [f"{row.name} {row.answers:,}" for row in one.noticed.rows if row.answers]
        if noticed:
            yield f"signs in {one.noticed.answered:,} answers of {place}: {', '.join(noticed)}"
