"""How often the diagnosis names the true cause. A verdict that is there already is diagnosed anew,
so that the table of causes can be changed and scored in a second.

The weights of the table were chosen with some of the faults in sight: those are counted apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from harness.checker.contract import RenderDifference
from harness.checker.diagnosis import diagnose
from harness.checker.features import Seen
from harness.checker.outcome import LevelResult, StatisticRow, Word
from scripts.zoo.fault import Fault

FIRST = 3  # causes that a reader looks at


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was named of one fault that is DIFFERENT."""

    named: tuple[str, ...]  # the likeliest first
    rank: int | None  # of the first cause that is right, from 1; None: none is named
    rank_meant: int | None  # of the one that the fault was made to be


def of(fault: Fault, run: Path) -> Diagnosis:
    """Of a check's run directory."""
    verdict: Mapping[str, Any] = orjson.loads((run / "verdict.json").read_bytes())
    named = tuple(one.cause for one in diagnose(_seen(verdict)))
    return Diagnosis(
        named=named, rank=_rank(named, fault.causes), rank_meant=_rank(named, fault.causes[:1])
    )


def _rank(named: Sequence[str], right: Sequence[str]) -> int | None:
    return next((place for place, cause in enumerate(named, 1) if cause in right), None)


def score(ranks: Sequence[int | None]) -> dict[str, int]:
    """Of how many faults the true cause is named first, and among the first that are looked at."""
    return {
        "faults": len(ranks),
        "first": sum(rank == 1 for rank in ranks),
        "among": sum(rank is not None and rank <= FIRST for rank in ranks),
    }


def _seen(document: Mapping[str, Any]) -> Seen:
    tables: list[dict[str, Any]] = document["levels"]
    words = [None if table["word"] is None else Word(table["word"]) for table in tables]
    levels = [
        replace(LevelResult(**table), word=word) for table, word in zip(tables, words, strict=True)
    ]
    rendering = (document.get("reproduction") or {}).get("rendering")
    return Seen(
        levels=levels,
        rows=[StatisticRow(**row) for row in document["statistics"]],
        breakdown=document["breakdown"],
        misrendered=None if rendering is None else _misrendered(rendering),
    )


def _misrendered(table: Mapping[str, Any]) -> RenderDifference:
    return RenderDifference(
        case_id=table["case_id"],
        position=table["position"],
        expected=tuple(token["id"] for token in table["expected"]),
        found=tuple(token["id"] for token in table["found"]),
        expected_length=table["expected_length"],
        found_length=table["found_length"],
    )
