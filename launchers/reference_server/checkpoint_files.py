"""Files of safetensors: which tensors they hold, and their bytes when they are asked for.

The files are read, not mapped: mapped pages count as the process's memory, and a streamed
computation promises to stay below a limit. The format is a length (8 bytes, little endian), that
many bytes of JSON, and the tensors' bytes (huggingface/safetensors, README).
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
}


class CheckpointError(ValueError):
    """A file of the checkpoint is not what its own header says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """Where a tensor lies."""

    path: Path
    start: int  # byte in the file
    size_bytes: int
    dtype: str  # safetensors' name
    shape: tuple[int, ...]


class CheckpointFiles:
    """The tensors of safetensors files, by name. Safe for concurrent reads."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.tensors: dict[str, StoredTensor] = {}
        for path in paths:
            self.tensors |= _header(path)

    def read(self, name: str) -> Tensor:
        """A tensor as it is stored. Raises CheckpointError if the file is cut short."""
        stored = self.tensors[name]
        if stored.dtype not in DTYPES:
            raise CheckpointError(
                f"checkpoint: {name} is {stored.dtype}; the reference reads only {[*DTYPES]}"
            )
        content = torch.empty(stored.size_bytes, dtype=torch.uint8)
        with stored.path.open("rb", buffering=0) as file:
            _fill(memoryview(content.numpy()), file.fileno(), stored)
        return content.view(DTYPES[stored.dtype]).view(stored.shape)


def write(path: Path, tensors: list[Tensor]) -> None:
    """Write tensors named 0, 1, ... and see them on the disk. Raises OSError if it is full."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    table, start = {}, 0
    for index, tensor in enumerate(tensors):
        end = start + tensor.nbytes
        offsets = [start, end]
        shape = list(tensor.shape)
        table[str(index)] = {"dtype": names[tensor.dtype], "shape": shape, "data_offsets": offsets}
        start = end
    header = json.dumps(table).encode()
    with path.open("wb", buffering=0) as file:
        for part in (len(header).to_bytes(8, "little"), header, *map(_bytes, tensors)):
            _write_all(file.fileno(), memoryview(part))
        os.fsync(file.fileno())


def _bytes(tensor: Tensor) -> memoryview:
    return memoryview(tensor.contiguous().view(-1).view(torch.uint8).numpy())


def _write_all(descriptor: int, content: memoryview) -> None:
    """One call of the system writes 2 GiB at most."""
    done = 0
    while done < len(content):
        done += os.write(descriptor, content[done:])


def _fill(buffer: memoryview, descriptor: int, stored: StoredTensor) -> None:
    """One call of the system reads 2 GiB at most."""
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], stored.start + done)
        if count == 0:
            raise CheckpointError(
                f"{stored.path}: ends {len(buffer) - done} bytes early; is it fully downloaded?"
            )
        done += count


def _header(path: Path) -> dict[str, StoredTensor]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > size:
            raise CheckpointError(f"{path}: its header of {length} bytes is cut short")
        table = json.loads(file.read(length))
    table.pop("__metadata__", None)
    start = 8 + length
    return {
        name: StoredTensor(
            path=path,
            start=start + entry["data_offsets"][0],
            size_bytes=entry["data_offsets"][1] - entry["data_offsets"][0],
            dtype=entry["dtype"],
            shape=tuple(entry["shape"]),
        )
        for name, entry in table.items()
    }
