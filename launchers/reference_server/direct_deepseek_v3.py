"""DeepSeek-V3 (and Kimi K2) from its equations (arXiv 2412.19437, section 2.1): MLA and MoE.

The KV cache holds the latent: the normed c_kv (R) and the rotated shared key (P) of each slot; keys
and values are expanded from it at every step. RoPE rotates neighbouring pairs (2i, 2i + 1).
"""

import torch
from checkpoint_config import UnsupportedModelError
from direct_attention import Attention
from direct_checkpoint import Checkpoint, need, require_known
from direct_layers import (
    DirectMemory,
    linear,
    mixture,
    rms_norm,
    rope_angles,
    rotate_neighbours,
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
        "rms_norm_eps",
        "tie_word_embeddings",
        "rope_theta",
        "rope_parameters",
        "rope_scaling",
        "q_lora_rank",
        "kv_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "v_head_dim",
        "qk_head_dim",
        "head_dim",
        "n_routed_experts",
        "n_shared_experts",
        "n_group",
        "topk_group",
        "num_experts_per_tok",
        "norm_topk_prob",
        "routed_scaling_factor",
        "first_k_dense_replace",
        "intermediate_size",
        "moe_intermediate_size",
    ]
)
# Losses and the number of multi-token prediction layers (checkpoint_config names their tensors).
UNREAD = frozenset(("num_nextn_predict_layers", "aux_loss_alpha", "seq_aux", "ep_size"))
ROPE_KINDS = ("default", "yarn")
IMPLEMENTED: dict[str, tuple[object, ...]] = {
    "topk_method": ("noaux_tc",),
    "scoring_func": ("sigmoid",),
    "rope_interleave": (True,),
    "moe_layer_freq": (1,),
    "pretraining_tp": (1,),
}


def require_supported(config: dict) -> None:
    """Raise UnsupportedModelError for a config that this module would compute otherwise."""
    require_known(config, used=USED | UNREAD, implemented=IMPLEMENTED)
    read_rope(config, kinds=ROPE_KINDS)
    nope, rotary = need(config, "qk_nope_head_dim"), need(config, "qk_rope_head_dim")
    derived = {
        "num_key_value_heads": need(config, "num_attention_heads"),
        "qk_head_dim": nope + rotary,
        "head_dim": rotary,
    }
    for key, implied in derived.items():
        if config.get(key, implied) != implied:
            raise UnsupportedModelError(
                f"config.json: {key} = {config[key]!r}; MLA implies {implied}"
            )


class DeepseekV3Layers:
    """The decoder layers: each is `attend`, then `feed`."""

    def __init__(self, config: dict, checkpoint: Checkpoint, attention: Attention) -> None:
        self._config = config
        self._attention = attention
        self._heads = need(config, "num_attention_heads")
        self._nope = need(config, "qk_nope_head_dim")
        self._rotary = need(config, "qk_rope_head_dim")
        self._latent = need(config, "kv_lora_rank")
        self._epsilon = need(config, "rms_norm_eps")
        rope = read_rope(config, kinds=ROPE_KINDS)
        self._frequencies = rope.frequencies(self._rotary)
        self._scale = (self._nope + self._rotary) ** -0.5 * rope.attention_factor()
        self._layers = [
            checkpoint.take_layer(index, self._shapes(index))
            for index in range(need(config, "num_hidden_layers"))
        ]
        # The checkpoint's own precision: rounding the bias to bfloat16 would change the routing.
        self._choice_biases = {
            index: checkpoint.take(
                f"model.layers.{index}.mlp.gate.e_score_correction_bias",
                (need(config, "n_routed_experts"),),
                torch.float64,
            )
            for index, layer in enumerate(self._layers)
            if "mlp.gate" in layer
        }

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
        """(N, D) each -> (N, D) each: the chosen experts and the shared ones."""
        weights, bias = self._layers[index], self._choice_biases[index]
        routes = [self._route(rows, weights["mlp.gate"], bias) for rows in blocks]
        mixed = mixture(blocks, routes, weights)
        if "mlp.shared_experts.gate_proj" not in weights:
            return mixed
        return [
            sum_ + swiglu(rows, weights, "mlp.shared_experts")
            for sum_, rows in zip(mixed, blocks, strict=True)
        ]

    def _attend(
        self, index: int, normed: Tensor, positions: Tensor, visible: Tensor, memory: DirectMemory
    ) -> Tensor:
        """Multi-head latent attention, equations 1 to 11."""
        weights = self._layers[index]
        angles = rope_angles(positions, self._frequencies)
        query, query_rotary = self._queries(normed, weights).split((self._nope, self._rotary), -1)
        query = torch.cat((query, rotate_neighbours(query_rotary, angles)), dim=-1)

        latent, shared = linear(normed, weights["self_attn.kv_a_proj_with_mqa"]).split(
            (self._latent, self._rotary), dim=-1
        )  # (B, C, R), (B, C, P)
        latent = rms_norm(latent, weights["self_attn.kv_a_layernorm"], self._epsilon)
        shared = rotate_neighbours(shared[:, :, None], angles)  # (B, C, 1, P): one for all heads
        latent, shared = memory.extend(index, latent, shared)  # (B, S, R), (B, S, 1, P)

        expanded = linear(latent, weights["self_attn.kv_b_proj"])
        expanded = expanded.unflatten(-1, (self._heads, -1))  # (B, S, H, nope + v)
        key, value = expanded[..., : self._nope], expanded[..., self._nope :]
        key = torch.cat((key, shared.expand(-1, -1, self._heads, -1)), dim=-1)
        mixed = self._attention(query, key, value, visible, self._scale)  # (B, C, H, v)
        return linear(mixed.flatten(-2), weights["self_attn.o_proj"])

    def _queries(self, normed: Tensor, weights: LayerWeights) -> Tensor:
        """(B, C, D) -> (B, C, H, nope + rotary), through a latent if the config has one."""
        if "self_attn.q_proj" in weights:
            query = linear(normed, weights["self_attn.q_proj"])
        else:
            latent = linear(normed, weights["self_attn.q_a_proj"])
            latent = rms_norm(latent, weights["self_attn.q_a_layernorm"], self._epsilon)
            query = linear(latent, weights["self_attn.q_b_proj"])
        return query.unflatten(-1, (self._heads, -1))

    def _route(self, rows: Tensor, gate: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) -> experts (N, K), shares (N, K): equations 12 to 16.

        The bias decides who is chosen, the unbiased affinity how much it counts. Only the best
        `topk_group` groups compete; a group is as good as the sum of its two best experts.
        """
        wide = wide_dtype(rows.dtype)
        affinity = torch.sigmoid(linear(rows.to(wide), gate.to(wide)))  # (N, E)
        groups = (affinity + bias.to(wide)).unflatten(-1, (self._config["n_group"], -1))
        strength = groups.topk(2, dim=-1).values.sum(dim=-1)  # (N, G)
        kept = strength.topk(self._config["topk_group"], dim=-1).indices
        allowed = torch.zeros_like(strength, dtype=torch.bool).scatter(1, kept, True)
        candidates = groups.masked_fill(~allowed[..., None], -torch.inf).flatten(-2)  # (N, E)
        experts = candidates.topk(self._config["num_experts_per_tok"], dim=-1).indices
        shares = affinity.gather(1, experts)  # (N, K)
        if self._config["norm_topk_prob"]:
            shares = shares / shares.sum(dim=-1, keepdim=True)
        return experts, shares * self._config["routed_scaling_factor"]

    def _shapes(self, index: int) -> dict[str, tuple[int, ...]]:
        config, hidden = self._config, need(self._config, "hidden_size")
        shapes = {"input_layernorm": (hidden,), "post_attention_layernorm": (hidden,)}
        shapes |= self._attention_shapes(hidden)
        if index < need(config, "first_k_dense_replace"):
            return shapes | swiglu_shapes("mlp", hidden, need(config, "intermediate_size"))
        intermediate = need(config, "moe_intermediate_size")
        shapes["mlp.gate"] = (need(config, "n_routed_experts"), hidden)
        for expert in range(config["n_routed_experts"]):
            shapes |= swiglu_shapes(f"mlp.experts.{expert}", hidden, intermediate)
        if shared := need(config, "n_shared_experts"):
            shapes |= swiglu_shapes("mlp.shared_experts", hidden, intermediate * shared)
        return shapes

    def _attention_shapes(self, hidden: int) -> dict[str, tuple[int, ...]]:
        heads, value = self._heads, need(self._config, "v_head_dim")
        query_size = heads * (self._nope + self._rotary)
        shapes: dict[str, tuple[int, ...]] = {
            "self_attn.kv_a_proj_with_mqa": (self._latent + self._rotary, hidden),
            "self_attn.kv_a_layernorm": (self._latent,),
            "self_attn.kv_b_proj": (heads * (self._nope + value), self._latent),
            "self_attn.o_proj": (hidden, heads * value),
        }
        if (rank := need(self._config, "q_lora_rank")) is None:
            return shapes | {"self_attn.q_proj": (query_size, hidden)}
        return shapes | {
            "self_attn.q_a_proj": (rank, hidden),
            "self_attn.q_a_layernorm": (rank,),
            "self_attn.q_b_proj": (query_size, rank),
        }
