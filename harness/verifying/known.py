"""What of a contract an engine's release is known not to keep, and how much of it: its pin says so
(serving.known). Pure.

A share is excused whole or not at all, suite by suite: where more is broken than is known, all of
it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.base.held import Held, How
from harness.verifying.holding import NOT_ASKED, Row
from launchers.pins import KnownTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One line of a pin, and what was found of it."""

    cases: str
    share: float
    why: str
    of: int  # cases that it names
    found: int  # of these, not kept in a way that is known
    counts: Mapping[str, Mapping[How, int]]  # suite -> how -> cases that are excused

    @property
    def exceeded(self) -> bool:
        """In some suite."""
        return sum(sum(one.values()) for one in self.counts.values()) < self.found


def judged(rows: Sequence[Row], engine: str, known: Sequence[KnownTable]) -> tuple[Known, ...]:
    """A case is excused by the first line that names it."""
    return tuple(_judged(rows, engine, known))


def excused(known: Sequence[Known]) -> Mapping[str, Mapping[How, int]]:
    """Suite -> how -> cases, of all lines together."""
    total: dict[str, Counter[How]] = {}
    for one in known:
        for suite, counts in one.counts.items():
            total.setdefault(suite, Counter()).update(counts)
    return total


def _judged(rows: Sequence[Row], engine: str, known: Sequence[KnownTable]) -> Iterator[Known]:
    left = {f"{row.suite}/{row.case}": row for row in rows}
    for line in known:
        names = [name for name in left if fnmatchcase(name, line.cases)]
        own = [left.pop(name) for name in names]
        bad = [row for row in own if _known(row.held[engine], line)]
        counts: dict[str, dict[How, int]] = {}
        for suite in dict.fromkeys(row.suite for row in bad):
            hows = Counter(row.held[engine].how for row in bad if row.suite == suite)
            if hows.total() <= line.share * sum(row.suite == suite for row in own):
                counts[suite] = dict(hows)
        yield Known(
            cases=line.cases,
            share=line.share,
            why=line.why,
            of=len(own),
            found=len(bad),
            counts=counts,
        )


def _known(held: Held, line: KnownTable) -> bool:
    return held.how in line.how and not held.why.startswith(NOT_ASKED.why)
