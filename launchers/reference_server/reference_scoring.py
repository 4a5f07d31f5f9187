"""Teacher-forced scoring: the log-probability of every token of given sequences."""

from collections.abc import Iterator

import torch
from reference_computation import Computation, pad, pieces
from reference_logprobs import LOGITS_PER_SLICE, TokenLogprobs, token_logprobs
from torch import Tensor


@torch.inference_mode()
def score(
    computation: Computation,
    sequences: list[list[int]],
    *,
    top_k: int,
    batch: int,
    chunk: int | None,
) -> TokenLogprobs:
    """Score `sequences`, `batch` at a time in the given order, right-padded.

    The rows are the positions 1..T-1 of each sequence, one sequence after the other: M rows in all.
    With `chunk`, a prompt passes `chunk` slots at a time through the KV cache.
    """
    rows = [
        row
        for group in groups_of(sequences, batch)
        for row in _score_group(computation, group, top_k=top_k, chunk=chunk)
    ]
    return concatenated(rows, top_k)


def _score_group(
    computation: Computation, group: list[list[int]], *, top_k: int, chunk: int | None
) -> Iterator[TokenLogprobs]:
    tokens, valid = pad(group, left=False)  # (B, T), (B, T)
    memory = computation.new_memory()
    hidden = torch.cat(
        [computation.hidden_states(piece, memory) for piece in pieces(tokens, valid, chunk)], dim=1
    )  # (B, T, D)
    for row, sequence in enumerate(group):
        targets = tokens[row, 1 : len(sequence)]  # (T - 1,)
        yield from score_rows(computation, hidden[row, : len(targets)], targets, top_k)


def score_rows(
    computation: Computation, hidden: Tensor, targets: Tensor, top_k: int
) -> Iterator[TokenLogprobs]:
    """Hidden states (R, D) and the tokens that follow, (R,), in slices of bounded memory."""
    rows = max(1, LOGITS_PER_SLICE // computation.vocabulary_size)
    for start in range(0, len(targets), rows):
        logits = computation.logits(hidden[start : start + rows])  # (rows, V)
        yield token_logprobs(logits, targets[start : start + rows], top_k)


def groups_of(items: list[list[int]], size: int) -> Iterator[list[list[int]]]:
    """Consecutive groups of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def concatenated(rows: list[TokenLogprobs], top_k: int) -> TokenLogprobs:
    """Join along the rows. No rows at all (sequences of one token) give empty arrays."""
    return TokenLogprobs(
        chosen=torch.cat([torch.empty(0, dtype=torch.float64), *(row.chosen for row in rows)]),
        top_ids=torch.cat(
            [torch.empty(0, top_k, dtype=torch.int32), *(row.top_ids for row in rows)]
        ),
        top=torch.cat([torch.empty(0, top_k, dtype=torch.float64), *(row.top for row in rows)]),
    )
