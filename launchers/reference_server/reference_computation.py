"""The seam between a model and what is done with it: token ids in, hidden states and logits out.

Two implementations exist (`transformers_computation`, `direct_computation`). Scoring and
generating are written once, on this protocol.

Hidden states and logits are two steps, because the logits of a long prompt do not fit in memory:
a vocabulary of 160 k x 4 k positions in float32 is 2.6 GB. Callers slice the rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The next C tokens of B sequences, after S - C slots that the memory already holds."""

    tokens: Tensor  # (B, C) int64
    positions: Tensor  # (B, C) int64: RoPE position, counts only valid slots
    valid: Tensor  # (B, S) bool: every slot so far, this piece included; False is padding


class Computation(Protocol):
    """A loaded model in one dtype with one attention. A token sees valid slots up to its own."""

    @property
    def vocabulary_size(self) -> int: ...

    def new_memory(self) -> Any:
        """An empty KV cache, to be passed to `hidden_states` with each piece of one batch."""
        ...

    def hidden_states(self, piece: Piece, memory: Any) -> Tensor:
        """(B, C, D): the input of the output head at every slot. Appends the piece to `memory`."""
        ...

    def logits(self, hidden: Tensor) -> Tensor:
        """(R, D) -> (R, V), in the computation's dtype."""
        ...


def pieces(tokens: Tensor, valid: Tensor, chunk: int | None) -> Iterator[Piece]:
    """Cut a padded batch, (B, T) and (B, T), into pieces of `chunk` slots; None: one piece."""
    positions = slot_positions(valid)  # (B, T)
    length = tokens.shape[1]
    step = chunk or length
    for start in range(0, length, step):
        end = min(start + step, length)
        yield Piece(
            tokens=tokens[:, start:end],
            positions=positions[:, start:end],
            valid=valid[:, :end],
        )


def slot_positions(valid: Tensor) -> Tensor:
    """(B, S) bool -> (B, S) int64: 0 at the first valid slot; padding before it also gets 0."""
    return (valid.long().cumsum(dim=1) - 1).clamp(min=0)


def pad(sequences: list[list[int]], *, left: bool) -> tuple[Tensor, Tensor]:
    """B sequences of token ids -> tokens (B, T) int64, padded with id 0, and valid (B, T) bool."""
    width = max(len(sequence) for sequence in sequences)
    tokens = torch.zeros(len(sequences), width, dtype=torch.int64)
    valid = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        start = width - len(sequence) if left else 0
        tokens[row, start : start + len(sequence)] = torch.tensor(sequence)
        valid[row, start : start + len(sequence)] = True
    return tokens, valid
