"""What a packed checkpoint means, by the format's own words and without the product."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
KINDS = {"BF16": np.dtype("<u2"), "I32": np.dtype("<i4")}


def tensors(file: Path) -> dict[str, Array]:
    """Every tensor of a safetensors file as it is stored; bfloat16 as 16 bits."""
    data = file.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8:begin])
    header.pop("__metadata__")
    found: dict[str, Array] = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        flat = np.frombuffer(data[begin + first : begin + last], dtype=KINDS[entry["dtype"]])
        found[name] = flat.reshape(entry["shape"])
    return found


def float32(bits: Array) -> npt.NDArray[np.float32]:
    """bfloat16 as 16 bits -> its value."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def integers(packed: Array) -> npt.NDArray[np.int64]:
    """(N, W) int32 -> (N, 8 W) in [-8, 7], the first of a word in its lowest four bits."""
    words = packed.view(np.uint32).astype(np.int64)
    return np.stack([(words >> (4 * i)) & 15 for i in range(8)], axis=2).reshape(len(words), -1) - 8


def dequantised(stored: dict[str, Array], module: str) -> npt.NDArray[np.float32]:
    """(N, K): each integer times the scale of its group of 32."""
    scales = float32(stored[f"{module}.weight_scale"]).repeat(32, axis=1)
    return integers(stored[f"{module}.weight_packed"]).astype(np.float32) * scales
