"""The positions of a trace that a prefix may end at, as arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from harness.base.case import Chat
from harness.base.record import Bools, Floats
from harness.checker.forced import CLASSES, token_class
from harness.checker.sampling import Prefixes
from harness.checker.sampling_prefixes import Candidates
from harness.levels.state import Check
from harness.recording import Recorded

LONGEST = 40  # tokens: a prefix counts as often as answers are asked for
LONGEST_CHAT = 300
LONGEST_ROW = 4_096  # a longer sequence takes long to read, and only its beginning is used
NEAR_CERTAIN = 0.97  # a position whose first token is likelier tells nothing
UNREADABLE = "\ufffd"
MARKERS = ("special", "think")  # which a server may hide, or act upon


def candidates(check: Check, *, as_text: bool) -> Candidates:
    """All positions of the trace that can be used. `as_text`: no special token in the prefix but
    at its beginning, where a server puts it by itself."""
    special = _special(check) if as_text else None
    return _gathered(check, _readable(check), lambda recorded: _lengths(recorded, special))


def of_chats(check: Check) -> Candidates:
    """The first tokens of answers to the trace's chats. Their white space may get lost."""

    def lengths(recorded: Recorded) -> list[int]:
        short = recorded.prompt_tokens <= LONGEST_CHAT
        return [recorded.prompt_tokens] if short and isinstance(recorded.case.prompt, Chat) else []

    return _gathered(check, _readable(check, stripped=True), lengths)


def _gathered(
    check: Check, readable: Bools, lengths: Callable[[Recorded], list[int]]
) -> Candidates:
    benign = check.trace.benign_divergence(check.tolerances.numerics)
    broken = _broken(check)
    parts: list[tuple[Floats, Bools, Bools, int, int, float]] = []
    for row in range(len(check.trace)):
        if check.trace.tokens_of[row] > LONGEST_ROW:
            continue
        recorded = check.trace[row]
        divergence = benign.get(recorded.case.id)
        for length in lengths(recorded):
            if divergence is None or broken[recorded.token_ids[length - 1]]:
                continue  # what a broken character leaves behind comes with the next token
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
    columns = zip(*parts, strict=True) if parts else [()] * 6
    logprobs, named, seen, rows, ends, divergences = columns
    shape = (len(parts), check.top_k)
    of_row = [check.tolerances.of(check.trace.stratum_of[row]) for row in rows]
    return Candidates(
        prefixes=Prefixes(
            logprobs=np.array(logprobs, dtype=np.float64).reshape(shape),
            named=np.array(named, dtype=np.bool_).reshape(shape),
            seen=np.array(seen, dtype=np.bool_).reshape(shape),
        ),
        rows=np.array(rows, dtype=np.int64),
        lengths=np.array(ends, dtype=np.int64),
        divergence=np.array(divergences, dtype=np.float64),
        tolerated=np.array([t.tau_k for t in of_row], dtype=np.float64),
        off=np.array([t.benign_d_999 for t in of_row], dtype=np.float64),
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


def _readable(check: Check, *, stripped: bool = False) -> Bools:
    """By id: whether a text tells this token from every other one of the vocabulary."""
    vocabulary = check.trace.vocabulary()
    texts = {i: t.text.strip() if stripped else t.text for i, t in vocabulary.items()}
    times = Counter(texts.values())
    return _by_id(
        {
            i: bool(texts[i])
            and CLASSES[token_class(token)] not in MARKERS
            and UNREADABLE not in token.text
            and times[texts[i]] == 1
            for i, token in vocabulary.items()
        }
    )


def _broken(check: Check) -> Bools:
    return _by_id({i: UNREADABLE in t.text for i, t in check.trace.vocabulary().items()})


def _special(check: Check) -> Bools:
    return _by_id({i: t.special for i, t in check.trace.vocabulary().items()})


def _by_id(flags: dict[int, bool]) -> Bools:
    table = np.zeros(max(flags) + 1, dtype=np.bool_)
    table[[i for i, flag in flags.items() if flag]] = True
    return table
