"""L1 asked of scores alone: the same tokens again, and among other requests."""

from __future__ import annotations

from collections.abc import Iterator

from harness.base.record import Scores
from harness.checker.consistency import USUAL_LOAD, busy_at, first_unequal
from harness.checker.distance import over
from harness.levels.turn import Found, Turn


def repeat(turn: Turn) -> Iterator[Found]:
    """The same request twice, alone."""
    yield from _pairs(turn, "repeat", turn.scored(at_once=1))


def busy(turn: Turn) -> Iterator[Found]:
    """Alone, and among many: at the usual load, and at that of the round."""
    yield from _pairs(turn, busy_at(USUAL_LOAD), turn.usual())
    if turn.plan.load is not None:
        yield from _pairs(turn, busy_at(turn.plan.load), turn.scored(at_once=turn.plan.load))


def _pairs(turn: Turn, group: str, again: list[Scores]) -> Iterator[Found]:
    for row, one, other in zip(turn.rows, turn.alone(), again, strict=True):
        yield Found(
            group=group,
            row=row,
            distance=over(turn.alternatives, one, other),
            unequal=first_unequal(one, other),
        )
