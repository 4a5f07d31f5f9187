"""Teacher-forced scoring of all sequences at once, layer by layer, resumable after every layer.

The numbers are those of `reference_scoring.score` on the same implementation, to the last bit on
the same machine: the same groups of `batch` sequences pass through the same operations.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from reference_computation import Piece, pad, pieces
from reference_logprobs import TokenLogprobs
from reference_scoring import concatenated, groups_of, score_rows
from streamed_computation import StreamedComputation
from streamed_memory import Block, in_rounds
from streamed_store import HiddenStore
from torch import Tensor

Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """B sequences that are computed together, right-padded, in pieces of `chunk` slots."""

    sequences: list[list[int]]
    tokens: Tensor  # (B, T) int64
    pieces: list[Piece]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Where a run keeps what it has, what it may use, and what it depends on."""

    folder: Path
    memory_limit_bytes: int | None
    identity: dict  # of the checkpoint and the computation; in the run's name


@torch.inference_mode()
def score_streamed(
    computation: StreamedComputation,
    sequences: list[list[int]],
    *,
    top_k: int,
    batch: int,
    chunk: int | None,
    work: Work,
    announce: Announce,
) -> TokenLogprobs:
    """As `reference_scoring.score`. Raises MemoryLimitError, and WorkFolderError."""
    groups = [_group(part, chunk) for part in groups_of(sequences, batch)]
    needs = computation.layers.needs
    order = in_rounds(
        [Block(rows=g.tokens.shape[0], width=g.tokens.shape[1]) for g in groups],
        needs,
        limit_bytes=work.memory_limit_bytes,
        in_blocks=computation.layers.in_blocks,
    )
    run = work.identity | {"sequences": sequences, "batch": batch, "chunk": chunk, "rounds": order}
    store = HiddenStore(work.folder, run)
    rounds = [[groups[index] for index in part] for part in order]
    tokens = sum(map(len, sequences))
    announce(
        f"streamed: {tokens} tokens, {len(rounds)} rounds, work folder {store.folder},"
        f" {needs.weights / 1e9:.2f} GB of weights at hand"
    )
    if others := store.unfinished_beside():
        announce(
            f"streamed: {work.folder} holds {others} unfinished runs besides; each goes on when it"
            " is asked again, and can be removed if it will not be"
        )
    _embed(computation, rounds, store)
    _advance(computation, rounds, store, announce)
    rows = [
        row
        for number, part in enumerate(rounds)
        for row in _score_round(
            computation, part, store.load(number, computation.layers.count), top_k
        )
    ]
    store.remove()
    return concatenated(rows, top_k)


def _group(sequences: list[list[int]], chunk: int | None) -> Group:
    tokens, valid = pad(sequences, left=False)
    return Group(sequences=sequences, tokens=tokens, pieces=list(pieces(tokens, valid, chunk)))


def _embed(computation: StreamedComputation, rounds: list[list[Group]], store: HiddenStore) -> None:
    todo = [number for number in range(len(rounds)) if store.layers_done(number) is None]
    if not todo:
        return
    embedding = computation.embedding()
    for number in todo:
        blocks = [piece.tokens for group in rounds[number] for piece in group.pieces]
        store.save(number, 0, [computation.embedded(embedding, block) for block in blocks])


def _advance(
    computation: StreamedComputation,
    rounds: list[list[Group]],
    store: HiddenStore,
    announce: Announce,
) -> None:
    """Every layer that is not done yet, over every round."""
    progress = Progress(computation, announce)
    held: tuple[int, list[Tensor]] | None = None  # the round that is still in memory
    for index in range(computation.layers.count):
        for number, groups in enumerate(rounds):
            if store.layers_done(number) > index:
                continue
            if held is None or held[0] != number:
                held = None  # two rounds are never in memory together
                held = (number, store.load(number, index))
            held = (number, _layer(computation, index, groups, held[1]))
            store.save(number, index + 1, held[1])
        progress.layer_done(index)


def _layer(
    computation: StreamedComputation, index: int, groups: list[Group], blocks: list[Tensor]
) -> list[Tensor]:
    hidden = iter(blocks)
    advanced = computation.advance(
        index,
        [group.pieces for group in groups],
        [[next(hidden) for _ in group.pieces] for group in groups],
        [computation.new_memory() for _ in groups],
    )
    return [block for group in advanced for block in group]


def _score_round(
    computation: StreamedComputation, groups: list[Group], blocks: list[Tensor], top_k: int
) -> list[TokenLogprobs]:
    """The rows of every sequence of a round, from the hidden states after the last layer."""
    hidden = iter(blocks)
    rows: list[TokenLogprobs] = []
    for group in groups:
        states = [computation.layers.normed(next(hidden)) for _ in group.pieces]
        whole = torch.cat(states, dim=1)  # (B, T, D)
        for row, sequence in enumerate(group.sequences):
            targets = group.tokens[row, 1 : len(sequence)]  # (T - 1,)
            rows += score_rows(computation, whole[row, : len(targets)], targets, top_k)
    return rows


class Progress:
    """Says after each layer how fast the weights come, and when the last one will be done."""

    def __init__(self, computation: StreamedComputation, announce: Announce) -> None:
        self._computation = computation
        self._announce = announce
        self._began = self._last = time.monotonic()
        self._read = computation.reader.bytes_read
        self._done = 0

    def layer_done(self, index: int) -> None:
        """A layer that an earlier run had finished took no time, and is not counted."""
        reader, count = self._computation.reader, self._computation.layers.count
        now, read = time.monotonic(), reader.bytes_read
        if read == self._read:
            self._announce(f"streamed: layer {index + 1} of {count} was done before")
            return
        self._done += 1
        seconds, size = now - self._last, read - self._read
        left = (now - self._began) / self._done * (count - index - 1)
        self._announce(
            f"streamed: layer {index + 1} of {count}, {size / 1e9:.2f} GB read at"
            f" {size / seconds / 1e6:.0f} MB/s, {seconds:.1f} s; {left:.0f} s left"
        )
        self._last, self._read = now, read
