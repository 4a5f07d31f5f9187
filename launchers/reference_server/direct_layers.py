"""The equations that both architectures share, in plain torch.

Weights and activations are in the computation's dtype. Norms, RoPE, attention, routing and the sum
over experts are computed in `wide_dtype`: float64 in a float64 computation, else float32.
"""

from collections.abc import Mapping

import torch
from direct_weights import EXPERTS, LayerWeights
from torch import Tensor


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def linear(inputs: Tensor, weight: Tensor) -> Tensor:
    """(..., I) and (O, I) -> (..., O)."""
    return inputs @ weight.T


def rms_norm(inputs: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) * weight, over the last axis (arXiv 1910.07467, eq. 4)."""
    wide = inputs.to(wide_dtype(inputs.dtype))
    scale = (wide.square().mean(dim=-1, keepdim=True) + epsilon).rsqrt()
    return (wide * scale * weight.to(wide.dtype)).to(inputs.dtype)


def rope_angles(positions: Tensor, frequencies: Tensor) -> Tensor:
    """(B, C) and (D / 2,) -> (B, C, D / 2) float64, in radians (arXiv 2104.09864, eq. 15)."""
    return positions[..., None].double() * frequencies.to(positions.device)


def rotate_halves(inputs: Tensor, angles: Tensor) -> Tensor:
    """Rotate the pairs (i, i + D/2) of (B, C, H, D) by angles (B, C, D/2): Llama's convention."""
    first, second = inputs.to(wide_dtype(inputs.dtype)).chunk(2, dim=-1)
    first, second = _rotated(first, second, angles)
    return torch.cat((first, second), dim=-1).to(inputs.dtype)


def rotate_neighbours(inputs: Tensor, angles: Tensor) -> Tensor:
    """Rotate the pairs (2i, 2i + 1) of (B, C, H, D): the paper's convention, and DeepSeek's."""
    wide = inputs.to(wide_dtype(inputs.dtype))
    first, second = _rotated(wide[..., 0::2], wide[..., 1::2], angles)
    return torch.stack((first, second), dim=-1).flatten(-2).to(inputs.dtype)


def _rotated(first: Tensor, second: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
    cosine = angles.cos().to(first.dtype)[:, :, None]  # (B, C, 1, D/2)
    sine = angles.sin().to(first.dtype)[:, :, None]
    return first * cosine - second * sine, first * sine + second * cosine


def swiglu(inputs: Tensor, layer: Mapping[str, Tensor] | LayerWeights, name: str) -> Tensor:
    """down(silu(gate(x)) * up(x)) (arXiv 2002.05202, eq. 6), (..., D) -> (..., D)."""
    gate = linear(inputs, layer[f"{name}.gate_proj"])
    up = linear(inputs, layer[f"{name}.up_proj"])
    return linear(gate * torch.sigmoid(gate) * up, layer[f"{name}.down_proj"])


def swiglu_shapes(name: str, hidden: int, intermediate: int) -> dict[str, tuple[int, ...]]:
    """The weights that `swiglu` reads, with their shapes."""
    return {
        f"{name}.gate_proj": (intermediate, hidden),
        f"{name}.up_proj": (intermediate, hidden),
        f"{name}.down_proj": (hidden, intermediate),
    }


def mixture(
    blocks: list[Tensor], routes: list[tuple[Tensor, Tensor]], weights: LayerWeights
) -> list[Tensor]:
    """Sum over each row's chosen experts of share x expert(row), expert by expert.

    blocks (N, D) each; routes: experts (N, K) int64, shares (N, K) in the wide dtype -> (N, D)
    each. The sums are in the wide dtype and rounded once. A block's result does not depend on the
    other blocks; an expert's weights are fetched once for all of them.
    """
    totals = [
        torch.zeros_like(rows, dtype=shares.dtype)
        for rows, (_, shares) in zip(blocks, routes, strict=True)
    ]
    chosen = set().union(*(experts.unique().tolist() for experts, _ in routes))
    for index, expert in weights.experts(sorted(chosen)):
        for rows, (experts, shares), total in zip(blocks, routes, totals, strict=True):
            where, slots = (experts == index).nonzero(as_tuple=True)  # (R,), (R,)
            if len(where):
                outputs = swiglu(rows[where], expert, f"{EXPERTS}{index}")  # (R, D)
                total[where] += shares[where, slots, None] * outputs.to(total.dtype)
    return [total.to(rows.dtype) for rows, total in zip(blocks, totals, strict=True)]


class DirectMemory:
    """The KV cache: for each layer the tensors that its attention wants back, (B, S, ...)."""

    def __init__(self) -> None:
        self._layers: dict[int, tuple[Tensor, ...]] = {}

    def extend(self, layer: int, *new: Tensor) -> tuple[Tensor, ...]:
        """Append (B, C, ...) along the slots and return everything so far, (B, S, ...)."""
        if layer in self._layers:
            new = tuple(
                torch.cat((old, piece), dim=1)
                for old, piece in zip(self._layers[layer], new, strict=True)
            )
        self._layers[layer] = new
        return new
