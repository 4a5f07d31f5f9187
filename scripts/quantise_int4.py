"""An int4 copy of a model, in the form of Kimi K2's checkpoints.

    python scripts/quantise_int4.py launchers/models/tiny-moe -o launchers/models/tiny-moe-int4

compressed-tensors, format pack-quantized: each routed expert's matrix becomes `weight_packed`,
`weight_scale` and `weight_shape`; everything else is copied as it is. Run twice, it gives equal
bytes.
"""

import argparse
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.int4_groups import BITS, GROUP_SIZE, pack, quantise

EXPERT = re.compile(r".*\.mlp\.experts\.\d+\.(gate|up|down)_proj\.weight")
COPIED = (
    "chat_template.jinja",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
QUANTIZATION = {
    "config_groups": {
        "group_0": {
            "input_activations": None,
            "output_activations": None,
            "targets": ["Linear"],
            "weights": {
                "actorder": None,
                "block_structure": None,
                "dynamic": False,
                "group_size": GROUP_SIZE,
                "num_bits": BITS,
                "observer": "minmax",
                "observer_kwargs": {},
                "strategy": "group",
                "symmetric": True,
                "type": "int",
            },
        }
    },
    "format": "pack-quantized",
    "ignore": ["lm_head", "re:.*self_attn.*", "re:.*mlp\\.gate$"],
    "kv_cache_scheme": None,
    "quant_method": "compressed-tensors",
    "quantization_status": "compressed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor as a safetensors file holds it."""

    dtype: str  # BF16, I32
    shape: tuple[int, ...]
    content: bytes


def read(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    return {
        name: Tensor(
            dtype=entry["dtype"],
            shape=tuple(entry["shape"]),
            content=data[begin + entry["data_offsets"][0] : begin + entry["data_offsets"][1]],
        )
        for name, entry in header.items()
    }


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file, its tensors in the order of their names."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(tensors):
        begin, end = end, end + len(tensors[name].content)
        header[name] = {
            "dtype": tensors[name].dtype,
            "shape": tensors[name].shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    contents = [tensors[name].content for name in sorted(tensors)]
    path.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *contents]))


def quantised(name: str, weight: Tensor) -> dict[str, Tensor]:
    """What takes the place of one expert's matrix."""
    if weight.dtype != "BF16":
        raise ValueError(f"{name} is {weight.dtype}; expected BF16")
    half = np.frombuffer(weight.content, dtype="<u2")
    values = (half.astype(np.uint32) << 16).view(np.float32).reshape(weight.shape)
    integers, scales = quantise(values)
    words = pack(integers)
    upper = (scales.view(np.uint32) >> 16).astype("<u2")  # exact: a scale has 5 significant bits
    shape = np.array(weight.shape, dtype="<i4")
    stem = name.removesuffix(".weight")
    return {
        f"{stem}.weight_packed": Tensor(
            dtype="I32", shape=words.shape, content=words.astype("<i4").tobytes()
        ),
        f"{stem}.weight_scale": Tensor(dtype="BF16", shape=scales.shape, content=upper.tobytes()),
        f"{stem}.weight_shape": Tensor(dtype="I32", shape=(2,), content=shape.tobytes()),
    }


def copy_of(model: Path, out: Path) -> None:
    """Writes the int4 copy of the model folder `model` to `out`, all but its card."""
    config = json.loads((model / "config.json").read_text("utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, tensor in read(model / "model.safetensors").items():
        tensors |= quantised(name, tensor) if EXPERT.fullmatch(name) else {name: tensor}
    write(out / "model.safetensors", tensors)
    config["quantization_config"] = QUANTIZATION
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (out / "config.json").write_text(text, "utf-8")
    for file in COPIED:
        shutil.copyfile(model / file, out / file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="a model folder with weights in bfloat16")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the int4 copy's folder")
    arguments = parser.parse_args()
    copy_of(arguments.model, arguments.out)


if __name__ == "__main__":
    main()
