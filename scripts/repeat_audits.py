"""Audits the sampler of one engine again and again: how often is it accused, and what is found?

    python scripts/repeat_audits.py TRACE PIN|URL [--repeats 20] [--set KEY=VALUE]...

Prints a line an audit, and a last one with the words counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from harness import candidate, session
from harness.evidence import written as evidence_of_levels
from harness.levels import sampled
from harness.levels.state import Check, Settings
from harness.recording import Trace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("engine")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--numerics", default="fp32")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    given = parser.parse_args()
    trace = Trace(given.trace)
    log = Path(tempfile.mkdtemp()) / "engine.log"
    pin = candidate.prepared(given.engine, given.changes)
    words: Counter[str] = Counter()
    with candidate.opened(given.engine, pin, log=log, announce=print) as opened:
        for seed in range(given.repeats):
            check = checking(trace, opened, given.numerics, seed)
            began = time.monotonic()
            word, reasons = sampled.run(check)
            words[str(word)] += 1
            spent = time.monotonic() - began
            print(seed, word, f"{check.tokens:,} tokens {spent:.1f} s", *reasons, sep="  ")
            for arm in check.findings["sampler"]["arms"]:
                print("   ", arm["arm"], arm["samples"], arm.get("plain"), evidence(arm["audit"]))
    print(dict(words))


def evidence(audit: dict[str, float] | None) -> dict[str, float] | None:
    if audit is None:
        return None
    names = ("different", "equivalent")
    found = {n: (audit[f"log_{n}"], audit[f"needed_{n}"]) for n in names}
    return {n: tuple(np.round(pair, 1).tolist()) for n, pair in found.items()}


def checking(trace: Trace, opened: candidate.Opened, numerics: str, seed: int) -> Check:
    with evidence_of_levels(Path(tempfile.mkdtemp()) / "evidence.parquet") as nothing:
        check = Check(
            opened=opened,
            trace=trace,
            tolerances=session.tolerances_of(trace, numerics),
            settings=Settings(seed=seed, alpha=0.005, beta=0.005),
            evidence=nothing,
            announce=lambda _: None,
        )
    check.texts = {i: token.text for i, token in trace.vocabulary().items()}
    return check


if __name__ == "__main__":
    main()
