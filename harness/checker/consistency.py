"""L1: one engine against itself. The comparisons, each a group of the judge:

repeat   the same request twice, alone
busy     alone, and among many
decode   what it reported while generating, and its own prefill of the same tokens
chunks   the next token after a prefix, and the same position scored in one piece
"""

from __future__ import annotations

import numpy as np

from harness.base.record import Floats, Ints, Scores

COMPARISONS = ("repeat", "busy", "decode", "chunks")
CUTS = 4  # prefixes of one sequence


def cuts(length: int) -> tuple[int, ...]:
    """Prefix lengths, ascending, spread over a sequence of `length` tokens (2 or more)."""
    spread = np.linspace(length / 4, length - 1, CUTS)
    return tuple(sorted({max(1, int(cut)) for cut in spread}))


def at_cuts(whole: Scores, lengths: tuple[int, ...]) -> Scores:
    """The whole sequence's scores (len(lengths) positions) for the token after each prefix.

    The token judged is the most probable one, for no request can name another.
    """
    rows = np.array([length - 1 for length in lengths])  # position t stands in row t - 1
    return Scores(
        logprobs=whole.top_logprobs[rows, 0],
        top_ids=whole.top_ids[rows],
        top_logprobs=whole.top_logprobs[rows],
    )


def stacked(parts: list[Scores], of: Ints) -> Scores:
    """One-position scores (each of one prefix) as one, the token judged being `of` (N,)."""
    top_ids = np.concatenate([part.top_ids for part in parts])
    top_logprobs = np.concatenate([part.top_logprobs for part in parts])
    return Scores(
        logprobs=_logprob_of(of, top_ids, top_logprobs), top_ids=top_ids, top_logprobs=top_logprobs
    )


def _logprob_of(ids: Ints, top_ids: Ints, top_logprobs: Floats) -> Floats:
    """(N,) of each id in its list; an id that is not listed lies below the smallest."""
    same = top_ids == ids[:, None]  # (N, k)
    listed = np.take_along_axis(top_logprobs, same.argmax(axis=1)[:, None], axis=1).squeeze(1)
    return np.where(same.any(axis=1), listed, top_logprobs.min(axis=1))
