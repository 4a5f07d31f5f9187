"""The positions of a trace that a prefix may end at, as arrays."""

from __future__ import annotations

from collections import Counter

import numpy as np

from harness.base.record import Bools, Floats
from harness.checker.sampling import Prefixes
from harness.checker.sampling_prefixes import Candidates
from harness.levels.state import Check
from harness.recording import Recorded

LONGEST = 40  # tokens: a prefix counts as often as answers are asked for
NEAR_CERTAIN = 0.97  # a position whose first token is likelier tells nothing
UNREADABLE = "\ufffd"


def candidates(check: Check, *, as_text: bool) -> Candidates:
    """All positions of the trace that can be used. `as_text`: no special token in the prefix but
    at its beginning, where a server puts it by itself."""
    readable = _readable(check)
    special = _special(check)
    benign = check.trace.benign_divergence(check.tolerances.numerics)
    parts: list[tuple[Floats, Bools, Bools, int, int, float]] = []
    for row in range(len(check.trace)):
        recorded = check.trace[row]
        divergence = benign.get(recorded.case.id)
        for length in _lengths(recorded, special if as_text else None):
            if divergence is None or not readable[recorded.token_ids[length - 1]]:
                continue
            ids = recorded.scores.top_ids[length - 1]
            parts.append(
                (
                    recorded.scores.top_logprobs[length - 1],
                    readable[ids],
                    np.isin(ids, recorded.token_ids[:length]),
                    row,
                    length,
                    float(divergence[length - 1]),
                )
            )
    logprobs, named, seen, rows, lengths, divergences = (
        zip(*parts, strict=True) if parts else [()] * 6
    )
    shape = (len(parts), check.top_k)
    return Candidates(
        prefixes=Prefixes(
            logprobs=np.array(logprobs, dtype=np.float64).reshape(shape),
            named=np.array(named, dtype=np.bool_).reshape(shape),
            seen=np.array(seen, dtype=np.bool_).reshape(shape),
        ),
        rows=np.array(rows, dtype=np.int64),
        lengths=np.array(lengths, dtype=np.int64),
        divergence=np.array(divergences, dtype=np.float64),
    )


def _lengths(recorded: Recorded, special: Bools | None) -> list[int]:
    last = min(LONGEST, len(recorded.token_ids) - 1)
    if special is not None:
        marked = np.flatnonzero(special[list(recorded.token_ids[:last])])
        leading = int((marked == np.arange(len(marked))).sum())
        if len(marked) > leading:
            last = int(marked[leading])
        first = leading + 1
    else:
        first = 1
    unsure = recorded.scores.top_logprobs[:last, 0] < np.log(NEAR_CERTAIN)
    return [n for n in range(first, last + 1) if unsure[n - 1]]


def _readable(check: Check) -> Bools:
    """By id: whether a text tells this token from every other one of the vocabulary."""
    vocabulary = check.trace.vocabulary()
    times = Counter(token.text for token in vocabulary.values())
    table = np.zeros(max(vocabulary) + 1, dtype=np.bool_)
    for i, token in vocabulary.items():
        table[i] = (
            bool(token.text)
            and not token.special
            and UNREADABLE not in token.text
            and times[token.text] == 1
        )
    return table


def _special(check: Check) -> Bools:
    vocabulary = check.trace.vocabulary()
    table = np.zeros(max(vocabulary) + 1, dtype=np.bool_)
    for i, token in vocabulary.items():
        table[i] = token.special
    return table
