"""The direct implementation over weights that stay on disk, for a model that fits nowhere.

The equations are the direct implementation's own (`direct_*`): only the order of the loops differs.
One layer is computed over all sequences before the next is read, so that scoring any number of
sequences reads every weight once. Layers run on `device`; everything else is on the CPU.
"""

from pathlib import Path

from checkpoint_weights import CheckpointWeights
from direct_attention import ATTENTIONS, visible_slots
from direct_checkpoint import Checkpoint, need
from direct_computation import ARCHITECTURES, read_supported_config
from direct_layers import DirectMemory, linear, rms_norm
from reference_computation import DTYPES, Piece
from streamed_reading import StreamedCheckpoint, WeightReader
from torch import Tensor

EMBEDDING, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"


class StreamedComputation:
    """`Computation`, with one pass over all the weights for each call of `hidden_states`."""

    def __init__(self, folder: Path, *, dtype: str, attention: str, device: str) -> None:
        language = read_supported_config(folder)
        config = language.keys
        weights = CheckpointWeights(folder, language)
        checkpoint = Checkpoint(weights, DTYPES[dtype])
        self.reader = WeightReader(weights, DTYPES[dtype], device)
        self.attention = attention
        streamed = StreamedCheckpoint(checkpoint, self.reader)
        shape = (need(config, "vocab_size"), need(config, "hidden_size"))
        checkpoint.claim(EMBEDDING, shape)
        self._head_name = EMBEDDING if need(config, "tie_word_embeddings") else HEAD
        if self._head_name == HEAD:
            checkpoint.claim(HEAD, shape)
        self._norm = checkpoint.take(NORM, shape[1:])  # on the CPU, as all that is not a layer
        self._epsilon = need(config, "rms_norm_eps")
        self.layer_count = need(config, "num_hidden_layers")
        self.heads = need(config, "num_attention_heads")
        self.vocabulary_size, self.hidden_size = shape
        _, layers = ARCHITECTURES[config["model_type"]]
        self._layers = layers(config, streamed, ATTENTIONS[attention])
        self._weights = streamed.layers
        checkpoint.require_empty()
        self._head: Tensor | None = None  # read for the first logits, dropped by the next layer

    def new_memory(self) -> DirectMemory:
        return DirectMemory()

    def hidden_states(self, piece: Piece, memory: DirectMemory) -> Tensor:
        hidden = self.embedded(self.embedding(), piece.tokens)
        for index in range(self.layer_count):
            ((hidden,),) = self.advance(index, [[piece]], [[hidden]], [memory])
        return self.normed(hidden)

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
        memories: list[DirectMemory],
    ) -> list[list[Tensor]]:
        """One layer over every piece of every group; `hidden` is (B, C, D) for each piece."""
        self._head = None
        weights = self._weights[index]
        blocks = [
            self._attended(index, piece, block, memory)
            for pieces, states, memory in zip(groups, hidden, memories, strict=True)
            for piece, block in zip(pieces, states, strict=True)
        ]
        if index + 1 < self.layer_count:
            self._weights[index + 1].start()
        fed = iter(self._layers.feed(index, blocks))
        weights.release()
        return [[next(fed).cpu() for _ in pieces] for pieces in groups]

    def _attended(self, index: int, piece: Piece, block: Tensor, memory: DirectMemory) -> Tensor:
        device = self.reader.device
        positions, valid = piece.positions.to(device), piece.valid.to(device)
        visible = visible_slots(valid, piece.tokens.shape[1])  # (B, C, S)
        return self._layers.attend(index, block.to(device), positions, visible, memory)

    def normed(self, hidden: Tensor) -> Tensor:
        """(..., D): what the output head takes."""
        return rms_norm(hidden, self._norm, self._epsilon)

    def logits(self, hidden: Tensor) -> Tensor:
        if self._head is None:
            self._head = self.reader.read(self._head_name)  # (V, D)
        return linear(hidden.to(self.reader.device), self._head).cpu()
