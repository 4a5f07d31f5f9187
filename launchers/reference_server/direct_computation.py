"""The second implementation: plain torch on config.json and safetensors, without Transformers."""

from pathlib import Path

import direct_deepseek_v3
import direct_qwen3_moe
from checkpoint_config import LanguageModelConfig, UnsupportedModelError, read_language_config
from checkpoint_weights import CheckpointWeights
from direct_attention import ATTENTIONS, visible_slots
from direct_checkpoint import Checkpoint, need
from direct_layers import DirectMemory, linear, rms_norm
from reference_computation import DTYPES, Piece
from torch import Tensor

# model_type: (refuses a config that it would compute otherwise, the decoder layers)
ARCHITECTURES = {
    "qwen3_moe": (direct_qwen3_moe.require_supported, direct_qwen3_moe.Qwen3MoeLayers),
    "deepseek_v3": (direct_deepseek_v3.require_supported, direct_deepseek_v3.DeepseekV3Layers),
    "kimi_k2": (direct_deepseek_v3.require_supported, direct_deepseek_v3.DeepseekV3Layers),
}


def read_supported_config(folder: Path) -> LanguageModelConfig:
    """config.json. Raises UnsupportedModelError, naming key and value, if it asks for more."""
    language = read_language_config(folder)
    config = language.keys
    kind = need(config, "model_type")
    if kind not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"config.json: model_type = {kind!r}; the direct implementation has only"
            f" {sorted(ARCHITECTURES)}"
        )
    require_supported, _ = ARCHITECTURES[kind]
    require_supported(config)
    return language


class DirectComputation:
    """`Computation` from the equations. Raises UnsupportedModelError, and ignores nothing."""

    def __init__(self, folder: Path, *, dtype: str, attention: str) -> None:
        language = read_supported_config(folder)
        config = language.keys
        checkpoint = Checkpoint(CheckpointWeights(folder, language), DTYPES[dtype])
        shape = (need(config, "vocab_size"), need(config, "hidden_size"))
        self._embedding = checkpoint.take("model.embed_tokens.weight", shape)  # (V, D)
        tied = need(config, "tie_word_embeddings")
        self._head = self._embedding if tied else checkpoint.take("lm_head.weight", shape)
        self._norm = checkpoint.take("model.norm.weight", shape[1:])
        self._epsilon = need(config, "rms_norm_eps")
        self._layer_count = need(config, "num_hidden_layers")
        _, layers = ARCHITECTURES[config["model_type"]]
        self._layers = layers(config, checkpoint, ATTENTIONS[attention])
        checkpoint.require_empty()

    @property
    def vocabulary_size(self) -> int:
        return self._head.shape[0]

    def new_memory(self) -> DirectMemory:
        return DirectMemory()

    def hidden_states(self, piece: Piece, memory: DirectMemory) -> Tensor:
        hidden = self._embedding[piece.tokens]  # (B, C, D)
        visible = visible_slots(piece.valid, piece.tokens.shape[1])  # (B, C, S)
        for index in range(self._layer_count):
            hidden = self._layers.attend(index, hidden, piece.positions, visible, memory)
            (hidden,) = self._layers.feed(index, [hidden])
        return rms_norm(hidden, self._norm, self._epsilon)

    def logits(self, hidden: Tensor) -> Tensor:
        return linear(hidden, self._head)
