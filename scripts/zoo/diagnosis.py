"""How often the diagnosis names the true cause: `diagnosis_score.py -o FOLDER [--only NAME ...]`.

Each fault of scripts/real_faults.py is made, checked by the real check with every level, and its
verdict kept in FOLDER/NAME; what is there already is judged anew and not run again, so that the
table of causes can be changed and scored in a second. A fault that the check does not call
DIFFERENT, or whose engine does not start, is listed, and counts neither way.

The weights of the table were chosen with some of these faults in sight: see `--unseen`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from real_faults import FAULTS, Fault, changes

from harness import session
from harness.base.errors import EnginediffError
from harness.checker.contract import RenderDifference
from harness.checker.diagnosis import Likely, diagnose
from harness.checker.features import Seen
from harness.checker.outcome import LevelResult, StatisticRow, Word
from harness.levels.state import Settings
from harness.recording import Trace

FIRST = 3  # causes that a reader looks at
SETTINGS = Settings(seed=0, alpha=0.005, beta=0.005, every_level=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was said of one fault."""

    fault: Fault
    level: str | None  # that decided; None: nothing is DIFFERENT, or the engine failed
    named: tuple[Likely, ...]
    note: str

    @property
    def rank(self) -> int | None:
        """Of the true cause, from 1; None: it is not named."""
        ranks = (i for i, one in enumerate(self.named, 1) if one.cause in self.fault.causes)
        return next(ranks, None)


def outcome(fault: Fault, folder: Path, traces: Mapping[str, Path]) -> Outcome:
    """The fault made and checked, unless `folder` holds its verdict."""
    run = folder / fault.name / "run"
    try:
        if not (run / "verdict.json").is_file():
            check(fault, run, traces[fault.pin.split("/")[0]])
    except EnginediffError as error:
        return Outcome(fault=fault, level=None, named=(), note=str(error).splitlines()[0])
    document = orjson.loads((run / "verdict.json").read_bytes())
    if document["verdict"] != Word.DIFFERENT:
        note = f"{document['verdict']}: no fault that this check sees"
        return Outcome(fault=fault, level=None, named=(), note=note)
    return Outcome(fault=fault, level=document["level"], named=diagnose(seen_in(document)), note="")


def check(fault: Fault, run: Path, trace: Path) -> None:
    session.check_candidate(
        fault.pin,
        changes(fault, run.parent),
        against=Trace(trace),
        numerics=None,
        settings=SETTINGS,
        announce=lambda text: print(f"{fault.name}: {text}", file=sys.stderr),
        run=run.absolute(),
    )


def seen_in(document: Mapping[str, Any]) -> Seen:
    """What a verdict.json holds of what was seen."""
    levels = [
        LevelResult(**{**row, "word": None if row["word"] is None else Word(row["word"])})
        for row in document["levels"]
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


def line(found: Outcome) -> str:
    if found.level is None:
        return f"{found.fault.name:22} -  {found.note}"
    names = ", ".join(f"{one.cause} {one.weight:g}" for one in found.named[:FIRST])
    return f"{found.fault.name:22} {found.rank or '-':>2}  {found.level:8} {names}"


def summary(outcomes: list[Outcome]) -> str:
    told = [one for one in outcomes if one.level is not None]
    first = sum(one.rank == 1 for one in told)
    among = sum(one.rank is not None and one.rank <= FIRST for one in told)
    return (
        f"{len(told)} of {len(outcomes)} faults are DIFFERENT; the true cause is the first named "
        f"of {first}, among the first {FIRST} of {among}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--out", type=Path, required=True, help="verdicts are kept here")
    parser.add_argument("--only", nargs="*", help="names of faults")
    parser.add_argument("--unseen", action="store_true", help="those that no weight was chosen by")
    parser.add_argument("--moe", type=Path, required=True, help="a trace of tiny-moe")
    parser.add_argument("--k2", type=Path, required=True, help="a trace of tiny-k2")
    options = parser.parse_args()
    chosen = [
        fault
        for fault in FAULTS
        if (not options.only or fault.name in options.only)
        and not (options.unseen and fault.tuned_by)
    ]
    traces = {"tiny-moe": options.moe, "tiny-k2": options.k2}
    outcomes: list[Outcome] = []
    for fault in chosen:
        outcomes.append(outcome(fault, options.out, traces))
        print(line(outcomes[-1]), flush=True)
    print(summary(outcomes))


if __name__ == "__main__":
    main()
