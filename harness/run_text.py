"""What a person sees of a run: progress while it goes on, what it came to at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import orjson
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from harness.report.text import readable
from harness.run import Terminal
from harness.runs import report as reports
from harness.runs import status
from harness.runs.report import Report
from harness.runs.status import EngineStatus, Status
from harness.runs.watch import Watch
from harness.terminal import plain

PLAIN_EVERY_S = 10.0
BAR = 24  # columns


@contextmanager
def terminal() -> Generator[Terminal]:
    """Progress on stderr: a few live lines on a terminal, else a line now and then."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _plain()
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def announce(text: str) -> None:
            with suppress(OSError, ValueError):  # whoever listened has left: the run goes on
                live.console.print(plain(text), soft_wrap=True)

        def show(watches: Sequence[Watch]) -> None:
            with suppress(OSError, ValueError):
                live.update(_bars(watches), refresh=True)

        yield Terminal(announce=announce, show=show)


def _bars(watches: Sequence[Watch]) -> Table:
    """A row for each engine that has begun."""
    table, now = Table.grid(padding=(0, 1)), time.monotonic()
    for watch in watches:
        one = status.of(watch, now)
        bar = ProgressBar(total=watch.total, completed=watch.done, width=BAR)
        table.add_row(bar, plain(line(one)))
        for text in node_lines(one):
            table.add_row("", plain(text))
    return table


def _plain() -> Terminal:
    shown = [time.monotonic()]

    def announce(text: str) -> None:
        with suppress(OSError, ValueError):
            print(readable(text), file=sys.stderr, flush=True)

    def show(watches: Sequence[Watch]) -> None:
        now = time.monotonic()
        if now - shown[0] >= PLAIN_EVERY_S and watches:
            shown[0] = now
            announce(line(status.of(watches[-1], now)))

    return Terminal(announce=announce, show=show)


def line(one: EngineStatus) -> str:
    """An engine of a run on one line."""
    text = (
        f"{one.engine}: {one.state}, {one.done} of {one.total} done, {one.in_flight} running, "
        f"{one.failed} failed, {one.tokens_per_s:,.0f} tokens/s"
    )
    if one.attempts_failed:
        text += f", {one.attempts_failed} attempts failed"
    if one.restarts:
        text += f", {one.restarts} restarts"
    if one.left_s and one.done < one.total:
        low, high = (_duration(seconds) for seconds in one.left_s)
        text += f", {low} to {high} left" if low != high else f", {low} left"
    return text


def node_lines(one: EngineStatus) -> Iterator[str]:
    """Its nodes, a line each; nothing where there is one."""
    if len(one.nodes) > 1:
        for node in one.nodes:
            yield (
                f"  {node.node}: {node.state}, {node.done} done, {node.in_flight} running, "
                f"{node.tokens_per_s:,.0f} tokens/s"
            )


def show(report: Report) -> None:
    for text in reports.lines(report):
        print(readable(text))
    print(f"run: {report.folder}")


def show_json(report: Report) -> None:
    sys.stdout.write(reports.to_json(report).decode())


def show_status(folder: Path, found: Status, process: int | None) -> None:
    """`process`: that works on it; None: none does."""
    ago = max(0.0, time.time() - found.written)
    if process is None:
        print(f"{folder}: nobody works on it; as it was {_duration(ago)} ago")
    else:
        print(f"{folder}: process {process}; metrics: {found.metrics}")
    for one in found.engines:
        print(readable(f"  {line(one)}"))
        for text in node_lines(one):
            print(readable(f"  {text}"))


def show_status_json(found: Status, process: int | None) -> None:
    sys.stdout.write(orjson.dumps({**asdict(found), "process": process}).decode() + "\n")


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
