"""Weights that are read when they are used, a little ahead of the computation.

A layer's attention, norms, router and dense parts are held while the layer is computed; its experts
come and go, a few at a time.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
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

    def read_as(self, name: str, dtype: torch.dtype) -> Tensor:
        """In another dtype than the computation's, on its device."""
        return self.read_as_stored(name).to(self.device, dtype)

    def start(self, name: str) -> Future[Tensor]:
        return self._threads.submit(self.read, name)

    def in_order(self, groups: Iterable[list[str]]) -> Iterator[list[Tensor]]:
        """The tensors of each group; READERS groups are read ahead of the one in use."""
        coming: deque[list[Future[Tensor]]] = deque()
        for names in groups:
            coming.append([self.start(name) for name in names])
            if len(coming) > READERS:
                yield [part.result() for part in coming.popleft()]
        while coming:
            yield [part.result() for part in coming.popleft()]


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
        groups = [[layer_name(self._index, n) for n in self._experts[i]] for i in indices]
        for index, tensors in zip(indices, self._reader.in_order(groups), strict=True):
            yield index, dict(zip(self._experts[index], tensors, strict=True))

    def _start(self, name: str) -> Future[Tensor]:
        return self._reader.start(layer_name(self._index, name))


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
