"""Streamed layers of Transformers' own model code: the second implementation of the streamed way.

The model is made without memory for its weights. A layer is given them when its turn comes, as
Transformers keeps them (all experts in two tensors), and is then the whole decoder: masks, rotary
embedding and cache are the library's own. So a whole layer must fit, and not only an expert.
"""

from collections import defaultdict
from pathlib import Path

import torch
from checkpoint_config import LanguageModelConfig, UnsupportedModelError
from checkpoint_weights import CheckpointWeights
from direct_checkpoint import layer_name
from direct_computation import read_supported_config
from reference_computation import DTYPES, Piece
from streamed_computation import EMBEDDING, HEAD, NORM, StreamedComputation
from streamed_memory import footprint
from streamed_reading import WeightReader
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers_computation import EXPERTS
from transformers_config import own_config

FUSED = "mlp.experts.gate_up_proj", "mlp.experts.down_proj"  # (E, 2 I, D), (E, D, I)
PARTS = "gate_proj", "up_proj", "down_proj"


def streamed_transformers(
    folder: Path, *, dtype: str, attention: str, device: str
) -> StreamedComputation:
    """Raises UnsupportedModelError unless the checkpoint holds just the model's tensors.

    Only for architectures that the direct implementation has: of these it is known that a layer
    sees nothing but the layer before, and that the logits are the head's of the last one.
    """
    language = read_supported_config(folder)  # it has no layer that looks beyond its own input
    reader = WeightReader(CheckpointWeights(folder, language), DTYPES[dtype], device)
    config = own_config(language) or AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config,
            dtype=DTYPES[dtype],
            attn_implementation=attention,
            experts_implementation=EXPERTS[dtype],
        )
    layers = TransformersStreamedLayers(model.eval().get_decoder(), language, reader)
    return StreamedComputation(layers, reader, tied=config.tie_word_embeddings)


class TransformersStreamedLayers:
    """`StreamedLayers` that are Transformers' modules."""

    in_blocks = False

    def __init__(
        self, decoder: torch.nn.Module, language: LanguageModelConfig, reader: WeightReader
    ) -> None:
        self._decoder = decoder
        self._reader = reader
        self._layers = list(decoder.layers)
        self.count = len(self._layers)
        self._require_known()
        self._norm = decoder.norm
        self._norm.load_state_dict({"weight": reader.read(NORM).cpu()}, assign=True)
        decoder.norm = torch.nn.Identity()
        # The frequencies are computed, not loaded: they were not, without memory.
        decoder.rotary_emb = type(decoder.rotary_emb)(config=decoder.config).to(reader.device)
        self.needs = footprint(
            reader.weights.table,
            dtype=reader.dtype,
            hidden_size=language.keys["hidden_size"],
            heads=language.keys["num_attention_heads"],
            whole_layers=True,
        )

    def new_memory(self) -> defaultdict[int, DynamicCache]:
        """A cache a layer, for each layer is a decoder of its own, and its number in it is 0."""
        return defaultdict(lambda: DynamicCache(config=self._decoder.config))

    def advance(
        self,
        index: int,
        groups: list[list[Piece]],
        hidden: list[list[Tensor]],
        memories: list[defaultdict[int, DynamicCache]],
    ) -> list[list[Tensor]]:
        layer = self._layers[index]
        layer.load_state_dict(self._state(index), assign=True)
        layer.self_attn.layer_idx = 0
        self._decoder.layers = torch.nn.ModuleList([layer])
        advanced = [
            [
                self._computed(piece, block, memory[index])
                for piece, block in zip(pieces, states, strict=True)
            ]
            for pieces, states, memory in zip(groups, hidden, memories, strict=True)
        ]
        layer.to("meta")
        return advanced

    def normed(self, hidden: Tensor) -> Tensor:
        return self._norm(hidden)

    def _computed(self, piece: Piece, block: Tensor, memory: DynamicCache) -> Tensor:
        device = self._reader.device
        output = self._decoder(
            inputs_embeds=block.to(device),
            attention_mask=piece.valid.long().to(device),
            position_ids=piece.positions.to(device),
            past_key_values=memory,
            use_cache=True,
        )
        return output.last_hidden_state.cpu()

    def _state(self, index: int) -> dict[str, Tensor]:
        """All the tensors of a layer, in the form and dtype that the module has them in."""
        wanted = self._layers[index].state_dict()
        state = {
            name: self._reader.read_as(self._stored(index, name), tensor.dtype)
            for name, tensor in wanted.items()
            if name not in FUSED
        }
        if FUSED[0] in wanted:
            gate_up, down = (
                torch.empty_like(wanted[name], device=self._reader.device) for name in FUSED
            )
            names = [
                [layer_name(index, f"mlp.experts.{expert}.{part}") for part in PARTS]
                for expert in range(len(down))
            ]
            for expert, (gate, up, downward) in enumerate(self._reader.in_order(names)):
                gate_up[expert] = torch.cat((gate, up))
                down[expert] = downward
            state |= dict(zip(FUSED, (gate_up, down), strict=True))
        return state

    def _stored(self, index: int, name: str) -> str:
        """A tensor's name in the checkpoint: the router's bias alone is no '.weight'."""
        if name.endswith(".weight"):
            return layer_name(index, name.removesuffix(".weight"))
        return f"model.layers.{index}.{name}"

    def _require_known(self) -> None:
        """Shapes are checked when a layer is loaded."""
        wanted = {EMBEDDING, NORM}
        if not self._decoder.config.tie_word_embeddings:
            wanted.add(HEAD)
        for index, layer in enumerate(self._layers):
            for name, tensor in layer.state_dict().items():
                if name not in FUSED:
                    wanted.add(self._stored(index, name))
                elif name == FUSED[0]:
                    wanted.update(
                        layer_name(index, f"mlp.experts.{expert}.{part}")
                        for expert in range(len(tensor))
                        for part in PARTS
                    )
        found = self._reader.weights.table.keys()
        for what, names in (("missing", wanted - found), ("not used", found - wanted)):
            if names:
                raise UnsupportedModelError(
                    f"checkpoint: {len(names)} tensors are {what}, such as {min(names)}"
                )
