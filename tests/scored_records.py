"""Scored records as several tests build them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.base.scored import SCHEMA, SCORED, Scored

Score = float | None


def record(suite: str, case: str, repeat: int, score: Score) -> Scored:
    return Scored(
        schema=SCHEMA,
        suite=suite,
        case=case,
        repeat=repeat,
        score=score,
        outcome="timeout" if score is None else SCORED,
    )


def once(scores: Sequence[Score], suite: str = "s") -> list[Scored]:
    """One case a score."""
    return repeated([[score] for score in scores], suite)


def repeated(scores: Iterable[Iterable[Score]], suite: str = "s") -> list[Scored]:
    """One case a row, one repeat a score."""
    return [
        record(suite, f"q{case:05}", repeat, score)
        for case, row in enumerate(scores)
        for repeat, score in enumerate(row)
    ]


def table(record: Scored) -> dict[str, object]:
    return {name: getattr(record, name) for name in Scored.__dataclass_fields__}


def write(path: Path, records: Iterable[Scored]) -> Path:
    path.write_text("".join(json.dumps(table(record)) + "\n" for record in records), "utf-8")
    return path
