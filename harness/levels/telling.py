"""What a level says while it goes on, and when it ends: in words."""

from __future__ import annotations

import math

from harness.checker.judge import Judge
from harness.checker.outcome import StatisticRow, Word
from harness.checker.tolerance import SPARSE_SHARE

WORDS = {
    "A": "mean |d|, clipped, nats a token",
    "K": "divergence of the distributions, nats a token",
    "F": "share of tokens with another, decisive top-1",
    "S": "share of sequences with a stretch far off",
    "G": "what the reference's own choice is more probable by, nats a token",
}


def _far_off(row: StatisticRow) -> str:
    return (
        f"{row.group}: {WORDS[row.statistic]} ({row.statistic}) is {row.raw:.3g}, "
        f"{_ratio(row):.3g} times its tolerance {row.tolerance:.3g}, over {row.units} prompts"
    )


def _telling(row: StatisticRow) -> tuple[int, float]:
    """What says most to a reader first: A is clipped a token, and F has hardly any tolerance."""
    return "KASFG".index(row.statistic), -_ratio(row)


def _ratio(row: StatisticRow) -> float:
    assert row.raw is not None
    return row.raw / row.tolerance


def progress(judge: Judge, tokens: int) -> str:
    rows = judge.rows()
    settled = sum(row.equivalent for row in rows)
    evidence = max(judge.log_different() / math.log(10), -9.9)
    needed = -math.log10(judge.alpha)
    return (
        f"{judge.level}: {tokens:,} tokens, {settled} of {len(rows)} statistics show "
        f"EQUIVALENT, evidence for DIFFERENT 10^{evidence:.1f} of 10^{needed:.1f}"
    )


def explain(judge: Judge) -> list[str]:
    """Why the level says what it says, in words."""
    rows = judge.rows()
    word = judge.word()
    if word is Word.DIFFERENT:
        above = [row for row in rows if row.above()]
        return [_far_off(row) for row in sorted(above, key=_telling)[:3]]
    if word is Word.EQUIVALENT:
        return [
            f"all {len(rows)} statistics are within tolerance; bad sequences are under "
            f"{SPARSE_SHARE:.0%} (fewer than that are not excluded)"
        ]
    unsettled = [row for row in rows if not row.equivalent]
    return [
        f"{row.group}: {row.statistic} is undecided after {row.units} of {row.population} prompts"
        + (
            f"; about {row.units_needed} more of the same would show EQUIVALENT"
            if row.units_needed is not None
            else "; this corpus is too small to decide it"
        )
        for row in unsettled[:3]
    ]
