"""Attention of the direct implementation, twice: in one piece, and in blocks.

Both compute in the wide dtype and round the result once. `visible` (B, C, S) says which slots a
query sees.
"""

from typing import Protocol

import torch
from direct_layers import wide_dtype
from torch import Tensor

QUERY_BLOCK = 64
KEY_BLOCK = 128


class Attention(Protocol):
    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor, scale: float
    ) -> Tensor:
        """query (B, C, H, D), key (B, S, H, D), value (B, S, H, E) -> (B, C, H, E)."""
        ...


def visible_slots(valid: Tensor, queries: int) -> Tensor:
    """(B, S) -> (B, C, S): valid slots up to the query's own; padding sees itself too.

    The queries are the last C slots. Padding must see something, or its softmax is 0/0.
    """
    slots = torch.arange(valid.shape[1], device=valid.device)  # (S,)
    own = slots[-queries:, None]  # (C, 1)
    return (valid[:, None] & (slots <= own)) | (slots == own)


def attend_at_once(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor, scale: float
) -> Tensor:
    """softmax(scale q k^T) v over all the slots (arXiv 1706.03762, eq. 1)."""
    query_, key_, value_ = _heads_first(query, key, value)
    scores = _scores(query_, key_, visible, scale)  # (B, H, C, S)
    weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return (weights @ value_).transpose(1, 2).to(query.dtype)


def attend_in_blocks(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor, scale: float
) -> Tensor:
    """The same by blocks of queries and keys with a running softmax (arXiv 2205.14135, alg. 1)."""
    query_, key_, value_ = _heads_first(query, key, value)
    outputs = [
        _one_query_block(rows, key_, value_, seen, scale)
        for rows, seen in zip(
            query_.split(QUERY_BLOCK, dim=2), visible.split(QUERY_BLOCK, dim=1), strict=True
        )
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2).to(query.dtype)


def _one_query_block(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor, scale: float
) -> Tensor:
    """(B, H, c, D) against (B, H, S, D) -> (B, H, c, E)."""
    lowest = torch.finfo(query.dtype).min  # finite: a block may hold no visible slot
    maximum = query.new_full((*query.shape[:3], 1), lowest)  # (B, H, c, 1)
    denominator = torch.zeros_like(maximum)
    numerator = query.new_zeros(*query.shape[:3], value.shape[-1])  # (B, H, c, E)
    for start in range(0, key.shape[2], KEY_BLOCK):
        block = slice(start, start + KEY_BLOCK)
        scores = _scores(query, key[:, :, block], visible[:, :, block], scale)
        raised = torch.maximum(maximum, scores.amax(dim=-1, keepdim=True))
        shrink = (maximum - raised).exp()
        weights = (scores - raised).exp()
        denominator = denominator * shrink + weights.sum(dim=-1, keepdim=True)
        numerator = numerator * shrink + weights @ value[:, :, block]
        maximum = raised
    return numerator / denominator


def _heads_first(*tensors: Tensor) -> tuple[Tensor, ...]:
    """(B, S, H, D) each -> (B, H, S, D) each, in the wide dtype."""
    return tuple(tensor.to(wide_dtype(tensor.dtype)).transpose(1, 2) for tensor in tensors)


def _scores(query: Tensor, key: Tensor, visible: Tensor, scale: float) -> Tensor:
    scores = query @ key.transpose(2, 3) * scale  # (B, H, C, S)
    return scores.masked_fill(~visible[:, None], -torch.inf)


ATTENTIONS: dict[str, Attention] = {"eager": attend_at_once, "blocked": attend_in_blocks}
