"""A model whose weights stay on disk, for one that fits nowhere.

One layer is computed over all sequences before the next is read, so that scoring any number of
sequences reads every weight once. How a layer is computed is a seam with two implementations
(`streamed_direct`, `streamed_transformers`). Layers run on a device; all else is on the CPU.
"""

from typing import Any, Protocol

from direct_layers import linear
from reference_computation import Piece
from streamed_memory import Footprint
from streamed_reading import WeightReader
from torch import Tensor

EMBEDDING, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"


class StreamedLayers(Protocol):
    """The decoder layers of a model, one at a time."""

    count: int
    needs: Footprint
    in_blocks: bool  # attention that never holds all pairs of a sequence's tokens

    def new_memory(self) -> Any:
        """An empty KV cache for one group of sequences."""
        ...

    def advance(
        self,
        index: int,
        groups: list[list[Piece]],
        hidden: list[list[Tensor]],
        memories: list[Any],
    ) -> list[list[Tensor]]:
        """One layer over every piece of every group; `hidden` is (B, C, D) for each piece."""
        ...

    def normed(self, hidden: Tensor) -> Tensor:
        """(..., D): what the output head takes, after the last layer."""
        ...


class StreamedComputation:
    """`Computation`, with one pass over all the weights for each call of `hidden_states`."""

    def __init__(self, layers: StreamedLayers, reader: WeightReader, *, tied: bool) -> None:
        self.layers = layers
        self.reader = reader
        self._head_name = EMBEDDING if tied else HEAD
        self._head: Tensor | None = None  # read for the first logits, dropped by the next layer

    @property
    def vocabulary_size(self) -> int:
        return self.reader.weights.table[EMBEDDING].shape[0]

    def new_memory(self) -> Any:
        return self.layers.new_memory()

    def hidden_states(self, piece: Piece, memory: Any) -> Tensor:
        hidden = self.embedded(self.embedding(), piece.tokens)
        for index in range(self.layers.count):
            ((hidden,),) = self.advance(index, [[piece]], [[hidden]], [memory])
        return self.layers.normed(hidden)

    def embedding(self) -> Tensor:
        """(V, D), as it is stored."""
        return self.reader.read_as_stored(EMBEDDING)

    def embedded(self, embedding: Tensor, tokens: Tensor) -> Tensor:
        """(B, C) int64 -> (B, C, D)."""
        return embedding[tokens].to(self.reader.dtype)

    def advance(
        self,
        index: int,
        groups: list[list[Piece]],
        hidden: list[list[Tensor]],
        memories: list[Any],
    ) -> list[list[Tensor]]:
        self._head = None
        return self.layers.advance(index, groups, hidden, memories)

    def logits(self, hidden: Tensor) -> Tensor:
        if self._head is None:
            self._head = self.reader.read(self._head_name)  # (V, D)
        return linear(hidden.to(self.reader.device), self._head).cpu()
