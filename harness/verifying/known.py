"""What of a contract an engine's release is known not to keep, and how much of it: its pin says so
(serving.known). Pure.

A share is excused whole or not at all: where more is broken than is known, all of it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.base.held import How
from harness.verifying.holding import Row
from launchers.pins import KnownTable

EXCUSED = (How.BROKEN, How.UNANSWERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One line of a pin, and what was found of it."""

    cases: str
    share: float
    why: str
    of: int  # cases that it names
    found: int  # of these, not kept
    counts: Mapping[str, Mapping[How, int]]  # suite -> how -> cases that are excused

    @property
    def exceeded(self) -> bool:
        return self.found > self.share * self.of


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
    left = list(rows)
    for line in known:
        own = [row for row in left if fnmatchcase(f"{row.suite}/{row.case}", line.cases)]
        left = [row for row in left if row not in own]
        bad = [row for row in own if row.held[engine].how in EXCUSED]
        counts: dict[str, Counter[How]] = {}
        if len(bad) <= line.share * len(own):
            for row in bad:
                counts.setdefault(row.suite, Counter())[row.held[engine].how] += 1
        yield Known(
            cases=line.cases,
            share=line.share,
            why=line.why,
            of=len(own),
            found=len(bad),
            counts={suite: dict(one) for suite, one in counts.items()},
        )
