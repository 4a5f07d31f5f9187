"""Starting weights with a lookup circuit in them: training refines it instead of having to find it.

To retrieve a value by its key a transformer needs two attention heads, one after the other ("A
Mathematical Framework for Transformer Circuits", Elhage et al., 2021): the first tells each token
which token stands before it, the second goes from a token to where that token stood before and
copies what followed. From random weights a model of this size finds them late, if at all, within
the tokens that fit into an hour on two cores.

The residual stream (D = 128) is divided: dimensions 0-94 hold the token, 95 a constant, 96-127 the
token before. All other heads, the experts and the norms start at random, as usual.
"""

import torch
from torch import Tensor
from torch.nn import Module
from transformers import DeepseekV3Config, PreTrainedConfig, PreTrainedModel

TOKEN, CONSTANT, BEFORE = slice(0, 95), 95, 96
NORM = 0.45  # of the token's and of the constant's share of an embedding
QUIET = 0.1  # of what every other part adds to the residual stream at first


@torch.no_grad()
def plant_lookup(model: PreTrainedModel, seed: int) -> None:
    """Write the two heads into layers 0 and 1, in place; all else keeps its random weights."""
    generator = torch.Generator().manual_seed(seed)
    embedding = model.model.embed_tokens.weight  # (V, D)
    tokens = torch.randn(embedding.shape[0], 95, generator=generator)
    embedding[:, TOKEN] = NORM * tokens / tokens.norm(dim=1, keepdim=True)
    embedding[:, CONSTANT] = NORM
    embedding[:, BEFORE:] = 0.0
    model.lm_head.weight.zero_()
    model.lm_head.weight[:, TOKEN] = embedding[:, TOKEN]
    for name, weight in model.named_parameters():
        if "down_proj" in name or "o_proj" in name:
            weight *= QUIET
    mixing = torch.linalg.qr(torch.randn(95, 95, generator=generator)).Q
    plant = _plant_mla if isinstance(model.config, DeepseekV3Config) else _plant_qk_norm
    first, second = model.model.layers[0].self_attn, model.model.layers[1].self_attn
    plant(first, second, mixing, model.config)


def _turns(theta: float, dims: int, pairs: int) -> Tensor:
    """The angle (pairs,) by which RoPE turns the fastest pairs of `dims` dimensions a position."""
    return theta ** (-torch.arange(pairs) * 2 / dims)


def _plant_qk_norm(first: Module, second: Module, mixing: Tensor, config: PreTrainedConfig) -> None:
    """Qwen3: RoPE everywhere, and rotated halves: pair i is (i, i + 16). Only slow pairs can
    compare tokens over hundreds of positions: 16 dimensions are left for that."""
    half = config.head_dim // 2
    theta = config.rope_parameters["rope_theta"]
    turns = _turns(theta, config.head_dim, 3)
    for one, gain in ((first, 1.5), (second, 2.0)):
        one.q_norm.weight.fill_(gain)
        one.k_norm.weight.fill_(gain)
    slow = torch.tensor([*range(8, 16), *range(24, 32)])
    identity = mixing[:16]  # (16, 95)
    first.q_proj.weight[:32] = 0.0
    first.k_proj.weight[:32] = 0.0
    first.q_proj.weight[:3, CONSTANT] = 1.0
    first.k_proj.weight[:3, CONSTANT] = turns.cos()
    first.k_proj.weight[half : half + 3, CONSTANT] = turns.sin()
    first.v_proj.weight[:32] = 0.0
    first.v_proj.weight[:16, TOKEN] = identity
    first.o_proj.weight[:, :32] = 0.0
    first.o_proj.weight[BEFORE : BEFORE + 16, :16] = 0.09 * torch.eye(16)
    second.q_proj.weight[:32] = 0.0
    second.k_proj.weight[:32] = 0.0
    second.q_proj.weight[slow, TOKEN] = identity
    second.k_proj.weight[slow, BEFORE : BEFORE + 16] = torch.eye(16)
    copied = mixing[32:64]
    second.v_proj.weight[:32] = 0.0
    second.v_proj.weight[:32, TOKEN] = copied
    second.o_proj.weight[:, :32] = 0.0
    second.o_proj.weight[TOKEN, :32] = 0.25 * copied.T


def _plant_mla(first: Module, second: Module, mixing: Tensor, config: PreTrainedConfig) -> None:
    """MLA: tokens are compared without RoPE, positions by the shared rotary key, whose pairs are
    neighbours (2 i, 2 i + 1)."""
    rank, nope = config.kv_lora_rank, config.qk_nope_head_dim  # head 0 has rows nope + rope
    turns = _turns(config.rope_parameters["rope_theta"], config.qk_rope_head_dim, 5)
    even = torch.arange(5) * 2
    identity = mixing[:32]  # (32, 95)
    first.q_a_proj.weight[0] = 0.0
    first.q_a_proj.weight[0, CONSTANT] = 1.0
    first.q_b_proj.weight[: nope + config.qk_rope_head_dim] = 0.0
    first.q_b_proj.weight[nope + even, 0] = 0.72
    first.kv_a_proj_with_mqa.weight[rank:] = 0.0
    first.kv_a_proj_with_mqa.weight[rank + even, CONSTANT] = 0.72 * turns.cos()
    first.kv_a_proj_with_mqa.weight[rank + even + 1, CONSTANT] = 0.72 * turns.sin()
    first.kv_a_proj_with_mqa.weight[:32] = 0.0
    first.kv_a_proj_with_mqa.weight[:32, TOKEN] = identity
    value = slice(nope, nope + config.v_head_dim)  # rows of head 0 in kv_b: keys, then values
    first.kv_b_proj.weight[: nope + config.v_head_dim] = 0.0
    first.kv_b_proj.weight[value, :64] = torch.eye(64)
    first.o_proj.weight[:, : config.v_head_dim] = 0.0
    first.o_proj.weight[BEFORE:, :32] = 0.05 * torch.eye(32)
    second.q_a_proj.weight[:32] = 0.0
    second.q_a_proj.weight[:32, TOKEN] = identity
    second.q_b_proj.weight[: nope + config.qk_rope_head_dim] = 0.0
    second.q_b_proj.weight[:32, :32] = 1.85 * torch.eye(32)
    second.kv_a_proj_with_mqa.weight[:128] = 0.0
    second.kv_a_proj_with_mqa.weight[:32, BEFORE:] = torch.eye(32)
    second.kv_a_proj_with_mqa.weight[64:95, TOKEN] = mixing[64:]
    second.kv_b_proj.weight[: nope + config.v_head_dim] = 0.0
    second.kv_b_proj.weight[:32, :32] = 1.85 * torch.eye(32)
    second.kv_b_proj.weight[value, 64:128] = torch.eye(64)
    second.o_proj.weight[:, : config.v_head_dim] = 0.0
    second.o_proj.weight[TOKEN, :31] = 0.1 * mixing[64:].T
