"""config.json as the server reads it: the language model's part, and how its weights are packed.

A multimodal checkpoint (Kimi K2.5 and later) nests the language model's keys under `text_config`
and prefixes its tensors; it is computed as the language model alone, on text.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

# model_type of a wrapper: (prefix of the language model's tensors, prefixes of the other tensors)
WRAPPERS = {"kimi_k25": ("language_model.", ("vision_tower.", "mm_projector."))}
# What the bits of a packed weight mean. Any other value would be read wrongly.
_INT4_WEIGHTS: dict[str, tuple[object, ...]] = {
    "num_bits": (4,),
    "type": ("int",),
    "strategy": ("group",),
    "symmetric": (True,),
    "dynamic": (False,),
    "actorder": (None,),
    "block_structure": (None,),
}


class UnsupportedModelError(ValueError):
    """This server does not compute such a model; names the key and its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Int4Packing:
    """compressed-tensors, 'pack-quantized': 4-bit weights with a scale for each group of inputs."""

    group_size: int
    ignore: tuple[str, ...]  # module names, or 're:' and a pattern: these are not packed

    def ignores(self, module: str) -> bool:
        """Whether the config says that this module's weight is as it was, by its name."""
        return any(
            re.match(entry[3:], module) if entry.startswith("re:") else entry == module
            for entry in self.ignore
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModelConfig:
    """What decides the language model's outputs."""

    keys: dict  # config.json, or its text_config; without quantization_config
    prefix: str  # of every tensor of the language model
    packing: Int4Packing | None  # None: the weights are plain floats
    other_prefixes: tuple[str, ...]  # tensors that the next token of a text does not depend on


def read_language_config(folder: Path) -> LanguageModelConfig:
    """Raises UnsupportedModelError for a quantisation that is not read here."""
    whole = json.loads((folder / "config.json").read_text())
    kind = whole.get("model_type")
    prefix, others = WRAPPERS.get(kind, ("", ()))
    keys = whole["text_config"] if kind in WRAPPERS else whole
    quantization = keys.get("quantization_config") or whole.get("quantization_config")
    return LanguageModelConfig(
        keys={key: value for key, value in keys.items() if key != "quantization_config"},
        prefix=prefix,
        packing=None if quantization is None else _int4_packing(quantization),
        other_prefixes=(*others, *_prediction_layers(keys, prefix)),
    )


def _prediction_layers(keys: dict, prefix: str) -> tuple[str, ...]:
    """The multi-token prediction layers, numbered on from the decoder's (DeepSeek-V3, section 2.2).

    They draft tokens after the next one; the next one's distribution does not use them.
    """
    first = keys.get("num_hidden_layers", 0)
    count = keys.get("num_nextn_predict_layers") or 0
    return tuple(f"{prefix}model.layers.{first + index}." for index in range(count))


def _int4_packing(quantization: dict) -> Int4Packing:
    method, form = quantization.get("quant_method"), quantization.get("format")
    if (method, form) != ("compressed-tensors", "pack-quantized"):
        raise UnsupportedModelError(
            f"config.json: quantization_config: quant_method = {method!r}, format = {form!r}; the"
            " reference reads only compressed-tensors' pack-quantized int4, or plain floats"
        )
    groups = list(quantization["config_groups"].values())
    if len(groups) != 1 or groups[0].get("targets") != ["Linear"]:
        raise UnsupportedModelError(
            f"config.json: quantization_config.config_groups = {groups!r}; the reference reads only"
            " one group whose targets are ['Linear']"
        )
    for key in ("input_activations", "output_activations"):
        if groups[0].get(key) is not None:
            raise UnsupportedModelError(
                f"config.json: quantization_config: {key} = {groups[0][key]!r}; expected null"
            )
    weights = groups[0]["weights"]
    for key, values in _INT4_WEIGHTS.items():
        if weights.get(key) not in values:
            raise UnsupportedModelError(
                f"config.json: quantization_config: weights.{key} = {weights.get(key)!r}; the"
                f" reference reads only {values}"
            )
    return Int4Packing(
        group_size=weights["group_size"], ignore=tuple(quantization.get("ignore") or ())
    )
