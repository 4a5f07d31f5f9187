"""What a node must be: one TOML for each type, named by a pin's `hardware` or by a path.

A shipped profile says where each of its fields is from (`sources`), or that it is not sourced. A
field that nobody vouches for is left out, and then nothing is demanded. Your own, by its path, is
a copy with what you know: your price, a slower disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.base import strict_toml
from harness.base.errors import ConfigError

SHIPPED = Path(__file__).parent
SCHEMA = 1
VERSION = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTable:
    """Its GPUs, which are all alike."""

    count: int
    names: tuple[str, ...]  # as NVML gives them: one of these
    memory_mib: float  # of each, as the driver shows it; "80 GB" are 81559 MiB
    compute_capability: str
    driver_minimum: str
    cuda_minimum: str  # that the driver runs
    nvlinks_between_each_pair: int  # NV18 in `nvidia-smi topo -m`: 18; 0: none are demanded
    ecc: bool
    power_limit_minimum_w: float | None = None
    sm_clock_maximum_mhz: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTable:
    """The machine around them."""

    cpu_features: tuple[str, ...]  # as the kernel spells them: `avx2`, `avx512f`, `amx_tile`
    memory_gb: float | None = None
    disk_read_mb_per_s: float | None = None  # of the disk that models are on


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProfile:
    """One type of node."""

    schema: int
    name: str
    host: HostTable
    sources: Mapping[str, str]  # field ("gpu.memory_mib") -> where it is from
    gpu: GpuTable | None = None  # None: no GPU is used
    price_usd_per_gpu_hour: float | None = None  # yours to set; costs are in hours without it


def known() -> list[str]:
    """The names of the shipped profiles."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load(name: str) -> NodeProfile:
    """The shipped profile of that name, or the one at a path that ends in .toml.

    Raises ConfigError.
    """
    path = Path(name) if name.endswith(".toml") else SHIPPED / f"{name}.toml"
    if not name.endswith(".toml") and name not in known():
        raise ConfigError(
            f"there is no hardware profile {name!r}; shipped are {', '.join(known())}; "
            "your own is named by its path, which ends in .toml"
        )
    profile = strict_toml.convert(NodeProfile, strict_toml.load(path), str(path))
    _check(profile, str(path))
    return profile


def field_names() -> list[str]:
    """Every field that can be sourced: `gpu.count`, ..., `price_usd_per_gpu_hour`."""
    tables: dict[str, type[Any]] = {"gpu": GpuTable, "host": HostTable}
    inner = [f"{name}.{field.name}" for name, table in tables.items() for field in fields(table)]
    return [*inner, "price_usd_per_gpu_hour"]


def _check(profile: NodeProfile, where: str) -> None:
    if profile.schema != SCHEMA:
        raise ConfigError(f"{where}: schema is {profile.schema}; this enginediff reads {SCHEMA}")
    for field in profile.sources:
        if field not in field_names():
            raise ConfigError(
                f"{where}: sources: {field!r} is no field of a profile; "
                f"known are {', '.join(field_names())}"
            )
    numbers = {"price_usd_per_gpu_hour": profile.price_usd_per_gpu_hour}
    numbers |= {f"host.{k}": getattr(profile.host, k) for k in ("memory_gb", "disk_read_mb_per_s")}
    if profile.gpu is not None:
        _check_gpus(profile.gpu, where)
        positive = ("count", "memory_mib", "power_limit_minimum_w", "sm_clock_maximum_mhz")
        numbers |= {f"gpu.{k}": getattr(profile.gpu, k) for k in positive}
    for field, number in numbers.items():
        if number is not None and not 0 < number < float("inf"):
            raise ConfigError(f"{where}: {field} is {number}; it must be a number above 0")


def _check_gpus(gpu: GpuTable, where: str) -> None:
    if not gpu.names:
        raise ConfigError(f"{where}: gpu.names is empty; it must hold a name that NVML gives")
    if gpu.nvlinks_between_each_pair < 0:
        links = gpu.nvlinks_between_each_pair
        raise ConfigError(f"{where}: gpu.nvlinks_between_each_pair is {links}; 0 or more")
    for field in ("compute_capability", "driver_minimum", "cuda_minimum"):
        version = getattr(gpu, field)
        if not VERSION.fullmatch(version):
            raise ConfigError(f"{where}: gpu.{field} is {version!r}; a version is like 9.0")
