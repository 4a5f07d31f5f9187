"""Several candidates checked against one trace, one after another or side by side.

Each is checked by an `enginediff check` of its own: candidates share nothing but the trace, one
that fails takes no other with it, and what stands for one candidate's check is all there is.

runs/<id>/  comparison.json  report.html
            candidates/<n>/ (a check's own run directory)  candidates/<n>.log
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from harness import evidence
from harness.checker.outcome import Word
from harness.comparison import Pair, Row, failed
from harness.verdict import exit_code
from launchers.command import Command
from launchers.process import RunningProcess, end_of_log, started

Announce = Callable[[str], None]
GRACE_S = 30.0  # a check that is told to stop stops its engine first
OURS = "enginediff: "  # how the command line begins what it complains of
# How a check without a verdict ends -> what that means here; one that was interrupted alone (130)
# was stopped from outside. All else, a 0 or 1 without a verdict too, is a bug of ours.
FAILURES = {2: 2, 4: 4, 130: 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One candidate, and what it promises."""

    name: str
    title: str
    numerics: str
    options: tuple[str, ...] = ()  # of its own


def check_all(
    entries: Sequence[Entry],
    options: Sequence[str],
    *,
    run: Path,
    at_once: int,
    announce: Announce,
    go_on: bool = False,
) -> list[Row]:
    """A row for each entry, in order. On Ctrl-C every check is stopped, with its engine.

    `go_on`: one that has a verdict there is not checked again, and what is left of one that was
    stopped is thrown away.
    """
    running, deciding, stopped = list[RunningProcess](), threading.Lock(), False

    def check(numbered: tuple[int, Entry]) -> Row:
        number, entry = numbered
        folder = run / "candidates" / str(number)
        # -P: a folder named `harness` where the user stands is not ours.
        argv = (sys.executable, "-P", "-m", "harness.cli", "check", entry.name)
        argv = (*argv, *options, *entry.options)
        argv = (*argv, "--run", str(folder), "--json")
        command = Command(argv=argv, env=os.environ, inherited=True)
        log = folder.with_suffix(".log")
        if go_on and (code := _ended(folder)) is not None:
            return row_of(entry, code, folder, log)
        with started(command, log=log, grace_s=GRACE_S) as process:
            with deciding:  # so that one that starts as all are stopped is stopped too, once
                running.append(process)
                late = stopped
            if late:
                _stop(process)
            for line in process.lines():
                if not line.startswith("{"):  # the verdict, which is read from its file
                    announce(f"{entry.title}: {line}")
            return row_of(entry, process.exit_code(), folder, log)

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        futures = [pool.submit(check, numbered) for numbered in enumerate(entries)]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            with deciding:
                stopped, there = True, tuple(running)
            for process in there:
                _stop(process)
            raise


def _stop(process: RunningProcess) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        if process.alive():
            os.kill(process.pid, signal.SIGTERM)


def _ended(folder: Path) -> int | None:
    """What a check that was here ended with; None: none did, and nothing is left of it."""
    try:
        verdict = json.loads((folder / "verdict.json").read_bytes())
    except FileNotFoundError:
        if folder.exists():
            shutil.rmtree(folder)
        return None
    return exit_code(Word(verdict["verdict"]))


def pairs(run: Path, rows: Sequence[Row]) -> tuple[Pair, ...]:
    """How far any two candidates lie apart, from the evidence that their checks left."""
    logprobs = {i: _forced(run, i) for i, row in enumerate(rows) if row.word is not None}
    return tuple(
        _pair(first, second, logprobs[first], logprobs[second])
        for first, second in combinations(logprobs, 2)
    )


def _forced(run: Path, number: int) -> dict[str, Any]:
    return evidence.differences(run / "candidates" / str(number) / evidence.FILE, level="L2")


def _pair(first: int, second: int, one: Mapping[str, Any], other: Mapping[str, Any]) -> Pair:
    """d of either is against the same reference, so their difference is of the candidates."""
    apart = [np.abs(one[case] - other[case]) for case in one.keys() & other.keys()]
    whole = np.concatenate(apart) if apart else np.zeros(0)
    mean = float(whole.mean()) if len(whole) else None
    return Pair(first=first, second=second, mean_absolute_d=mean, tokens=len(whole))


def row_of(entry: Entry, code: int, folder: Path, log: Path) -> Row:
    """What a check left, given the exit code that it ended with.

    A verdict counts where the exit code says the same: who died after writing it has failed.
    """
    file = folder / "verdict.json"
    if not file.is_file():
        return _failed(entry, code, log)
    verdict = json.loads(file.read_bytes())
    word = Word(verdict["verdict"])
    if code != exit_code(word):
        return _failed(entry, code, log)
    return Row(
        name=entry.title,
        numerics=verdict["numerics"],
        word=word,
        level=verdict["level"],
        reasons=tuple(verdict["reasons"]),
        tokens=verdict["tokens"],
        seconds=verdict["seconds"],
        launch_seconds=verdict["launch_seconds"],
        report=f"candidates/{folder.name}/report.html",
        error=None,
        exit_code=code,
    )


def _failed(entry: Entry, code: int, log: Path) -> Row:
    lines = end_of_log(log)
    said = next((n for n, line in enumerate(lines) if line.startswith(OURS)), None)
    told = lines if said is None else [lines[said].removeprefix(OURS), *lines[said + 1 :]]
    error = "\n".join(told) or f"its check ended with exit code {code} and said nothing"
    return failed(entry.title, entry.numerics, error, FAILURES.get(code, 70))
