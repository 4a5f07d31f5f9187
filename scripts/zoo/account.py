"""The zoo's outcome as one document: every row, what is wrong, and the numbers over all of them."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import evidence
from harness.checker.outcome import Word
from harness.recording import Trace
from scripts.zoo import diagnosis
from scripts.zoo.fault import Fault
from scripts.zoo.row import Outcome, Zoo, shown
from scripts.zoo.rules import Said
from scripts.zoo.size import Size

SCHEMA = 1
NUMERIC = ("quantisation", "RoPE", "router", "KV scale")  # kinds whose cost is a goal
GOAL = 2_000  # tokens to DIFFERENT, the median of these


def document(
    zoo: Zoo,
    rows: Sequence[Fault],
    outcomes: Sequence[Outcome],
    said: Mapping[str, Sequence[Said]],
    seconds: Mapping[str, float],
    every: Sequence[Fault],
) -> dict[str, Any]:
    """`every`: all rows that there are; those that are not among `rows` are told to be absent."""
    table = [
        _row(zoo, fault, outcome, said.get(fault.name, ()))
        for fault, outcome in zip(rows, outcomes, strict=True)
    ]
    costs = [_cost(one) for one in table if one["kind"] in NUMERIC]
    absent = sorted({row.name for row in every} - {row.name for row in rows})
    told = [one["diagnosis"] for one in table if one["diagnosis"] is not None]
    return {
        "schema": SCHEMA,
        "machine": machine(),
        "seconds": seconds["all"],
        "trace_seconds": seconds["traces"],
        "traces": [_trace(zoo, model, numerics) for model, numerics in sorted(zoo.traces)],
        "rows": table,
        "absent": absent,
        "numeric": {
            "kinds": NUMERIC,
            "faults": len(costs),
            "median_tokens": _finite(statistics.median(costs)) if costs else None,
            "goal": GOAL,
        },
        "diagnosis": {
            "all": diagnosis.score([one["rank"] for one in told]),
            "meant": diagnosis.score([one["rank_meant"] for one in told]),
            "others": diagnosis.score([one["rank"] for one in told if not one["tuned_by"]]),
        },
        "wrong": {one["name"]: one["wrong"] for one in table if one["wrong"] is not None},
    }


def _cost(row: Mapping[str, Any]) -> float:
    """Tokens until DIFFERENT; infinite where it was not said. What L2 did not decide cost all that
    was asked."""
    if row["word"] != Word.DIFFERENT:
        return math.inf
    return row["tokens"] if row["judged"] is None else row["judged"]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _row(zoo: Zoo, fault: Fault, outcome: Outcome, said: Sequence[Said]) -> dict[str, Any]:
    size = zoo.size(fault) if fault.fine and outcome.word is not Word.DIFFERENT else None
    found = None
    if outcome.word is Word.DIFFERENT and not fault.benign:
        named = diagnosis.of(fault, zoo.folder / fault.name / "run")
        found = {**asdict(named), "tuned_by": fault.tuned_by}
    return {
        "name": fault.name,
        "number": fault.number,
        "kind": fault.kind,
        "how": fault.how,
        "what": fault.what,
        "seen": fault.seen,
        "pin": fault.pin,
        "unseen": fault.unseen,
        **asdict(outcome),
        "failure": outcome.failure and shown(zoo, outcome.failure),
        "reasons": [shown(zoo, reason) for reason in outcome.reasons],
        "judged": judged(zoo.folder / fault.name / "run", outcome),
        "size": None if size is None else asdict(size),
        "wrong": wrong(fault, outcome, size),
        "diagnosis": found,
        "today": [asdict(one) for one in said],
    }


def judged(run: Path, outcome: Outcome) -> int | None:
    """Tokens of the sequences that L2 had judged when it knew its word; None: L2 did not decide.

    A check's own count is larger: where it is DIFFERENT, the worst sequence is asked again by
    itself, to be shown.
    """
    if outcome.level != "L2":
        return None
    found = evidence.differences(run / evidence.FILE, level="L2")
    return sum(len(d) + 1 for d in found.values())


def wrong(fault: Fault, outcome: Outcome, size: Size | None) -> str | None:
    """What is wrong with a row's outcome, in words; None: nothing."""
    if outcome.word is None:
        return f"came to nothing: {outcome.failure}"
    if fault.benign:
        return None if outcome.word is Word.EQUIVALENT else f"false alarm: {outcome.word}"
    if outcome.word is Word.DIFFERENT or (size is not None and size.small):
        return None
    return "false EQUIVALENT" if outcome.word is Word.EQUIVALENT else "undecided"


def machine() -> dict[str, Any]:
    """What it ran on."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "enginediff": version("enginediff"),
    }


def _trace(zoo: Zoo, model: str, numerics: str) -> dict[str, Any]:
    trace = Trace(zoo.traces[model, numerics])
    return {
        "model": model,
        "numerics": numerics,
        "prompts": len(trace),
        "tokens": sum(trace.tokens_of),
        "sha256": trace.sha256,
    }
