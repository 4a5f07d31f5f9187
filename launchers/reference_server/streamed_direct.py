"""Streamed layers of the direct implementation: its equations, with the loops in another order.

An expert is read when its turn comes, and serves all sequences before the next one does.
"""

from pathlib import Path

from checkpoint_config import LanguageModelConfig
from checkpoint_weights import CheckpointWeights
from direct_attention import ATTENTIONS, visible_slots
from direct_checkpoint import Checkpoint, need
from direct_computation import ARCHITECTURES, read_supported_config
from direct_layers import DirectMemory, rms_norm
from reference_computation import DTYPES, Piece
from streamed_computation import EMBEDDING, HEAD, NORM, StreamedComputation
from streamed_memory import footprint
from streamed_reading import StreamedCheckpoint, WeightReader
from torch import Tensor


def streamed_direct(
    folder: Path, *, dtype: str, attention: str, device: str
) -> StreamedComputation:
    """Raises UnsupportedModelError, and ignores nothing."""
    language = read_supported_config(folder)
    reader = WeightReader(CheckpointWeights(folder, language), DTYPES[dtype], device)
    layers = DirectStreamedLayers(language, reader, attention)
    return StreamedComputation(layers, reader, tied=need(language.keys, "tie_word_embeddings"))


class DirectStreamedLayers:
    """`StreamedLayers` from the equations."""

    def __init__(self, language: LanguageModelConfig, reader: WeightReader, attention: str) -> None:
        config = language.keys
        checkpoint = Checkpoint(reader.weights, reader.dtype)
        streamed = StreamedCheckpoint(checkpoint, reader)
        shape = (need(config, "vocab_size"), need(config, "hidden_size"))
        for name in (EMBEDDING,) if need(config, "tie_word_embeddings") else (EMBEDDING, HEAD):
            checkpoint.claim(name, shape)
        self._norm = checkpoint.take(NORM, shape[1:])  # on the CPU, as all that is not a layer
        self._epsilon = need(config, "rms_norm_eps")
        self._device = reader.device
        _, layers = ARCHITECTURES[config["model_type"]]
        self._layers = layers(config, streamed, ATTENTIONS[attention])
        self._weights = streamed.layers
        checkpoint.require_empty()
        self.count = need(config, "num_hidden_layers")
        self.in_blocks = attention == "blocked"
        self.needs = footprint(
            reader.weights.table,
            dtype=reader.dtype,
            hidden_size=shape[1],
            heads=need(config, "num_attention_heads"),
            whole_layers=False,
        )

    def new_memory(self) -> DirectMemory:
        return DirectMemory()

    def advance(
        self,
        index: int,
        groups: list[list[Piece]],
        hidden: list[list[Tensor]],
        memories: list[DirectMemory],
    ) -> list[list[Tensor]]:
        weights = self._weights[index]
        blocks = [
            self._attended(index, piece, block, memory)
            for pieces, states, memory in zip(groups, hidden, memories, strict=True)
            for piece, block in zip(pieces, states, strict=True)
        ]
        if index + 1 < self.count:
            self._weights[index + 1].start()
        fed = iter(self._layers.feed(index, blocks))
        weights.release()
        return [[next(fed).cpu() for _ in pieces] for pieces in groups]

    def normed(self, hidden: Tensor) -> Tensor:
        return rms_norm(hidden, self._norm, self._epsilon)

    def _attended(self, index: int, piece: Piece, block: Tensor, memory: DirectMemory) -> Tensor:
        positions, valid = piece.positions.to(self._device), piece.valid.to(self._device)
        visible = visible_slots(valid, piece.tokens.shape[1])  # (B, C, S)
        return self._layers.attend(index, block.to(self._device), positions, visible, memory)
