"""The language model's weights as floats, by name, whatever form the checkpoint keeps them in."""

from dataclasses import dataclass
from pathlib import Path

from checkpoint_config import LanguageModelConfig, UnsupportedModelError
from checkpoint_files import CheckpointFiles
from checkpoint_int4 import PACKED, SCALE, SHAPE, VALUES_PER_WORD, dequantised
from torch import Tensor

FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One float tensor of the model."""

    shape: tuple[int, ...]
    stored: str  # its name in the files; of the packed integers, if it is packed
    scale: str | None  # the name of its scales, if it is packed
    stored_bytes: int  # to be read


class CheckpointWeights:
    """`table`: name without the wrapper's prefix -> Weight. Safe for concurrent reads.

    `others` are the tensors that the config says belong to something else (a vision tower, the
    multi-token prediction layers). Raises UnsupportedModelError for a tensor that is neither.
    """

    def __init__(self, folder: Path, config: LanguageModelConfig) -> None:
        self.files = CheckpointFiles(sorted(folder.glob("*.safetensors")))
        self._config = config
        self.others = [n for n in self.files.tensors if n.startswith(config.other_prefixes)]
        unclaimed = set(self.files.tensors).difference(self.others)
        self.table: dict[str, Weight] = {}
        for name in sorted(unclaimed):
            if name.endswith(PACKED):
                self._add_packed(name.removesuffix(PACKED))
                parts = (name.removesuffix(PACKED) + part for part in (PACKED, SCALE, SHAPE))
                unclaimed.difference_update(parts)
        for name in sorted(unclaimed):
            self._add_plain(name)

    def read(self, name: str, device: str = "cpu") -> Tensor:
        """Exactly what the checkpoint means, in the dtype that it takes; unpacked on `device`."""
        weight = self.table[name]
        content = self.files.read(weight.stored).to(device)
        if weight.scale is None:
            return content
        self._require_stored_shape(weight)
        return dequantised(content, self.files.read(weight.scale).to(device), weight.shape[1])

    def _add_plain(self, name: str) -> None:
        stored = self.files.tensors[name]
        if stored.dtype not in FLOATS:
            raise UnsupportedModelError(
                f"checkpoint: {name} is {stored.dtype}; the reference reads floats of 16 bits or"
                f" more, and int4 as compressed-tensors packs it"
            )
        self._add(name, stored.shape, name, None, stored.size_bytes)

    def _add_packed(self, module: str) -> None:
        packing, tensors = self._config.packing, self.files.tensors
        if packing is None or packing.ignores(module):
            raise UnsupportedModelError(
                f"checkpoint: {module} is packed, but the quantization_config of config.json does"
                " not say so"
            )
        for part in (SCALE, SHAPE):
            if module + part not in tensors:
                raise UnsupportedModelError(f"checkpoint: {module}{part} is missing")
        packed, scale = tensors[module + PACKED], tensors[module + SCALE]
        inputs = scale.shape[-1] * packing.group_size
        words = -(-inputs // VALUES_PER_WORD)
        if packed.dtype != "I32" or packed.shape != (scale.shape[0], words):
            raise UnsupportedModelError(
                f"checkpoint: {module}{PACKED} is {packed.dtype} {packed.shape}; its scales"
                f" {scale.shape} in groups of {packing.group_size} imply I32"
                f" {(scale.shape[0], words)}"
            )
        shape = (packed.shape[0], inputs)
        size = packed.size_bytes + scale.size_bytes
        self._add(f"{module}.weight", shape, module + PACKED, module + SCALE, size)

    def _add(
        self, name: str, shape: tuple[int, ...], stored: str, scale: str | None, size: int
    ) -> None:
        if not name.startswith(self._config.prefix):
            raise UnsupportedModelError(
                f"checkpoint: {name} is not the language model's ({self._config.prefix}*), nor one"
                f" of {self._config.other_prefixes}"
            )
        self.table[name.removeprefix(self._config.prefix)] = Weight(
            shape=shape, stored=stored, scale=scale, stored_bytes=size
        )

    def _require_stored_shape(self, weight: Weight) -> None:
        name = weight.stored.removesuffix(PACKED) + SHAPE
        stored = tuple(self.files.read(name).tolist())
        if stored != weight.shape:
            raise UnsupportedModelError(
                f"checkpoint: {name} says {stored}; the packed integers and scales say"
                f" {weight.shape}"
            )
