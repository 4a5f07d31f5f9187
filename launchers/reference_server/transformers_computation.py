"""The first implementation: Hugging Face Transformers' own model code.

The experts run as `grouped_mm` (tokens sorted by expert, each token's experts summed in a fixed
order), which has no float64; there the loop over experts is used. In float64 Transformers still
computes RMSNorm and the router in float32, so it is no better than float32: the implementation that
is float64 throughout is the direct one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from checkpoint_config import read_language_config
from checkpoint_weights import CheckpointWeights
from reference_computation import DTYPES, Piece
from torch import Tensor
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, DynamicCache
from transformers_config import own_config

ATTENTIONS = ("eager", "sdpa")
EXPERTS = {"float32": "grouped_mm", "bfloat16": "grouped_mm", "float64": "eager"}


class TransformersComputation:
    """`Computation` on AutoModelForCausalLM. Raises ValueError if a weight is missing or unused."""

    def __init__(self, folder: Path, *, dtype: str, attention: str) -> None:
        load, source = _loader(folder)
        self._model, loading = load(
            **source,
            dtype=DTYPES[dtype],
            attn_implementation=attention,
            experts_implementation=EXPERTS[dtype],
            local_files_only=True,
            output_loading_info=True,
        )
        _require_complete(loading)
        self._model.eval()
        self._decoder = self._model.get_decoder()
        self._head = self._model.get_output_embeddings()
        self._require_plain_head()

    @property
    def vocabulary_size(self) -> int:
        return self._head.weight.shape[0]

    def new_memory(self) -> DynamicCache:
        return DynamicCache(config=self._model.config)

    def hidden_states(self, piece: Piece, memory: DynamicCache) -> Tensor:
        output = self._decoder(
            input_ids=piece.tokens,
            attention_mask=piece.valid.long(),
            position_ids=piece.positions,
            past_key_values=memory,
            use_cache=True,
        )
        return output.last_hidden_state  # (B, C, D)

    def logits(self, hidden: Tensor) -> Tensor:
        return self._head(hidden)

    @torch.inference_mode()
    def _require_plain_head(self) -> None:
        """Some architectures scale or cap the logits after the head, which `logits` would miss."""
        tokens = torch.arange(4)[None]  # (1, 4)
        split = self._head(self._decoder(input_ids=tokens).last_hidden_state)
        if not torch.equal(split, self._model(input_ids=tokens).logits):
            kind = type(self._model).__name__
            raise ValueError(f"{kind}: its logits are not head(decoder(tokens)); not supported")


def _loader(folder: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    """How Transformers loads this folder: by itself, or from weights that we have dequantised."""
    language = read_language_config(folder)
    config = own_config(language)
    if config is None:
        return AutoModelForCausalLM.from_pretrained, {"pretrained_model_name_or_path": folder}
    weights = CheckpointWeights(folder, language)
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].from_pretrained, {
        "pretrained_model_name_or_path": None,
        "config": config,
        "state_dict": {name: weights.read(name) for name in weights.table},
    }


def _require_complete(loading: dict) -> None:
    """Transformers only warns about these and initialises missing weights at random."""
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading[what]:
            names = sorted(map(str, loading[what]))
            raise ValueError(f"checkpoint: {len(names)} {what}, such as {names[0]}")
