"""The int4 copy of tiny-moe: made the same each time, and what the format says it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from launchers.pins import MODELS
from tests.int4_checkpoint import Array, dequantised, float32, integers, tensors

SCRIPT = Path(__file__).parents[2] / "scripts" / "quantise_int4.py"
SOURCE, SHIPPED = MODELS / "tiny-moe", MODELS / "tiny-moe-int4"


@pytest.fixture(scope="module")
def packed() -> dict[str, Array]:
    return tensors(SHIPPED / "model.safetensors")


@pytest.fixture(scope="module")
def plain() -> dict[str, Array]:
    return tensors(SOURCE / "model.safetensors")


@pytest.fixture(scope="module")
def modules(packed: dict[str, Array]) -> list[str]:
    return [name.removesuffix(".weight_packed") for name in packed if name.endswith("_packed")]


def test_the_shipped_copy_is_what_the_script_makes_byte_for_byte(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SCRIPT, SOURCE, "-o", tmp_path], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "model.safetensors" in made
    assert made == {name: (SHIPPED / name).read_bytes() for name in made}
    assert {path.name for path in SHIPPED.iterdir()} == {*made, "README.md"}


def test_the_routed_experts_are_packed_and_nothing_else(
    packed: dict[str, Array], plain: dict[str, Array], modules: list[str]
) -> None:
    experts = {name.removesuffix(".weight") for name in plain if ".mlp.experts." in name}
    assert set(modules) == experts
    assert len(experts) == 3 * 8 * 3
    for name in plain.keys() - {f"{module}.weight" for module in experts}:
        assert np.array_equal(packed[name], plain[name]), name


def test_each_weight_is_the_nearest_that_its_scale_allows(
    packed: dict[str, Array], plain: dict[str, Array], modules: list[str]
) -> None:
    for module in modules:
        true, scales = float32(plain[f"{module}.weight"]), float32(packed[f"{module}.weight_scale"])
        step = scales.repeat(32, axis=1)
        nearest = np.clip(np.rint(true / step), -8, 7)
        assert np.array_equal(integers(packed[f"{module}.weight_packed"]), nearest), module
        assert packed[f"{module}.weight_shape"].tolist() == list(true.shape)


def test_the_dequantised_weights_are_bfloat16_exactly(
    packed: dict[str, Array], modules: list[str]
) -> None:
    """So that an engine that rounds them to bfloat16 computes on the same numbers."""
    for module in modules:
        assert not (dequantised(packed, module).view(np.uint32) & 0xFFFF).any(), module


def test_the_copy_is_not_the_model(
    packed: dict[str, Array], plain: dict[str, Array], modules: list[str]
) -> None:
    for module in modules:
        true = float32(plain[f"{module}.weight"])
        error = np.linalg.norm(dequantised(packed, module) - true) / np.linalg.norm(true)
        assert 0.05 < error < 0.15, module


def test_the_configuration_says_how_they_are_packed() -> None:
    config = json.loads((SHIPPED / "config.json").read_text("utf-8"))
    quantization = config.pop("quantization_config")
    assert config == json.loads((SOURCE / "config.json").read_text("utf-8"))
    assert (quantization["quant_method"], quantization["format"]) == (
        "compressed-tensors",
        "pack-quantized",
    )
    assert quantization["config_groups"]["group_0"]["weights"]["group_size"] == 32
