"""The seam between equations of a layer and its weights: all in memory, or read when used."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from torch import Tensor

EXPERTS = "mlp.experts."  # what the names of experts' weights begin with


class LayerWeights(Protocol):
    """The weights of one decoder layer, by their names within it, without '.weight'."""

    def __contains__(self, name: str) -> bool: ...

    def __getitem__(self, name: str) -> Tensor: ...

    def experts(self, indices: list[int]) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
        """Each of these experts' weights, in the given order, to be used before the next."""
        ...


class KeptWeights(dict[str, Tensor]):
    """`LayerWeights` that are all in memory."""

    def experts(self, indices: list[int]) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
        for index in indices:
            yield index, self
