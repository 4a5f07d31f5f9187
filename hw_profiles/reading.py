"""What a probe read of a node. Whatever could not be read is Unknown with its reason, no value.

Memory of GPUs is in MiB, as the driver counts it; memory of the host and disk in GB (1e9 bytes).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar, Union, cast

T = TypeVar("T")
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Not known, and why."""

    reason: str


Maybe = Union[T, Unknown]  # noqa: UP007 - an alias with a parameter needs the old spelling


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An NVLink that is up."""

    number: int
    to: str  # SWITCH, or the PCI address of the GPU at its other end


SWITCH = "switch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that holds a GPU; its memory is unknown to the driver in some containers."""

    pid: int
    memory_mib: Maybe[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, as NVML describes it."""

    index: int
    name: Maybe[str]
    uuid: Maybe[str]
    pci: Maybe[str]
    memory_mib: Maybe[float]  # all that the driver shows
    memory_used_mib: Maybe[float]  # without what the driver keeps for itself
    compute_capability: Maybe[str]  # "9.0"
    ecc: Maybe[bool]
    uncorrected_ecc_errors: Maybe[int]  # since the driver was loaded
    remap_pending: Maybe[bool]  # a broken row of memory is replaced at the next reset
    remap_failed: Maybe[bool]  # and here it could not be
    mig: Maybe[bool]  # the GPU is cut into instances
    persistence: Maybe[bool]
    power_limit_w: Maybe[float]  # what is enforced now
    power_default_limit_w: Maybe[float]  # what the board came with
    sm_clock_mhz: Maybe[float]
    sm_clock_maximum_mhz: Maybe[float]
    slowdowns: Maybe[tuple[str, ...]]  # why the clocks are held down now; idle is no reason
    fabric: Maybe[str]  # how far the NVSwitch fabric is set up; COMPLETED, or NOT_SUPPORTED
    links: Maybe[tuple[Link, ...]]
    processes: Maybe[tuple[Process, ...]]


FABRIC_COMPLETED = "completed"
FABRIC_NOT_SUPPORTED = "not supported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """The NVIDIA driver and its GPUs; one that does not answer is Unknown as a whole."""

    version: Maybe[str]
    cuda: Maybe[str]  # the newest CUDA that this driver runs: "13.0"
    gpus: tuple[Maybe[Gpu], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The machine beside its GPUs."""

    kernel: str
    cpu: Maybe[str]
    cpu_features: Maybe[tuple[str, ...]]  # vector units, as the kernel spells them
    cores: Maybe[int]  # physical
    threads: int  # that this process may use
    numa_nodes: Maybe[int]
    memory_gb: Maybe[float]  # of the machine, or of the container where that is less
    memory_available_gb: Maybe[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The disk that a folder is on, or will be."""

    folder: str
    free_gb: Maybe[float]  # for this user
    present_gb: float  # what the folder holds already
    read_mb_per_s: Maybe[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """All that was read of a node. `driver` is Unknown where there is no NVIDIA driver."""

    driver: Maybe[Driver]
    visible_gpus: str | None  # CUDA_VISIBLE_DEVICES, which engines obey and NVML does not
    system: System
    disk: Disk | None  # None: no folder was asked about
    read_at: str  # ISO 8601, UTC


def to_json(node: Node) -> bytes:
    """For provenance: every field, and {"unknown": REASON} where there is no value."""
    return json.dumps({"schema": SCHEMA, **_plain(node)}, indent=1).encode()


def _plain(value: object) -> Any:
    if isinstance(value, Unknown):
        return {"unknown": value.reason}
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[object, ...]", value)]
    return value
