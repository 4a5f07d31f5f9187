"""A comparison of scored records as a person reads it, and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.checker.outcome import Word
from harness.checker.tasks import telling
from harness.checker.tasks.comparing import TasksFinding
from harness.checker.tasks.pairing import Bounds
from harness.checker.tasks.suite import SuiteFinding

SCHEMA = 1
COLOURS = {Word.DIFFERENT: "red", Word.INCONCLUSIVE: "yellow"}  # scores say no third word
EXIT_CODES = {Word.DIFFERENT: 1, Word.INCONCLUSIVE: 3}


def show(finding: TasksFinding) -> None:
    """The word and why, then a table for each suite, then what is missing."""
    console = Console(highlight=False)
    word = f"[bold {COLOURS[finding.word]}]{finding.word}[/]"
    console.print(f"{word}  {escape(telling.headline(finding))}", soft_wrap=True)
    if (said := telling.margin(finding)) is not None:
        console.print(f"  {escape(said)}", soft_wrap=True)
    for suite in (suite for suite in finding.suites if suite.paired.cases):
        console.print(f"  [bold]{escape(suite.paired.suite)}[/]")
        console.print(_table(suite, finding.question.alpha))
    for note in telling.notes(finding):
        console.print(f"  {escape(note)}", soft_wrap=True)
    console.print(
        f"  wrong DIFFERENT: at most {finding.question.alpha:.1%}, of engines that lose a case as "
        "easily as they win it",
        soft_wrap=True,
    )


def _table(suite: SuiteFinding, alpha: float) -> Table:
    paired = suite.paired
    table = Table(box=None, padding=(0, 1, 0, 4), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    cases = f"{len(paired.cases):,} cases, {paired.pairs:,} pairs of answers"
    table.add_row("on both sides", cases)
    table.add_row("reference", telling.points(paired.reference_mean, sign=False))
    table.add_row("candidate", telling.points(paired.candidate_mean, sign=False))
    table.add_row("difference", f"{telling.points(suite.difference, sign=True)} pt")
    table.add_row(f"its {1 - alpha:.1%} interval", _interval(suite.interval))
    table.add_row("discordant", f"{suite.lost} lost, {suite.won} won")
    table.add_row(f"p ({suite.test})", f"{_p(suite.p)}, after Holm {_p(suite.p_holm)}")
    table.add_row(
        "evidence at any moment",
        f"10^{suite.log10_either:.1f} (worse 10^{suite.log10_worse:.1f}, "
        f"better 10^{suite.log10_better:.1f})",
    )
    if suite.log10_within is not None:
        by_p = "" if suite.p_within is None else f", p {suite.p_within:.2g} (t over cases)"
        table.add_row("evidence for the margin", f"10^{suite.log10_within:.1f}{by_p}")
    smallest = "-" if suite.smallest is None else f"{100 * suite.smallest:.1f} pt"
    table.add_row("smallest drop it can see", f"{smallest} (in one look, 99 % power)")
    return table


def _interval(bounds: Bounds | None) -> str:
    return "-" if bounds is None else f"{100 * bounds[0]:+.1f} .. {100 * bounds[1]:+.1f} pt"


def _p(p: float | None) -> str:
    return "-" if p is None else f"{p:.2g}"


def show_json(finding: TasksFinding) -> None:
    """One JSON object on one line."""
    sys.stdout.write(json.dumps(to_table(finding)) + "\n")


def to_table(finding: TasksFinding) -> dict[str, Any]:
    """Everything but the single cases, as JSON has it."""
    return {
        "schema": SCHEMA,
        "verdict": finding.word,
        "reason": telling.headline(finding),
        "margin": telling.margin(finding),
        "within_margin": finding.within,
        "question": asdict(finding.question),
        "different": finding.different,
        "log10_average": finding.log10_average,
        "suites": [_suite(suite, finding.different) for suite in finding.suites],
        "notes": telling.notes(finding),
    }


def _suite(suite: SuiteFinding, different: Sequence[str]) -> dict[str, Any]:
    table = asdict(suite)
    paired = table.pop("paired")
    counts = {k: v for k, v in paired.items() if k not in ("cases", "lowest", "highest")}
    direction = suite.direction if suite.paired.suite in different else None
    return {**counts, "cases": len(suite.paired.cases), "direction": direction, **table}
