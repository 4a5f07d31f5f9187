"""Model folders made for a test, in numpy: int4 copies as compressed-tensors packs them, big ones.

Written from the format's description, apart from the server's own reading of it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from launchers.pins import MODELS

GROUP = 32
INT4 = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "quantization_status": "compressed",
    "kv_cache_scheme": None,
    "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"],
    "config_groups": {
        "group_0": {
            "input_activations": None,
            "output_activations": None,
            "targets": ["Linear"],
            "weights": {
                "actorder": None,
                "block_structure": None,
                "dynamic": False,
                "group_size": GROUP,
                "num_bits": 4,
                "observer": "minmax",
                "observer_kwargs": {},
                "strategy": "group",
                "symmetric": True,
                "type": "int",
            },
        }
    },
}
Tensor = tuple[str, npt.NDArray[Any]]  # safetensors' dtype; bfloat16 as uint16


def config(name: str) -> dict[str, Any]:
    return json.loads((MODELS / name / "config.json").read_text())


def tensors(name: str) -> dict[str, Tensor]:
    """All tensors of a shipped model."""
    content = (MODELS / name / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    kinds = {"BF16": np.uint16, "F32": np.float32}
    found: dict[str, Tensor] = {}
    for tensor, entry in json.loads(content[8 : 8 + length]).items():
        if tensor != "__metadata__":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            array = np.frombuffer(content[start:end], kinds[entry["dtype"]])
            found[tensor] = (entry["dtype"], array.reshape(entry["shape"]))
    return found


def write(folder: Path, keys: Mapping[str, Any], content: Mapping[str, Tensor]) -> Path:
    """A model folder with tiny-moe's tokenizer."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(MODELS / "tiny-moe" / name, folder)
    (folder / "config.json").write_text(json.dumps(keys))
    write_safetensors(folder / "model.safetensors", content)
    return folder


def without_tokenizer(folder: Path) -> Path:
    """A copy of tiny-moe as Kimi's models are published: with no tokenizer that is not code."""
    shutil.copytree(MODELS / "tiny-moe", folder)
    (folder / "tokenizer.json").unlink()
    return folder


def write_safetensors(path: Path, content: Mapping[str, Tensor]) -> None:
    table: dict[str, Any] = {}
    start = 0
    for name, (kind, array) in content.items():
        offsets = [start, start + array.nbytes]
        table[name] = {"dtype": kind, "shape": array.shape, "data_offsets": offsets}
        start += array.nbytes
    header = json.dumps(table).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for _, array in content.values():
            file.write(array.tobytes())


def floats(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """bfloat16 -> float32, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def packed(module: str, weight: npt.NDArray[np.uint16]) -> tuple[dict[str, Tensor], Tensor]:
    """What stands for module.weight when it is int4; and the weight that it then is, in float32."""
    groups = floats(weight).reshape(len(weight), -1, GROUP)  # (O, G, 32)
    scale = bfloat16(np.abs(groups).max(axis=2) / 7)  # (O, G)
    steps = floats(scale)[..., None]
    values = np.clip(np.rint(groups / steps), -8, 7).astype(np.int64)
    meant = (values * steps).astype(np.float32).reshape(weight.shape)
    nibbles = (values + 8).reshape(len(weight), -1, 8).astype(np.uint64)
    words = (nibbles << np.arange(0, 32, 4, dtype=np.uint64)).sum(axis=2).astype(np.uint32)
    parts = {
        f"{module}.weight_packed": ("I32", words),
        f"{module}.weight_scale": ("BF16", scale),
        f"{module}.weight_shape": ("I64", np.array(weight.shape, dtype=np.int64)),
    }
    return parts, ("F32", meant)


def int4_and_its_meaning(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A shipped model's tensors with packed experts; and the same numbers as plain floats."""
    small: dict[str, Tensor] = {}
    plain: dict[str, Tensor] = {}
    for tensor, (kind, array) in tensors(name).items():
        if ".mlp.experts." in tensor:
            module = tensor.removesuffix(".weight")
            parts, plain[tensor] = packed(module, array)
            small |= parts
        else:
            small[tensor] = plain[tensor] = (kind, array)
    return small, plain


def big(folder: Path, *, layers: int, experts: int, hidden: int, intermediate: int) -> int:
    """A qwen3_moe of random bfloat16 weights, a file a layer; returns the bytes of its weights."""
    keys = config("tiny-moe") | {
        "num_hidden_layers": layers,
        "num_experts": experts,
        "num_local_experts": experts,
        "hidden_size": hidden,
        "moe_intermediate_size": intermediate,
        "max_window_layers": layers,
    }
    keys.pop("layer_types", None)
    ends = {
        "model.embed_tokens.weight": (keys["vocab_size"], hidden),
        "lm_head.weight": (keys["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if keys["tie_word_embeddings"]:
        del ends["lm_head.weight"]
    rng = np.random.default_rng(0)
    noise = bfloat16(rng.normal(0, 0.05, 2**22 + 10007).astype(np.float32))
    write(folder, keys, _random(ends, noise, 0))
    for layer in range(layers):
        shapes = dict(_layer_shapes(keys, f"model.layers.{layer}"))
        path = folder / f"layer-{layer}.safetensors"
        write_safetensors(path, _random(shapes, noise, layer + 1))
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _random(
    shapes: Mapping[str, tuple[int, ...]], noise: npt.NDArray[np.uint16], seed: int
) -> dict[str, Tensor]:
    """Each tensor is another stretch of `noise`, which is faster than new numbers; norms are 1."""
    found: dict[str, Tensor] = {}
    for index, (name, shape) in enumerate(shapes.items()):
        if len(shape) == 1:
            found[name] = ("BF16", np.full(shape, 0x3F80, dtype=np.uint16))
            continue
        count = int(np.prod(shape))
        start = (seed * 7919 + index * 104729) % (len(noise) - count)
        found[name] = ("BF16", noise[start : start + count].reshape(shape))
    return found


def _layer_shapes(keys: Mapping[str, Any], layer: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, head = keys["hidden_size"], keys["head_dim"]
    queries, pairs = keys["num_attention_heads"] * head, keys["num_key_value_heads"] * head
    yield f"{layer}.input_layernorm.weight", (hidden,)
    yield f"{layer}.post_attention_layernorm.weight", (hidden,)
    for name, size in (("q", queries), ("k", pairs), ("v", pairs)):
        yield f"{layer}.self_attn.{name}_proj.weight", (size, hidden)
    yield f"{layer}.self_attn.o_proj.weight", (hidden, queries)
    yield f"{layer}.self_attn.q_norm.weight", (head,)
    yield f"{layer}.self_attn.k_norm.weight", (head,)
    yield f"{layer}.mlp.gate.weight", (keys["num_experts"], hidden)
    for expert in range(keys["num_experts"]):
        name = f"{layer}.mlp.experts.{expert}"
        for part in ("gate_proj", "up_proj"):
            yield f"{name}.{part}.weight", (keys["moe_intermediate_size"], hidden)
        yield f"{name}.down_proj.weight", (hidden, keys["moe_intermediate_size"])
