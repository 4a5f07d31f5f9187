"""RoPE as a config describes it: plain, or stretched by YaRN as DeepSeek and Kimi ship it.

config.json spells it in one of two ways, or in both alike: `rope_theta` with `rope_scaling` (whose
kind is `type`), or `rope_parameters` (whose kind is `rope_type`) with the base inside.
"""

import math
from dataclasses import dataclass

import torch
from checkpoint_config import UnsupportedModelError
from torch import Tensor

KIND_KEYS = ("rope_type", "type")
YARN_KEYS = (
    "factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "original_max_position_embeddings",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Yarn:
    """A context of `original_length` stretched `factor` times (arXiv 2309.00071, section 3)."""

    factor: float
    original_length: int
    fast_rotations: float  # pairs that turn more often within original_length stay as they were
    slow_rotations: float  # pairs that turn less often are slowed down by `factor`
    temperature: float  # mscale_all_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """The rotation of queries and keys by position."""

    theta: float
    yarn: Yarn | None

    def frequencies(self, dimensions: int) -> Tensor:
        """(dimensions / 2,) float64, radians a position: theta^(-2i/d) (arXiv 2104.09864)."""
        exponents = torch.arange(0, dimensions, 2, dtype=torch.float64) / dimensions
        plain = self.theta**-exponents
        if self.yarn is None:
            return plain
        slowed = self._slowed(dimensions)
        return plain * (1 - slowed) + plain / self.yarn.factor * slowed

    def attention_factor(self) -> float:
        """What YaRN multiplies the softmax's scale by: the square of .1 m ln(factor) + 1."""
        if self.yarn is None or self.yarn.factor <= 1:
            return 1.0
        return (0.1 * self.yarn.temperature * math.log(self.yarn.factor) + 1) ** 2

    def _slowed(self, dimensions: int) -> Tensor:
        """(dimensions / 2,) float64: how much of each pair is slowed, rising from 0 to 1."""
        first = max(math.floor(self._pair(self.yarn.fast_rotations, dimensions)), 0)
        last = min(math.ceil(self._pair(self.yarn.slow_rotations, dimensions)), dimensions - 1)
        pairs = torch.arange(dimensions // 2, dtype=torch.float64)
        width = last - first or 0.001  # DeepSeek's own way round 0/0
        return ((pairs - first) / width).clamp(0, 1)

    def _pair(self, rotations: float, dimensions: int) -> float:
        """Which pair turns so often within the original length: theta^(-2i/d) L = 2 pi r."""
        ratio = self.yarn.original_length / (2 * math.pi * rotations)
        return dimensions * math.log(ratio) / (2 * math.log(self.theta))


def read_rope(config: dict, *, kinds: tuple[str, ...]) -> Rope:
    """Raise UnsupportedModelError for a kind not in `kinds` ('default', 'yarn'), or more keys."""
    tables = [table for key in ("rope_parameters", "rope_scaling") if (table := config.get(key))]
    thetas = {table["rope_theta"] for table in (config, *tables) if "rope_theta" in table}
    if len(thetas) != 1:
        raise UnsupportedModelError(f"config.json: rope_theta = {sorted(thetas)}; expected one")
    theta = float(thetas.pop())
    ropes = {_rope(theta, table, kinds) for table in tables} or {Rope(theta=theta, yarn=None)}
    if len(ropes) != 1:
        raise UnsupportedModelError(
            f"config.json: rope_parameters and rope_scaling disagree: {tables!r}"
        )
    return ropes.pop()


def _rope(theta: float, table: dict, kinds: tuple[str, ...]) -> Rope:
    kind = next((table[key] for key in KIND_KEYS if key in table), None)
    known = {*KIND_KEYS, "rope_theta", *(YARN_KEYS if kind == "yarn" else ())}
    if kind not in kinds or not table.keys() <= known:
        raise UnsupportedModelError(
            f"config.json: RoPE = {table!r}; the direct implementation has only kind"
            f" {' or '.join(kinds)}, with the keys {sorted(known)}"
        )
    return Rope(theta=theta, yarn=_yarn(table) if kind == "yarn" else None)


def _yarn(table: dict) -> Yarn:
    missing = [key for key in YARN_KEYS if key not in table]
    if missing:
        raise UnsupportedModelError(f"config.json: RoPE = {table!r}; {missing} are missing")
    if not table["mscale"] or table["mscale"] != table["mscale_all_dim"]:
        raise UnsupportedModelError(
            f"config.json: RoPE = {table!r}; the direct implementation has only mscale equal to"
            " mscale_all_dim, and not 0"
        )
    return Yarn(
        factor=float(table["factor"]),
        original_length=table["original_max_position_embeddings"],
        fast_rotations=float(table["beta_fast"]),
        slow_rotations=float(table["beta_slow"]),
        temperature=float(table["mscale_all_dim"]),
    )
