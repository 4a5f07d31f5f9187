"""Reads the machine beside its GPUs: processor, memory, NUMA nodes, from /proc and /sys."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path, PurePosixPath

from hw_profiles.reading import Maybe, System, Unknown

CGROUPS = Path("/sys/fs/cgroup")
NUMA = Path("/sys/devices/system/node")
VECTOR_FEATURE = re.compile(
    r"(avx|amx|fma|f16c|asimd|sve|bf16|i8mm)\w*"
)  # what kernels are chosen by


def read() -> System:
    """This machine, now."""
    cpuinfo = Path("/proc/cpuinfo").read_text("utf-8")
    meminfo = Path("/proc/meminfo").read_text("utf-8")
    limit_gb = container_limit_gb(Path("/proc/self/cgroup").read_text("utf-8"), CGROUPS)
    return System(
        kernel=platform.release(),
        cpu=cpu_name(cpuinfo),
        cpu_features=cpu_features(cpuinfo),
        cores=cores(cpuinfo),
        threads=len(os.sched_getaffinity(0)),
        numa_nodes=_numa_nodes(),
        memory_gb=_least(memory_gb(meminfo, "MemTotal"), limit_gb),
        memory_available_gb=_least(memory_gb(meminfo, "MemAvailable"), limit_gb),
    )


def cpu_name(cpuinfo: str) -> Maybe[str]:
    """The model, as /proc/cpuinfo gives it."""
    return _field(cpuinfo, "model name")


def cpu_features(cpuinfo: str) -> Maybe[tuple[str, ...]]:
    """The vector units that the kernel lets programs use: `avx2`, `avx512f`, `amx_tile`."""
    flags = _field(cpuinfo, "flags")
    if isinstance(flags, Unknown):
        flags = _field(cpuinfo, "Features")  # so called on Arm
    if isinstance(flags, Unknown):
        return flags
    return tuple(sorted(flag for flag in flags.split() if VECTOR_FEATURE.fullmatch(flag)))


def cores(cpuinfo: str) -> Maybe[int]:
    """Physical cores: two threads of one core count once."""
    processors = [block for block in cpuinfo.split("\n\n") if block.strip()]
    found = {(_field(b, "physical id"), _field(b, "core id")) for b in processors}
    if any(isinstance(part, Unknown) for core in found for part in core):
        return Unknown(reason="/proc/cpuinfo does not number the cores")
    return len(found)


def memory_gb(meminfo: str, name: str) -> Maybe[float]:
    """A line of /proc/meminfo."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", meminfo, re.MULTILINE)
    if found is None:
        return Unknown(reason=f"/proc/meminfo holds no {name}")
    return int(found[1]) * 1024 / 1e9


def container_limit_gb(own: str, root: Path) -> float:
    """The least memory limit of the control groups that /proc/self/cgroup names; infinite: none.

    Inside a container the group's path may be that of the host: then the limit stands at the root.
    """
    limits = [float("inf")]
    for line in own.splitlines():
        _number, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = PurePosixPath(path)
        for parent in (group, *group.parents):
            file = base / str(parent).lstrip("/") / name
            text = file.read_text("utf-8").strip() if file.is_file() else "max"
            limits.append(float("inf") if text == "max" else int(text) / 1e9)
    return min(limits)


def _least(value: Maybe[float], limit: float) -> Maybe[float]:
    return value if isinstance(value, Unknown) else min(value, limit)


def _numa_nodes() -> Maybe[int]:
    nodes = [p for p in NUMA.glob("node*") if re.fullmatch(r"node\d+", p.name)]
    return len(nodes) or Unknown(reason=f"{NUMA} lists none")


def _field(cpuinfo: str, name: str) -> Maybe[str]:
    found = re.search(rf"^{name}\s*: (.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else Unknown(reason=f"/proc/cpuinfo holds no {name!r}")
