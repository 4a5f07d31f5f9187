"""How much memory a streamed run takes, and so how many sequences are computed in one round.

All figures are of the weights and activations at hand; the interpreter, torch and the tokenizer
come on top (about half a GB). Sequences that do not fit together are computed in rounds, and each
round reads all the weights again.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from checkpoint_weights import Weight
from direct_attention import QUERY_BLOCK
from streamed_reading import READERS

LAYER = re.compile(r"model\.layers\.(\d+)\.(mlp\.experts\.\d+\.)?.*")
# Bytes a number of a weight on its way: as stored, as exact floats twice, in the computation's.
READING_BYTES = 16


class MemoryLimitError(ValueError):
    """The limit is too small for this model or these sequences; says what would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What one model in one dtype needs, in bytes."""

    weights: int  # at the worst moment
    per_token: int  # of a round, while its experts are computed
    per_group_token: int  # of the one group that is in the attention or a dense part
    per_pair: int  # of a query and a key of that group


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The size of a group of sequences that are computed together."""

    rows: int
    width: int  # slots, padding included

    @property
    def slots(self) -> int:
        return self.rows * self.width


def footprint(
    table: Mapping[str, Weight],
    *,
    dtype: torch.dtype,
    hidden_size: int,
    heads: int,
    whole_layers: bool,
) -> Footprint:
    """From the names and shapes of all the weights. `whole_layers`: with all their experts."""
    size, wide = dtype.itemsize, max(dtype.itemsize, 4)
    kept, experts, whole = Counter[str](), Counter[str](), Counter[str]()
    ends = [0]
    outputs, expert_outputs = Counter[str](), Counter[str]()  # numbers a token: of linear maps
    for name, weight in table.items():
        numbers = math.prod(weight.shape)
        rows = weight.shape[0] if len(weight.shape) == 2 else 0
        layer = LAYER.fullmatch(name)
        whole[layer[1] if layer else ""] += numbers if layer else 0
        if layer is None:
            ends.append(numbers)
            continue
        if layer[2]:
            experts[layer[1] + layer[2]] += numbers
            expert_outputs[layer[1] + layer[2]] += rows
        else:
            kept[layer[1]] += numbers
            outputs[layer[1]] += rows
    expert = max(experts.values(), default=0)
    layer_bytes = 2 * max(kept.values()) * size + (READERS + 1) * expert * READING_BYTES
    if whole_layers:
        layer_bytes += max(whole.values()) * size
    return Footprint(
        weights=max(layer_bytes, max(ends) * (size + wide)),
        per_token=hidden_size * (6 * size + 2 * wide)
        + max(expert_outputs.values(), default=0) * size,
        per_group_token=max(outputs.values()) * (size + 3 * wide),
        per_pair=3 * heads * wide,
    )


def in_rounds(
    blocks: list[Block], needs: Footprint, *, limit_bytes: int | None, in_blocks: bool
) -> list[list[int]]:
    """Which groups are computed in which round, in their order. None: all in one.

    Raises MemoryLimitError if a group does not fit even alone.
    """
    everything = list(range(len(blocks)))
    if limit_bytes is None:
        return [everything]
    largest = max(_attention_bytes(block, needs, in_blocks) for block in blocks)
    room = limit_bytes - needs.weights - largest
    rounds: list[list[int]] = [[]]
    used = 0
    for index in everything:
        cost = blocks[index].slots * needs.per_token
        if cost > room:
            raise MemoryLimitError(
                f"a memory limit of {limit_bytes / 1e9:.3f} GB is too small: the weights at hand"
                f" take {needs.weights / 1e9:.3f} GB, and {blocks[index].slots} tokens computed"
                f" together {(largest + cost) / 1e9:.3f} GB"
            )
        if rounds[-1] and used + cost > room:
            rounds.append([])
            used = 0
        rounds[-1].append(index)
        used += cost
    return rounds


def _attention_bytes(block: Block, needs: Footprint, in_blocks: bool) -> int:
    queries = min(block.width, QUERY_BLOCK) if in_blocks else block.width
    return block.slots * (needs.per_group_token + queries * needs.per_pair + block.width)
