"""Copies of a model with other weights, and other chat templates: what no engine's flag can do."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.base.errors import ConfigError
from launchers.pins import MODELS
from scripts.int4_groups import quantise
from scripts.quantise_int4 import Tensor, read, write

FILES = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
Weights = Callable[[dict[str, Tensor]], None]
Template = Callable[[str], str]
Copy = Callable[[str, Path], Path]  # (a model's name, a folder) -> the folder, with a copy of it
WEIGHTS = "model.safetensors"


def swap_last_experts(tensors: dict[str, Tensor]) -> None:
    """Experts 3 and 6 of layer 2 change places."""
    for part in ("gate", "up", "down"):
        a, b = (f"model.layers.2.mlp.experts.{i}.{part}_proj.weight" for i in (3, 6))
        tensors[a], tensors[b] = tensors[b], tensors[a]


def forget_expert(tensors: dict[str, Tensor]) -> None:
    """One expert's last matrix stays zero."""
    name = "model.layers.0.mlp.experts.4.down_proj.weight"
    tensors[name] = tensor(np.zeros(tensors[name].shape, dtype=np.float32))


def int4_attention(tensors: dict[str, Tensor]) -> None:
    """The attention's matrices, which an ignore-list should have kept."""
    for name in tensors:
        if re.search(r"self_attn\.[qkvo]_proj\.weight", name):
            tensors[name] = rounded(tensors[name])


def zero_slice(tensors: dict[str, Tensor]) -> None:
    """The second half of one matrix stays as it was allocated."""
    name = "model.layers.1.self_attn.o_proj.weight"
    values = numbers(tensors[name])
    values[values.shape[0] // 2 :] = 0
    tensors[name] = tensor(values)


def copy_shard(tensors: dict[str, Tensor]) -> None:
    """Both ranks load the first shard of layer 1's queries."""
    name = "model.layers.1.self_attn.q_proj.weight"
    values = numbers(tensors[name])
    half = values.shape[0] // 2
    values[half:] = values[:half]
    tensors[name] = tensor(values)


def int4_layer(tensors: dict[str, Tensor]) -> None:
    """One layer's experts, rounded to four bits in groups of 32."""
    for name in tensors:
        if re.fullmatch(r"model\.layers\.1\.mlp\.experts\.\d+\.\w+\.weight", name):
            tensors[name] = rounded(tensors[name])


def rounded(weight: Tensor) -> Tensor:
    integers, scales = quantise(numbers(weight))
    return tensor(integers * np.repeat(scales, weight.shape[1] // scales.shape[1], axis=1))


def interleave(tensors: dict[str, Tensor]) -> None:
    """Halves and pairs taken for each other: the rows of each head in the other style's order."""
    for name, weight in tensors.items():
        if re.search(r"self_attn\.[qk]_(proj|norm)\.weight", name):
            values = numbers(weight)
            heads = values.reshape(-1, 32, *values.shape[1:])
            pairs = np.arange(32).reshape(2, 16).T.reshape(-1)
            tensors[name] = tensor(heads[:, pairs].reshape(values.shape))


def no_router_bias(tensors: dict[str, Tensor]) -> None:
    """The bias that balances the experts is not loaded."""
    for name, weight in tensors.items():
        if name.endswith("e_score_correction_bias"):
            tensors[name] = tensor(np.zeros(weight.shape, dtype=np.float32))


def numbers(weight: Tensor) -> npt.NDArray[np.float32]:
    """A bfloat16 tensor's values."""
    half = np.frombuffer(weight.content, dtype="<u2")
    return (half.astype(np.uint32) << 16).view(np.float32).reshape(weight.shape).copy()


def tensor(values: npt.NDArray[np.float32]) -> Tensor:
    """Values as bfloat16, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    half = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return Tensor(dtype="BF16", shape=values.shape, content=half.tobytes())


def without_generation_prompt(template: str) -> str:
    return template.replace("{%- if add_generation_prompt -%}", "{%- if false -%}")


def with_double_bos(template: str) -> str:
    return "{{- bos_token -}}" + template


def content_as_list(template: str) -> str:
    """Content in parts is printed as Python prints a list."""
    return template.replace("{%- if message.content is string -%}", "{%- if true -%}")


def with_weights(edit: Weights) -> Copy:
    """A copy with other weights. The copy raises ConfigError where the edit changes nothing."""

    def copy(model: str, folder: Path) -> Path:
        before: Mapping[str, Tensor] = read(MODELS / model / WEIGHTS)
        edit(after := dict(before))
        if after == before:
            raise ConfigError(f"{edit.__name__} changes no tensor of {model}")
        _others(model, folder)
        write(folder / WEIGHTS, after)
        return folder

    return copy


def in_two_shards(model: str, folder: Path) -> Path:
    """A copy with the same weights in two files and an index, every other tensor in each."""
    tensors = read(MODELS / model / WEIGHTS)
    _others(model, folder)
    files: dict[str, str] = {}
    for number in (1, 2):
        name = f"model-0000{number}-of-00002.safetensors"
        part = dict(list(tensors.items())[2 - number :: 2])
        write(folder / name, part)
        files |= dict.fromkeys(part, name)
    size = sum(len(tensor.content) for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": files}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index), "utf-8")
    return folder


def _others(model: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(MODELS / model / name, folder / name)


def with_template(model: str, edit: Template, folder: Path) -> Path:
    """A file with another chat template. Raises ConfigError where the edit changes nothing."""
    text = (MODELS / model / "chat_template.jinja").read_text("utf-8")
    if (after := edit(text)) == text:
        raise ConfigError(f"{edit.__name__} changes nothing of the template of {model}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "other_chat_template.jinja"
    path.write_text(after, "utf-8")
    return path
