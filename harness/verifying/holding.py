"""How the replies of a run were held against what is owed: case by case, engine by engine.

Read from the answers of a run's directory alone. A case keeps its place whatever came of it: one
that was never asked is `unanswered` too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.base.errors import ConfigError
from harness.base.held import Held, How
from harness.base.reply import Reply
from harness.runs.plan import Cases
from harness.runs.replies import reply
from suites.owed import STREAMED, WHOLE

NOT_ASKED = Held(how=How.UNANSWERED, why="not asked")
SEVERE = (How.BROKEN, How.NOT_ENFORCED, How.UNANSWERED)  # one such repeat decides a case


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case, as each engine held it."""

    suite: str
    case: str
    what: str  # was asked, and is owed
    held: Mapping[str, Held]  # by engine, in the order of the spec

    @property
    def differs(self) -> bool:
        return len({one.how for one in self.held.values()}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteCount:
    """One suite of one engine. The counts add up to its cases."""

    suite: str
    cases: int
    counts: Mapping[How, int]
    cut: float = 0.0  # unfinished, of these and the kept; streamed or not, whichever is more

    @property
    def how(self) -> How:
        """The worst that is there."""
        return next((how for how in How if self.counts.get(how)), How.UNANSWERED)


def rows(cases: Cases, answers: Mapping[str, Path]) -> list[Row]:
    """`answers`: by engine, the file of its answers; one that is not there holds none."""
    held = {engine: _held(cases, path) for engine, path in answers.items()}
    return [
        Row(
            suite=asked.suite.name,
            case=task.id,
            what=task.expected,
            held={
                engine: together(one.get((asked.suite.name, task.id), []), cases.epochs)
                for engine, one in held.items()
            },
        )
        for asked in cases
        if asked.suite.hold is not None
        for task in asked.tasks
    ]


def counts(rows: Sequence[Row], engine: str) -> list[SuiteCount]:
    """Per suite, in their order."""
    suites = dict.fromkeys(row.suite for row in rows)
    return [
        _counted(suite, [row for row in rows if row.suite == suite], engine) for suite in suites
    ]


def _counted(suite: str, rows: Sequence[Row], engine: str) -> SuiteCount:
    counts = Counter(row.held[engine].how for row in rows)
    return SuiteCount(
        suite=suite,
        cases=len(rows),
        counts=dict(counts),
        cut=max(
            _cut([row.held[engine].how for row in rows if row.case.endswith(f"/{way}")])
            for way in (STREAMED, WHOLE)
        ),
    )


def _cut(hows: Sequence[How]) -> float:
    """The share of answers that were cut, of these and what is kept."""
    cut, kept = hows.count(How.UNFINISHED), hows.count(How.KEPT)
    return cut / (cut + kept) if cut else 0.0


def together(repeats: Sequence[Held], epochs: int) -> Held:
    """A case's, of its repeats: the worst that is severe; else kept, where any answer was whole."""
    if len(repeats) < epochs:
        repeats = [*repeats, NOT_ASKED]
    for how in (*SEVERE, How.KEPT):
        found = [one for one in repeats if one.how is how]
        if found:
            of = f" ({len(found)} of {len(repeats)})" if len(found) < len(repeats) else ""
            return Held(how=how, why=f"{found[0].why}{of}")
    return repeats[0]


def _held(cases: Cases, path: Path) -> dict[tuple[str, str], list[Held]]:
    """By suite and case, a case's repeats. Only replies that are held beside others are kept."""
    found: dict[tuple[str, str], list[Held]] = {}
    kept: dict[tuple[str, int], dict[str, Reply]] = {}
    for answer in read(path):
        asked, task, epoch = cases.at(answer["n"])
        if asked.suite.relate is not None:
            kept.setdefault((asked.suite.name, epoch), {})[task.id] = reply(answer)
        elif (hold := asked.suite.hold) is not None:
            found.setdefault((asked.suite.name, task.id), []).append(hold(task, reply(answer)))
    relates = {asked.suite.name: relate for asked in cases if (relate := asked.suite.relate)}
    for (suite, _), replies in kept.items():
        for case, held in relates[suite](replies).items():
            found.setdefault((suite, case), []).append(held)
    return found


def read(path: Path) -> Iterator[Mapping[str, Any]]:
    """The answers of an engine, one after another; none where there is no file. Raises ConfigError
    where one was torn."""
    if path.exists():
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise ConfigError(f"{path}: line {number} is no JSON: {error}") from error
