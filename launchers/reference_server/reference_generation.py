"""Generation: greedy, or sampled in a way that anyone can repeat.

At temperature t > 0 the token at each step is drawn by inverse CDF: p = softmax(logits / t) in
float64, cumulated in the order of the ids, and u the next double of numpy's PCG64 seeded with that
sequence's seed, one draw a step; the token is the first whose cumulated p exceeds u. So a token
depends on its own sequence and seed only, not on its neighbours in the batch (except that another
batch shape may round the logits otherwise).
"""

from dataclasses import dataclass

import numpy
import torch
from reference_computation import Computation, Piece, pad, pieces, slot_positions
from reference_logprobs import TokenLogprobs, token_logprobs, widened
from reference_scoring import concatenated, groups_of
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What N sequences continued with; M is the sum of `lengths`."""

    lengths: list[int]  # (N,) generated tokens
    finish_stop: list[bool]  # (N,) ended with a stop id, which is its last token
    tokens: Tensor  # (M,) int32, one sequence after the other
    logprobs: TokenLogprobs  # M rows: the model's own, before the temperature


@torch.inference_mode()
def generate(
    computation: Computation,
    sequences: list[list[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    seeds: list[int],
    top_k: int,
    batch: int,
    stop_ids: frozenset[int],
) -> Generated:
    """Continue `sequences`, `batch` at a time in the given order, left-padded, with a KV cache."""
    draws = [numpy.random.Generator(numpy.random.PCG64(seed)) for seed in seeds]
    lengths, finish_stop, tokens, logprobs = [], [], [], []
    for start, group in zip(
        range(0, len(sequences), batch), groups_of(sequences, batch), strict=True
    ):
        sampler = Sampler(temperature=temperature, draws=draws[start : start + batch])
        steps = _Steps(stop_ids=stop_ids, rows=len(group))
        _extend(computation, group, steps, sampler, max_new_tokens=max_new_tokens, top_k=top_k)
        for row in range(len(group)):
            row_tokens, row_logprobs = steps.of_row(row)
            lengths.append(len(row_tokens))
            finish_stop.append(int(row_tokens[-1]) in stop_ids)
            tokens.append(row_tokens.int())
            logprobs.append(row_logprobs)
    return Generated(
        lengths=lengths,
        finish_stop=finish_stop,
        tokens=torch.cat(tokens),
        logprobs=concatenated(logprobs, top_k),
    )


def _extend(
    computation: Computation,
    group: list[list[int]],
    steps: "_Steps",
    sampler: "Sampler",
    *,
    max_new_tokens: int,
    top_k: int,
) -> None:
    """Append up to `max_new_tokens` steps; a row that has stopped runs along, and is cut later."""
    tokens, valid = pad(group, left=True)  # (B, T), (B, T)
    memory = computation.new_memory()
    (piece,) = pieces(tokens, valid, None)
    while True:
        hidden = computation.hidden_states(piece, memory)[:, -1]  # (B, D)
        logits = computation.logits(hidden)  # (B, V)
        chosen = sampler.choose(logits)  # (B,)
        steps.append(chosen, token_logprobs(logits, chosen, top_k))
        if len(steps) == max_new_tokens or steps.all_stopped:
            return
        valid = torch.cat([valid, valid.new_ones(len(group), 1)], dim=1)  # (B, S)
        piece = Piece(tokens=chosen[:, None], positions=slot_positions(valid)[:, -1:], valid=valid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Chooses one token a row; consumes one draw of every row's generator if temperature > 0."""

    temperature: float
    draws: list[numpy.random.Generator]  # B of them

    def choose(self, logits: Tensor) -> Tensor:
        """(B, V) -> (B,) int64. Greedy ties go to the lower id."""
        logits = widened(logits)
        if self.temperature == 0:
            best = logits.max(dim=1, keepdim=True).values  # (B, 1)
            return (logits == best).byte().argmax(dim=1)  # argmax of 0/1 gives the first 1
        cumulated = (logits.double() / self.temperature).softmax(dim=1).cumsum(dim=1)  # (B, V)
        uniform = torch.tensor([draw.random() for draw in self.draws], dtype=torch.float64)
        threshold = uniform[:, None] * cumulated[:, -1:]  # the last is 1 up to rounding
        return torch.searchsorted(cumulated, threshold, right=True)[:, 0]


class _Steps:
    """The tokens and logprobs of one batch so far, step by step."""

    def __init__(self, *, stop_ids: frozenset[int], rows: int) -> None:
        self._stop_ids = stop_ids
        self._tokens: list[Tensor] = []  # each (B,)
        self._logprobs: list[TokenLogprobs] = []  # each of B rows
        self._lengths: list[int | None] = [None] * rows  # None: has not met a stop id

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def all_stopped(self) -> bool:
        return None not in self._lengths

    def append(self, tokens: Tensor, logprobs: TokenLogprobs) -> None:
        self._tokens.append(tokens)
        self._logprobs.append(logprobs)
        for row, token in enumerate(tokens.tolist()):
            if self._lengths[row] is None and token in self._stop_ids:
                self._lengths[row] = len(self)

    def of_row(self, row: int) -> tuple[Tensor, TokenLogprobs]:
        """The tokens of one row, up to and including its stop id, and their logprobs."""
        length = self._lengths[row] or len(self)
        steps = self._logprobs[:length]
        return torch.stack([step[row] for step in self._tokens[:length]]), TokenLogprobs(
            chosen=torch.stack([step.chosen[row] for step in steps]),
            top_ids=torch.stack([step.top_ids[row] for step in steps]),
            top=torch.stack([step.top[row] for step in steps]),
        )
