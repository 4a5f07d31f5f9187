"""config.json and safetensors for the direct implementation: nothing is ignored in silence.

Every key of config.json is used, or known not to touch the outputs, or must hold the one value
that is implemented. Every tensor must be taken, with the shape that the config implies.
"""

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

# Training, bookkeeping and token ids that only a generation loop reads.
HARMLESS = frozenset(
    [
        "architectures",
        "model_type",
        "dtype",
        "torch_dtype",
        "transformers_version",
        "auto_map",
        "use_cache",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "max_position_embeddings",
        "initializer_range",
        "attention_dropout",
        "output_router_logits",
        "router_aux_loss_coef",
    ]
)
# Keys that would change the outputs: absent, or exactly one of these values.
IMPLEMENTED: dict[str, tuple[object, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "rope_scaling": (None,),
    "quantization_config": (None,),
    "use_sliding_window": (False,),
}
ROPE_KEYS = frozenset(("rope_theta", "rope_type"))


class UnsupportedModelError(ValueError):
    """The direct implementation does not compute this model; names the key and its value."""


def require_known(
    config: dict, *, used: frozenset[str], implemented: dict[str, tuple[object, ...]]
) -> None:
    """Raise UnsupportedModelError for a key nobody reads, or a value that is not implemented."""
    values = IMPLEMENTED | implemented
    for key, value in config.items():
        if key in values and value not in values[key]:
            raise UnsupportedModelError(
                f"config.json: {key} = {value!r}; the direct implementation has only {values[key]}"
            )
        if key not in values and key not in used and key not in HARMLESS:
            raise UnsupportedModelError(
                f"config.json: {key} = {value!r}; the direct implementation does not know this key"
            )


def need(config: dict, key: str) -> object:
    """The value of a key that must be there."""
    if key not in config:
        raise UnsupportedModelError(f"config.json: {key} is missing")
    return config[key]


def rope_theta(config: dict) -> float:
    """The base of plain RoPE, spelled in either of two ways, or in both alike."""
    parameters = config.get("rope_parameters") or {"rope_type": "default"}
    if parameters.get("rope_type") != "default" or not parameters.keys() <= ROPE_KEYS:
        raise UnsupportedModelError(
            f"config.json: rope_parameters = {parameters!r}; the direct implementation has only"
            " rope_type 'default'"
        )
    thetas = {keys["rope_theta"] for keys in (config, parameters) if "rope_theta" in keys}
    if len(thetas) != 1:
        raise UnsupportedModelError(f"config.json: rope_theta = {sorted(thetas)}; expected one")
    return float(thetas.pop())


class Checkpoint:
    """The tensors of a folder of safetensors, each to be taken once."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._tensors: dict[str, Tensor] = {}
        for path in sorted(folder.glob("*.safetensors")):
            self._tensors |= safetensors.torch.load_file(path)

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        """Hand out a tensor in the computation's dtype, or in `dtype`."""
        if name not in self._tensors:
            raise UnsupportedModelError(f"checkpoint: {name} is missing")
        tensor = self._tensors.pop(name)
        if tuple(tensor.shape) != shape or tensor.dtype.itemsize < 2:
            raise UnsupportedModelError(
                f"checkpoint: {name} is {tuple(tensor.shape)} {tensor.dtype}; expected {shape}"
                " in a float of 16 bits or more"
            )
        return tensor.to(dtype or self._dtype)

    def take_layer(self, index: int, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """All the tensors of one decoder layer, by the names within it, without '.weight'."""
        return {
            name: self.take(f"model.layers.{index}.{name}.weight", shape)
            for name, shape in shapes.items()
        }

    def require_empty(self) -> None:
        """Raise UnsupportedModelError if the checkpoint holds a tensor that nobody took."""
        if self._tensors:
            names = sorted(self._tensors)
            raise UnsupportedModelError(
                f"checkpoint: {len(names)} tensors that the direct implementation does not use,"
                f" such as {names[0]}"
            )
