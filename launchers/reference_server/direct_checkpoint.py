"""config.json and the weights for the direct implementation: nothing is ignored in silence.

Every key of config.json is used, or known not to touch the outputs, or must hold the one value
that is implemented. Every tensor must be taken, with the shape that the config implies.
"""

import torch
from checkpoint_config import UnsupportedModelError
from checkpoint_weights import CheckpointWeights
from direct_weights import KeptWeights, LayerWeights
from torch import Tensor

# Training, bookkeeping and token ids that only a generation loop reads.
HARMLESS = frozenset(
    [
        "architectures",
        "model_type",
        "dtype",
        "torch_dtype",
        "transformers_version",
        "auto_map",
        "use_cache",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "max_position_embeddings",
        "initializer_range",
        "attention_dropout",
        "output_router_logits",
        "router_aux_loss_coef",
        # What Transformers writes into a nested text_config: how to generate, what to return.
        "_name_or_path",
        "bad_words_ids",
        "begin_suppress_tokens",
        "decoder_start_token_id",
        "diversity_penalty",
        "do_sample",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty",
        "finetuning_task",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "id2label",
        "label2id",
        "length_penalty",
        "max_length",
        "min_length",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "prefix",
        "problem_type",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict",
        "return_dict_in_generate",
        "sep_token_id",
        "suppress_tokens",
        "task_specific_params",
        "temperature",
        "tf_legacy_loss",
        "tokenizer_class",
        "top_k",
        "top_p",
        "torchscript",
        "typical_p",
        "use_bfloat16",
    ]
)
# Keys that would change the outputs: absent, or exactly one of these values.
IMPLEMENTED: dict[str, tuple[object, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "add_cross_attention": (False,),
    "chunk_size_feed_forward": (0,),
    "cross_attention_hidden_size": (None,),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({},),
    "tie_encoder_decoder": (False,),
    "use_sliding_window": (False,),
}


def require_known(
    config: dict, *, used: frozenset[str], implemented: dict[str, tuple[object, ...]]
) -> None:
    """Raise UnsupportedModelError for a key nobody reads, or a value that is not implemented."""
    values = IMPLEMENTED | implemented
    for key, value in config.items():
        if key in values and value not in values[key]:
            raise UnsupportedModelError(
                f"config.json: {key} = {value!r}; the direct implementation has only {values[key]}"
            )
        if key not in values and key not in used and key not in HARMLESS:
            raise UnsupportedModelError(
                f"config.json: {key} = {value!r}; the direct implementation does not know this key"
            )


def need(config: dict, key: str) -> object:
    """The value of a key that must be there."""
    if key not in config:
        raise UnsupportedModelError(f"config.json: {key} is missing")
    return config[key]


def layer_name(index: int, name: str) -> str:
    """The name in the checkpoint of a weight of a decoder layer."""
    return f"model.layers.{index}.{name}.weight"


class Checkpoint:
    """The weights of a model folder, each to be taken once."""

    def __init__(self, weights: CheckpointWeights, dtype: torch.dtype) -> None:
        self._weights = weights
        self._dtype = dtype
        self._left = set(weights.table)

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        """Hand out a tensor in the computation's dtype, or in `dtype`."""
        self.claim(name, shape)
        return self._weights.read(name).to(dtype or self._dtype)

    def take_layer(self, index: int, shapes: dict[str, tuple[int, ...]]) -> LayerWeights:
        """All the tensors of one decoder layer."""
        return KeptWeights(
            {name: self.take(layer_name(index, name), shape) for name, shape in shapes.items()}
        )

    def claim(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise UnsupportedModelError if there is no such tensor of this shape."""
        if name not in self._left:
            raise UnsupportedModelError(f"checkpoint: {name} is missing")
        self._left.remove(name)
        stored = self._weights.table[name].shape
        if stored != shape:
            raise UnsupportedModelError(f"checkpoint: {name} is {stored}; expected {shape}")

    def require_empty(self) -> None:
        """Raise UnsupportedModelError if the checkpoint holds a tensor that nobody took."""
        if self._left:
            raise UnsupportedModelError(
                f"checkpoint: {len(self._left)} tensors that the direct implementation does not"
                f" use, such as {min(self._left)}"
            )
