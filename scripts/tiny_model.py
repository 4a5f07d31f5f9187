"""The tiny models on disk: tokenizer, configuration, checkpoint folder.

Both share one tokenizer and one chat template, so that any difference between them is the
architecture's. `config.json` says what Transformers, vLLM and SGLang each want to read.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    DeepseekV3Config,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3MoeConfig,
)

TEMPLATE = Path(__file__).with_name("tiny_chat_template.jinja")
CHAT_TOKENS = (
    "[BOS]", "[EOS]", "[PAD]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>",
    "<|im_middle|>",
)  # fmt: skip
MARKER_TOKENS = (
    "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>", "<|tool_call_end|>", "<think>", "</think>",
)  # fmt: skip
VOCABULARY_LIMIT = 2048
CONTEXT_TOKENS = 4096
# Real checkpoints carry these and engines read them; Transformers 5 does not write them.
MOE_EXTRA_KEYS = {"num_experts": 8}
K2_EXTRA_KEYS = {
    "topk_method": "noaux_tc",
    "scoring_func": "sigmoid",
    "moe_layer_freq": 1,
    "num_nextn_predict_layers": 0,
}


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE, digits one by one; no token is ever added around a text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_LIMIT - len(CHAT_TOKENS) - len(MARKER_TOKENS),
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in CHAT_TOKENS])
    bpe.add_tokens([AddedToken(t, special=False, normalized=False) for t in MARKER_TOKENS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="[BOS]",
        eos_token="<|im_end|>",
        pad_token="[PAD]",
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT_TOKENS,
    )
    tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8")
    return tokenizer


def build_config(name: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    common: dict[str, Any] = {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "max_position_embeddings": CONTEXT_TOKENS,
        "tie_word_embeddings": False,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_attention_heads": 4,
        "num_experts_per_tok": 2,
        "norm_topk_prob": True,
        "initializer_range": 0.04,
    }
    if name == "tiny-moe":
        return Qwen3MoeConfig(
            **common,
            num_hidden_layers=3,
            num_key_value_heads=2,
            head_dim=32,
            num_experts=8,
            moe_intermediate_size=128,
            decoder_sparse_step=1,
            mlp_only_layers=[],
            router_aux_loss_coef=0.01,
            rope_theta=10000.0,
        )
    return DeepseekV3Config(
        **common,
        num_hidden_layers=3,
        num_key_value_heads=4,
        q_lora_rank=64,
        kv_lora_rank=512,
        qk_rope_head_dim=64,
        qk_nope_head_dim=64,
        v_head_dim=64,
        n_routed_experts=8,
        n_shared_experts=1,
        moe_intermediate_size=64,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        routed_scaling_factor=2.0,
        rope_theta=50000.0,
    )


def _edit_json(path: Path, extra: dict[str, Any], drop: tuple[str, ...] = ()) -> None:
    values = {k: v for k, v in json.loads(path.read_text("utf-8")).items() if k not in drop}
    path.write_text(json.dumps(values | extra, indent=2, sort_keys=True) + "\n", "utf-8")


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Round `model` to bfloat16 in place and write the checkpoint folder."""
    config = model.config
    model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rope_theta = config.rope_parameters["rope_theta"]
    extra = K2_EXTRA_KEYS if isinstance(config, DeepseekV3Config) else MOE_EXTRA_KEYS
    _edit_json(folder / "config.json", {"rope_theta": rope_theta, **extra})
    _edit_json(folder / "generation_config.json", {}, drop=("_from_model_config",))
    # The name that every engine's Transformers knows, old or new.
    _edit_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
