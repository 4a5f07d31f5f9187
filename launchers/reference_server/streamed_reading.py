"""Weights that are read when they are used, a little ahead of the computation.

A layer's attention, norms, router and dense parts are held while the layer is computed; its experts
come and go, a few at a time.
"""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from checkpoint_weights import CheckpointWeights
from direct_checkpoint import Checkpoint, layer_name
from direct_weights import EXPERTS
from torch import Tensor

READERS = 3  # threads, and experts that are read ahead of the one in use


class WeightReader:
    """Reads weights in the background, in the computation's dtype and on its device."""

    def __init__(self, weights: CheckpointWeights, dtype: torch.dtype, device: str) -> None:
        self.weights = weights
        self.dtype = dtype
        self.device = device
        self.bytes_read = 0
        self._counting = threading.Lock()
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="weights")

    def read(self, name: str) -> Tensor:
        with self._counting:
            self.bytes_read += self.weights.table[name].stored_bytes
        return self.weights.read(name, self.device).to(self.dtype)

    def read_as_stored(self, name: str) -> Tensor:
        """On the CPU."""
        with self._counting:
            self.bytes_read += self.weights.table[name].stored_bytes
        return self.weights.read(name)

    def start(self, name: str) -> Future[Tensor]:
        return self._threads.submit(self.read, name)


class StreamedWeights:
    """`LayerWeights` on disk. `start` may be called early; `release` when the layer is done."""

    def __init__(self, reader: WeightReader, index: int, names: list[str]) -> None:
        self._reader = reader
        self._index = index
        self._kept = {name for name in names if not name.startswith(EXPERTS)}
        self._experts: dict[int, list[str]] = {}
        for name in names:
            if name.startswith(EXPERTS):
                number = int(name.removeprefix(EXPERTS).split(".")[0])
                self._experts.setdefault(number, []).append(name)
        self._coming: dict[str, Future[Tensor]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def __getitem__(self, name: str) -> Tensor:
        self.start()
        return self._coming[name].result()

    def start(self) -> None:
        if not self._coming:
            self._coming = {name: self._start(name) for name in sorted(self._kept)}

    def release(self) -> None:
        self._coming = {}

    def experts(self, indices: list[int]) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
        coming: deque[tuple[int, dict[str, Future[Tensor]]]] = deque()
        for index in indices:
            coming.append((index, {name: self._start(name) for name in self._experts[index]}))
            if len(coming) > READERS:
                yield _arrived(*coming.popleft())
        while coming:
            yield _arrived(*coming.popleft())

    def _start(self, name: str) -> Future[Tensor]:
        return self._reader.start(layer_name(self._index, name))


def _arrived(index: int, parts: dict[str, Future[Tensor]]) -> tuple[int, dict[str, Tensor]]:
    return index, {name: part.result() for name, part in parts.items()}


class StreamedCheckpoint:
    """As `Checkpoint`, but layers are only claimed; `layers` has them by number."""

    def __init__(self, checkpoint: Checkpoint, reader: WeightReader) -> None:
        self._checkpoint = checkpoint
        self._reader = reader
        self.layers: dict[int, StreamedWeights] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        return self._checkpoint.take(name, shape, dtype).to(self._reader.device)

    def take_layer(self, index: int, shapes: dict[str, tuple[int, ...]]) -> StreamedWeights:
        for name, shape in shapes.items():
            self._checkpoint.claim(layer_name(index, name), shape)
        self.layers[index] = StreamedWeights(self._reader, index, list(shapes))
        return self.layers[index]
