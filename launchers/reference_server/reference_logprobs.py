"""Logits to log-probabilities: of given tokens, and of the k most likely ones.

Ranking is by logit, ties go to the lower id; logprob = logit - logsumexp(logits), where the
logsumexp is in float32 (float64 if the logits are) and the subtraction in float64, so that
different logits never round to equal logprobs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LOGITS_PER_SLICE = 2**24  # 64 MiB of float32 logits at a time, whatever the vocabulary
CANDIDATES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprobs:
    """Natural-log probabilities of R tokens under the raw distribution (temperature 1)."""

    chosen: Tensor  # (R,) float64
    top_ids: Tensor  # (R, k) int32, most likely first
    top: Tensor  # (R, k) float64


def token_logprobs(logits: Tensor, tokens: Tensor, top_k: int) -> TokenLogprobs:
    """Logits (R, V) of the slots before `tokens` (R,) -> their logprobs and the k best."""
    logits = widened(logits)
    normaliser = torch.logsumexp(logits, dim=1, keepdim=True).double()  # (R, 1)
    top_ids = most_likely(logits, top_k)  # (R, k)
    chosen = logits.gather(1, tokens[:, None]).double() - normaliser  # (R, 1)
    return TokenLogprobs(
        chosen=chosen[:, 0],
        top_ids=top_ids.int(),
        top=logits.gather(1, top_ids).double() - normaliser,
    )


def widened(logits: Tensor) -> Tensor:
    """float32, or float64 if the logits are: log-probabilities are never computed in bfloat16."""
    return logits if logits.dtype == torch.float64 else logits.float()


def most_likely(logits: Tensor, top_k: int) -> Tensor:
    """(R, V) -> (R, k) int64: ids by descending logit; equal logits by ascending id.

    torch.topk chooses freely among equal logits (bfloat16 has many), so it only proposes
    candidates, and a stable sort decides. Rows whose tie may reach beyond them are sorted whole.
    """
    count = min(CANDIDATES_PER_TOKEN * top_k, logits.shape[1])
    values, ids = torch.topk(logits, count, dim=1)  # (R, count)
    ids = ids.sort(dim=1).values
    order = logits.gather(1, ids).argsort(dim=1, descending=True, stable=True)
    best = ids.gather(1, order)[:, :top_k]
    open_ended = (values[:, top_k - 1] == values[:, -1]).nonzero()[:, 0]  # (R',)
    if len(open_ended):
        whole = logits[open_ended].argsort(dim=1, descending=True, stable=True)  # (R', V)
        best[open_ended] = whole[:, :top_k]
    return best
