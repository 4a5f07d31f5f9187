"""Readings of nodes that do not stand here, written down by hand: no GPU was asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hw_profiles.node import GpuTable, load
from hw_profiles.reading import SWITCH, Disk, Driver, Gpu, Link, Node, System


def gpu(index: int, **changes: Any) -> Gpu:
    """A healthy, idle H20 of a node with NVSwitch; `changes` replace fields."""
    healthy = Gpu(
        index=index,
        name="NVIDIA H20",
        uuid=f"GPU-{index}",
        pci=f"00000000:{index:02x}:00.0",
        memory_mib=97871.0,
        memory_used_mib=4.0,
        compute_capability="9.0",
        ecc=True,
        uncorrected_ecc_errors=0,
        remap_pending=False,
        remap_failed=False,
        mig=False,
        persistence=True,
        power_limit_w=500.0,
        power_default_limit_w=500.0,
        sm_clock_mhz=345.0,
        sm_clock_maximum_mhz=1980.0,
        slowdowns=(),
        fabric="completed",
        links=tuple(Link(number=number, to=SWITCH) for number in range(18)),
        processes=(),
    )
    return replace(healthy, **changes)


def like(profile: str) -> Node:
    """A node that is just what a shipped profile with GPUs demands."""
    loaded = load(profile)
    assert loaded.gpu is not None
    return node(*(as_demanded(index, loaded.gpu) for index in range(loaded.gpu.count)))


def as_demanded(index: int, table: GpuTable) -> Gpu:
    return gpu(
        index,
        name=table.names[0],
        memory_mib=table.memory_mib,
        compute_capability=table.compute_capability,
        power_limit_w=table.power_limit_minimum_w or 500.0,
        power_default_limit_w=table.power_limit_minimum_w or 500.0,
    )


def node(*gpus: Any, **changes: Any) -> Node:
    """A node with these GPUs and nothing wrong beside them."""
    healthy = Node(
        driver=Driver(version="580.82.07", cuda="13.0", gpus=gpus),
        visible_gpus=None,
        system=System(
            kernel="6.8.0",
            cpu="INTEL(R) XEON(R) PLATINUM 8558",
            cpu_features=("amx_bf16", "amx_int8", "amx_tile", "avx2", "avx512f"),
            cores=96,
            threads=192,
            numa_nodes=2,
            memory_gb=2100.0,
            memory_available_gb=2050.0,
        ),
        disk=Disk(folder="models/k2", free_gb=3000.0, present_gb=0.0, read_mb_per_s=6000.0),
        read_at="2026-01-01T00:00:00+00:00",
    )
    return replace(healthy, **changes)
