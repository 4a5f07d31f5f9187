"""Qwen3-MoE from its equations (arXiv 2505.09388, section 2): GQA, normed heads, softmax router.

The KV cache holds the rotated keys and the values of the H_kv key-value heads.
"""

import torch
from direct_attention import Attention
from direct_checkpoint import Checkpoint, need, require_known
from direct_layers import (
    DirectMemory,
    linear,
    mixture,
    rms_norm,
    rope_angles,
    rotate_halves,
    swiglu,
    swiglu_shapes,
    wide_dtype,
)
from direct_rope import read_rope
from direct_weights import LayerWeights
from torch import Tensor

USED = frozenset(
    [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "rms_norm_eps",
        "tie_word_embeddings",
        "rope_theta",
        "rope_parameters",
        "rope_scaling",
        "decoder_sparse_step",
        "mlp_only_layers",
        "num_experts",
        "num_local_experts",
        "num_experts_per_tok",
        "norm_topk_prob",
        "intermediate_size",
        "moe_intermediate_size",
    ]
)
# These two are read only when use_sliding_window is true, which is refused.
UNREAD = frozenset(("sliding_window", "max_window_layers"))
ROPE_KINDS = ("default",)


def require_supported(config: dict) -> None:
    """Raise UnsupportedModelError for a config that this module would compute otherwise."""
    require_known(config, used=USED | UNREAD, implemented={})
    read_rope(config, kinds=ROPE_KINDS)


class Qwen3MoeLayers:
    """The decoder layers: each is `attend`, then `feed`."""

    def __init__(self, config: dict, checkpoint: Checkpoint, attention: Attention) -> None:
        self._attention = attention
        self._hidden = need(config, "hidden_size")
        self._heads = need(config, "num_attention_heads")
        self._key_heads = need(config, "num_key_value_heads")
        self._head_size = config.get("head_dim") or self._hidden // self._heads
        self._epsilon = need(config, "rms_norm_eps")
        self._frequencies = read_rope(config, kinds=ROPE_KINDS).frequencies(self._head_size)
        experts_key = "num_experts" if "num_experts" in config else "num_local_experts"
        self._experts = need(config, experts_key)
        self._chosen = need(config, "num_experts_per_tok")
        self._normalise = need(config, "norm_topk_prob")
        self._layers = [
            checkpoint.take_layer(index, self._shapes(config, index))
            for index in range(need(config, "num_hidden_layers"))
        ]

    def attend(
        self, index: int, hidden: Tensor, positions: Tensor, visible: Tensor, memory: DirectMemory
    ) -> Tensor:
        """Add the attention to hidden states (B, C, D)."""
        normed = rms_norm(hidden, self._layers[index]["input_layernorm"], self._epsilon)
        return hidden + self._attend(index, normed, positions, visible, memory)

    def feed(self, index: int, blocks: list[Tensor]) -> list[Tensor]:
        """Add the feed-forward part to each block of hidden states, (..., D) each."""
        weights = self._layers[index]
        norm = weights["post_attention_layernorm"]
        normed = [rms_norm(block, norm, self._epsilon) for block in blocks]
        if "mlp.gate" in weights:
            outputs = self._mix(index, [block.flatten(0, -2) for block in normed])
        else:
            outputs = [swiglu(block, weights, "mlp") for block in normed]
        return [
            block + output.view_as(block) for block, output in zip(blocks, outputs, strict=True)
        ]

    def _mix(self, index: int, blocks: list[Tensor]) -> list[Tensor]:
        """(N, D) each -> (N, D) each: the chosen experts."""
        weights = self._layers[index]
        routes = [self._route(rows, weights["mlp.gate"]) for rows in blocks]
        return mixture(blocks, routes, weights)

    def _attend(
        self, index: int, normed: Tensor, positions: Tensor, visible: Tensor, memory: DirectMemory
    ) -> Tensor:
        weights = self._layers[index]
        angles = rope_angles(positions, self._frequencies)
        query = self._projected(normed, weights, "q", self._heads)  # (B, C, H, d)
        key = self._projected(normed, weights, "k", self._key_heads)  # (B, C, H_kv, d)
        value = linear(normed, weights["self_attn.v_proj"]).unflatten(-1, (self._key_heads, -1))
        query, key = rotate_halves(query, angles), rotate_halves(key, angles)
        key, value = memory.extend(index, key, value)  # (B, S, H_kv, d) each
        group = self._heads // self._key_heads  # query heads h*group.. share key head h
        mixed = self._attention(
            query,
            key.repeat_interleave(group, dim=2),
            value.repeat_interleave(group, dim=2),
            visible,
            self._head_size**-0.5,
        )  # (B, C, H, d)
        return linear(mixed.flatten(-2), weights["self_attn.o_proj"])

    def _projected(self, normed: Tensor, weights: LayerWeights, which: str, heads: int) -> Tensor:
        projected = linear(normed, weights[f"self_attn.{which}_proj"]).unflatten(-1, (heads, -1))
        return rms_norm(projected, weights[f"self_attn.{which}_norm"], self._epsilon)

    def _route(self, rows: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) -> experts (N, K), shares (N, K): the K largest of a softmax over all experts."""
        wide = wide_dtype(rows.dtype)
        probabilities = linear(rows.to(wide), gate.to(wide)).softmax(dim=-1)  # (N, E)
        shares, experts = torch.topk(probabilities, self._chosen, dim=-1)
        if self._normalise:
            shares = shares / shares.sum(dim=-1, keepdim=True)
        return experts, shares

    def _shapes(self, config: dict, index: int) -> dict[str, tuple[int, ...]]:
        hidden, size = self._hidden, self._head_size
        shapes: dict[str, tuple[int, ...]] = {
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
            "self_attn.q_proj": (self._heads * size, hidden),
            "self_attn.k_proj": (self._key_heads * size, hidden),
            "self_attn.v_proj": (self._key_heads * size, hidden),
            "self_attn.o_proj": (hidden, self._heads * size),
            "self_attn.q_norm": (size,),
            "self_attn.k_norm": (size,),
        }
        dense = index in (config.get("mlp_only_layers") or [])
        if dense or (index + 1) % config.get("decoder_sparse_step", 1):
            return shapes | swiglu_shapes("mlp", hidden, need(config, "intermediate_size"))
        shapes["mlp.gate"] = (self._experts, hidden)
        for expert in range(self._experts):
            name = f"mlp.experts.{expert}"
            shapes |= swiglu_shapes(name, hidden, need(config, "moe_intermediate_size"))
        return shapes
