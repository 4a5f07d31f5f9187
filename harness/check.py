"""The differential check of one running candidate against a trace: asks, compares, stops.

    pin        the engine runs as its pin says                          exact; of what we started
    L0         the same prompts become the same tokens, raw answers the same parts exact
    L2         the candidate scores the reference's own tokens          against the reference
    L0b        its answers are counted, cut off and streamed as asked      exact
    L1         it agrees with itself: again, busy, decoding, in chunks  no reference needed
    L2b        a live reference scores what the candidate generates     against the reference
    sampler    what is drawn is distributed as was promised             against the reference
    black box  texts alone, where there are no logprobs                 against the reference
    L3         tasks: never asked here

L2 is asked before L0b and L1: EQUIVALENT needs it, and most faults are seen by L2 after a few
prompts.
`levels/` asks, `checker/` decides. A level that is not asked has a line that says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from harness.checker import forced as classes
from harness.checker.consistency import kept, schedule
from harness.checker.outcome import LevelResult, Word
from harness.levels import (
    askable,
    configured,
    consistency,
    contract,
    decoded,
    forced,
    sampled,
    served,
    tasks,
    unscored,
)
from harness.levels.state import Check

Run = Callable[[Check], tuple[Word | None, list[str]]]

LEVELS: dict[str, tuple[str, Run]] = {  # name -> title, how it is asked
    "pin": (configured.TITLE, configured.run),
    "L0": (contract.TITLE, contract.run),
    "L2": (forced.TITLE, forced.run),
    "L0b": (served.TITLE, served.run),
    "L1": (consistency.TITLE, consistency.run),
    "L2b": (decoded.TITLE, decoded.run),
    "sampler": (sampled.TITLE, sampled.run),
    "black box": (unscored.TITLE, unscored.run),
    "L3": (tasks.TITLE, tasks.run),
}


def run(check: Check) -> None:
    """All levels until one says DIFFERENT, or all of them; what they found is left in `check`."""
    read_vocabulary(check)
    check.kept = kept(schedule(askable.rows(check), check.settings.seed))
    decided: str | None = None
    for name, (title, ask) in LEVELS.items():
        before, began = check.tokens, time.monotonic()
        if decided is not None and not check.settings.every_level:
            word, reasons = None, [f"{decided} had decided"]
        else:
            word, reasons = ask(check)
        check.levels.append(
            LevelResult(
                level=name,
                title=title,
                word=word,
                reasons=tuple(reasons),
                tokens=check.tokens - before,
                seconds=time.monotonic() - began,
                findings=check.findings.get(name, {}),
            )
        )
        if word is Word.DIFFERENT and decided is None:
            decided = name


def read_vocabulary(check: Check) -> None:
    """What every level needs of the trace's tokens, before the first is asked."""
    vocabulary = check.trace.vocabulary()
    check.texts = {i: token.text for i, token in vocabulary.items()}
    check.classes = np.zeros(max(vocabulary) + 1, dtype=np.int64)
    for i, token in vocabulary.items():
        check.classes[i] = classes.token_class(token)
