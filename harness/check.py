"""The differential check of one running candidate against a trace: asks, compares, stops.

    pin the engine runs as its pin says                          exact; only for what we started
    L0  the same prompts become the same token ids               exact
    L2  the candidate scores the reference's own tokens          against the reference
    L1  it agrees with itself: again, busy, decoding, in chunks  no reference needed

L2 is asked before L1: EQUIVALENT needs both, and most faults are seen by L2 after a few prompts.
`levels/` asks, `checker/` decides.
"""

from __future__ import annotations

import time

import numpy as np

from harness.checker import forced as classes
from harness.checker.outcome import LevelResult, Word
from harness.levels import configured, consistency, contract, forced
from harness.levels.state import Check

LEVELS = {"pin": configured, "L0": contract, "L2": forced, "L1": consistency}


def run(check: Check) -> None:
    """All levels until one says DIFFERENT; what they found is left in `check`."""
    vocabulary = check.trace.vocabulary()
    check.texts = {i: token.text for i, token in vocabulary.items()}
    check.classes = np.zeros(max(vocabulary) + 1, dtype=np.int64)
    for i, token in vocabulary.items():
        check.classes[i] = classes.token_class(token)
    for name, level in LEVELS.items():
        if level is configured and check.opened.running is None:
            continue
        before, began = check.tokens, time.monotonic()
        word, reasons = level.run(check)
        check.levels.append(
            LevelResult(
                level=name,
                title=level.TITLE,
                word=word,
                reasons=tuple(reasons),
                tokens=check.tokens - before,
                seconds=time.monotonic() - began,
            )
        )
        if word is Word.DIFFERENT:
            return
