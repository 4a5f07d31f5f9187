"""By which key of a pin an engine promises scores that are equal to the last bit."""

from __future__ import annotations

import pytest

from launchers import pins
from launchers.registry import launcher


@pytest.mark.parametrize(
    ("name", "change", "key"),
    [
        ("tiny-moe/vllm-cpu", 'env.VLLM_BATCH_INVARIANT="1"', "env.VLLM_BATCH_INVARIANT"),
        ("tiny-moe/vllm-cpu", 'env.VLLM_BATCH_INVARIANT="0"', None),
        ("tiny-moe/vllm-cpu", "args.seed=0", None),
        (
            "tiny-moe/sglang-cpu",
            "args.enable-deterministic-inference=true",
            "args.enable-deterministic-inference",
        ),
        ("tiny-moe/sglang-cpu", "args.enable-deterministic-inference=false", None),
        (
            "tiny-moe/ktransformers-cpu-bf16",
            "args.enable-deterministic-inference=true",
            "args.enable-deterministic-inference",
        ),
        ("tiny-moe/reference", "args.dtype=float32", None),
    ],
)
def test_only_a_switch_that_is_on_is_a_promise(name: str, change: str, key: str | None) -> None:
    loaded = pins.read(name, (change,))
    assert launcher(loaded.pin.engine.name).bit_equal(loaded) == key
