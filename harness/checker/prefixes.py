"""L2 where given tokens cannot be scored: the next token after a prefix, its alternatives by text.

An endpoint that gives the logprobs of what it generates alone names the alternatives of one
position a request, and by their texts. Both sides are brought to the same cells: a text is a cell,
whatever number of ids it stands for; what is judged at a position is the reference's most probable
cell, for nobody can name another to the endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.base.errors import RequestError
from harness.base.record import Floats, Ints, Scores


def by_text(ids: Ints, logprobs: Floats, texts: Mapping[int, str]) -> dict[str, float]:
    """(k,) alternatives of a position as text -> logprob; ids of one text are added up."""
    cells: dict[str, float] = {}
    for token, logprob in zip(ids.tolist(), logprobs.tolist(), strict=True):
        text = texts[token]
        cells[text] = float(np.logaddexp(cells[text], logprob)) if text in cells else logprob
    return cells


def compared(
    reference: Sequence[Mapping[str, float]], candidate: Sequence[Mapping[str, float]]
) -> tuple[Scores, Scores]:
    """The same N positions of both, over as many cells as the shorter list of any has.

    RequestError where the candidate names fewer than two at a position: there is no margin then.
    """
    k = min(len(cells) for side in (reference, candidate) for cells in side)
    if k < 2:
        raise RequestError("fewer than 2 alternatives of a position came")
    names: dict[str, int] = {}
    first, second = ([_row(cells, names, k) for cells in side] for side in (reference, candidate))
    best = [ids[0] for ids, _ in first]
    return _scores(first, best), _scores(second, best)


Row = tuple[list[int], list[float]]  # cells in descending order, and their logprobs


def _row(cells: Mapping[str, float], names: dict[str, int], k: int) -> Row:
    ranked = sorted(cells.items(), key=lambda cell: (-cell[1], cell[0]))[:k]
    return [names.setdefault(text, len(names)) for text, _ in ranked], [lp for _, lp in ranked]


def _scores(rows: Sequence[Row], judged: Sequence[int]) -> Scores:
    """A cell that is judged and not listed lies below the smallest that is."""
    logprobs = [
        found[ids.index(cell)] if cell in ids else found[-1]
        for (ids, found), cell in zip(rows, judged, strict=True)
    ]
    return Scores(
        logprobs=np.array(logprobs, dtype=np.float64),
        top_ids=np.array([ids for ids, _ in rows], dtype=np.int32),
        top_logprobs=np.array([found for _, found in rows], dtype=np.float64),
    )
