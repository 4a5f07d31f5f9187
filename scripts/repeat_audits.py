"""Audits the sampler of one engine again and again: how often is it accused, and what is found?

    python scripts/repeat_audits.py TRACE PIN|URL [--repeats 20] [--set KEY=VALUE] [--instead JSON]
                                    [--live REFERENCE]

`--instead` puts fields into every request on its way, as a faulty gateway would:
'{"temperature": 0.9}'. Prints a line an audit, and a last one with the words counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import candidate, session
from harness.check import read_vocabulary
from harness.checker.outcome import LevelResult, Word
from harness.client import Asker, Endpoint
from harness.evidence import written as evidence_of_levels
from harness.levels import sampled
from harness.levels.state import Check, Settings
from harness.recording import Trace
from launchers.dialect import Reply, Request

L2_BEFORE = LevelResult(
    level="L2", title="", word=Word.EQUIVALENT, reasons=(), tokens=0, seconds=0.0
)


class Rewriting(Endpoint):
    """An endpoint whose requests are changed on their way."""

    def __init__(self, url: str, instead: Mapping[str, Any]) -> None:
        super().__init__(url)
        self._instead = instead

    def ask(self, request: Request, *, timeout_s: float | None = None) -> Reply:
        body = dict(request.body or {})
        if "sampling_params" in body:  # SGLang's own
            body["sampling_params"] = [{**one, **self._instead} for one in body["sampling_params"]]
        else:
            body |= self._instead
        return super().ask(replace(request, body=body), timeout_s=timeout_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("engine")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--numerics", default="fp32")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--instead", type=json.loads, default={})
    parser.add_argument("--live", help="a reference pin that scores what is generated")
    given = parser.parse_args()
    trace = Trace(given.trace)
    log = Path(tempfile.mkdtemp()) / "engine.log"
    pin = candidate.prepared(given.engine, given.changes)
    words: Counter[str] = Counter()
    with ExitStack() as engines:
        opened = engines.enter_context(candidate.opened(given.engine, pin, log=log, announce=print))
        live = None if given.live is None else engines.enter_context(_live(given.live))
        if given.instead:
            opened = replace(
                opened, asker=Asker(Rewriting(opened.url, given.instead), opened.asker.dialect)
            )
        for seed in range(given.repeats):
            check = checking(trace, opened, live, given.numerics, seed)
            began = time.monotonic()
            word, reasons = sampled.run(check)
            words[str(word)] += 1
            spent = time.monotonic() - began
            print(
                seed, word, f"{check.tokens:,} tokens {spent:.1f} s", *reasons, sep="  ", flush=True
            )
            for arm in check.findings["sampler"]["arms"]:
                print("   ", arm["arm"], arm["samples"], arm.get("plain"), evidence(arm["audit"]))
    print(dict(words))


def evidence(audit: dict[str, float] | None) -> dict[str, float] | None:
    if audit is None:
        return None
    names = ("different", "equivalent")
    found = {n: (audit[f"log_{n}"], audit[f"needed_{n}"]) for n in names}
    return {n: tuple(np.round(pair, 1).tolist()) for n, pair in found.items()}


def _live(name: str) -> AbstractContextManager[candidate.Opened]:
    log = Path(tempfile.mkdtemp()) / "reference.log"
    return candidate.opened(name, candidate.prepared(name, ()), log=log, announce=print)


def checking(
    trace: Trace,
    opened: candidate.Opened,
    live: candidate.Opened | None,
    numerics: str,
    seed: int,
) -> Check:
    """Before the sampler is asked; L2 is taken as EQUIVALENT."""
    with evidence_of_levels(Path(tempfile.mkdtemp()) / "evidence.parquet") as nothing:
        check = Check(
            opened=opened,
            trace=trace,
            tolerances=session.tolerances_of(trace, numerics),
            settings=Settings(seed=seed, alpha=0.005, beta=0.005),
            evidence=nothing,
            announce=lambda _: None,
            live=live,
        )
    read_vocabulary(check)
    check.levels.append(L2_BEFORE)
    return check


if __name__ == "__main__":
    main()
