"""What became of a difference when a part of the engine was left out: the decision, pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.checker.outcome import StatisticRow, Word

LESS = 2.0  # times smaller: what is called smaller; below it, the difference stays


class Effect(StrEnum):
    """What a toggle did to the difference."""

    GONE = "the difference goes away"
    SMALLER = "the difference is smaller"
    STAYS = "the difference stays"
    UNKNOWN = "not known"  # the engine did not start, or did not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """One toggle, and what the level that had decided said then."""

    toggle: str  # what ran, in words
    changes: tuple[str, ...]  # `--set`
    effect: Effect
    factor: float | None  # the largest excess before, over the one after; None: gone, or unknown
    why: str  # with the numbers
    seconds: float  # the launch included


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """All toggles that were tried; `note` says why none, or no more, were."""

    level: str  # that had decided, and was asked again
    rows: tuple[Narrowed, ...]
    note: str | None


def effect(
    before: Sequence[StatisticRow], after: Sequence[StatisticRow], word: Word | None
) -> tuple[Effect, float | None, str]:
    """What a toggle did, by how much, and why; rows are those of one level, `word` is its word.

    Gone: no statistic's mean lies above its tolerance any more, over as many prompts.
    """
    was, now = excess(before), excess(after)
    if word is None or now is None or was is None:
        return Effect.UNKNOWN, None, "nothing could be compared"
    group, statistic, size = was
    if word is not Word.DIFFERENT and not any(row.above() for row in after):
        why = (
            f"{group} {statistic} was {size:.3g} times its tolerance; no statistic lies above its "
            f"tolerance now ({_drawn(after)} prompts)"
        )
        return Effect.GONE, None, why
    factor = size / now[2]
    why = (
        f"the largest excess was {size:.3g} times a tolerance ({group} {statistic}), and is "
        f"{now[2]:.3g} times ({now[0]} {now[1]})"
    )
    return (Effect.SMALLER if factor >= LESS else Effect.STAYS), factor, why


def excess(rows: Sequence[StatisticRow]) -> tuple[str, str, float] | None:
    """(group, statistic, mean over tolerance) of what lies furthest off; None: nothing drawn.

    By A and K where they were judged: they say how far, and the others hardly more than that.
    """
    drawn = [(r.group, r.statistic, r.raw / r.tolerance) for r in rows if r.raw is not None]
    bulk = [one for one in drawn if one[1] in "AK"]
    return max(bulk or drawn, key=lambda one: one[2], default=None)


def _drawn(rows: Sequence[StatisticRow]) -> int:
    """Each prompt is counted once, though it has a row of each statistic."""
    return sum({row.group: row.units for row in rows}.values())
