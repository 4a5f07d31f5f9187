"""A node against its profile, and against what one pin needs: each difference, and what to do.

Pure: the same reading gives the same findings, on whichever machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hw_profiles import audit_gpus
from hw_profiles.finding import Difference, Finding, judged
from hw_profiles.node import GpuTable, NodeProfile
from hw_profiles.reading import Driver, Gpu, Node, System, Unknown

MIB_GB = 2**20 / 1e9
MEMORY_TOLERANCE = 0.05  # firmware and kernel keep some of what is built in


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one pin needs on this node."""

    gpu_memory_gb: float  # over the GPUs of this node that it uses
    host_memory_gb: float
    disk_gb: float  # the model's folder, when it is whole
    folder: Path | None  # where the model is or will be; None: the disk is not looked at
    cpu_features: tuple[str, ...]
    gpus: int | None = None  # how many it uses; None: all


def audit(profile: NodeProfile, node: Node, *, needs: Needs | None) -> tuple[Finding, ...]:
    """All differences, the blocking ones first, else in the order of the checks. No I/O."""
    findings = [
        *(_gpus(profile.gpu, node) if profile.gpu is not None else ()),
        *_host(profile, node.system, needs),
        *_disk(profile, node),
        *(_fits(needs, node) if needs is not None else ()),
    ]
    return tuple(sorted(findings, key=lambda finding: finding.severity != "blocking"))


def _gpus(table: GpuTable, node: Node) -> Iterator[Finding]:
    if isinstance(node.driver, Unknown):
        yield Finding(
            severity="blocking",
            what="GPUs",
            found=node.driver.reason,
            wanted=f"{table.count} x {' or '.join(table.names)}",
            remedy="install the NVIDIA driver; in a container, start it with its GPUs; "
            "or choose a pin for this node's type",
        )
        return
    yield from audit_gpus.of_driver(node.driver, table)
    visible = node.visible_gpus
    if visible is not None and len([name for name in visible.split(",") if name]) < table.count:
        yield Finding(
            severity="blocking",
            what="CUDA_VISIBLE_DEVICES",
            found=repr(visible),
            wanted=f"{table.count} GPUs, or not set",
            remedy="unset it: engines do not see the other GPUs",
        )


def _host(profile: NodeProfile, system: System, needs: Needs | None) -> Iterator[Finding]:
    demanded = set(profile.host.cpu_features) | set(needs.cpu_features if needs else ())

    def features(found: tuple[str, ...]) -> Difference | None:
        missing = sorted(demanded - set(found))
        if not missing:
            return None
        other = "choose a pin for this processor, or a node with them"
        return "blocking", f"without {', '.join(missing)} ({system.cpu})", other

    def memory(found: float) -> Difference | None:
        wanted = profile.host.memory_gb
        if wanted is None or found >= wanted * (1 - MEMORY_TOLERANCE):
            return None
        return "warning", f"{found:.0f} GB", "models load slower where they do not fit the cache"

    if demanded:
        wanted = ", ".join(sorted(demanded))
        look = "see /proc/cpuinfo"
        yield from judged("processor", system.cpu_features, wanted, features, look=look)
    if profile.host.memory_gb is not None:
        wanted = f"{profile.host.memory_gb:.0f} GB"
        look = "see /proc/meminfo"
        yield from judged("host memory", system.memory_gb, wanted, memory, look=look)


def _disk(profile: NodeProfile, node: Node) -> Iterator[Finding]:
    wanted = profile.host.disk_read_mb_per_s
    if wanted is None or node.disk is None:
        return
    folder = node.disk.folder

    def speed(found: float) -> Difference | None:
        if found >= wanted:
            return None
        return "warning", f"{found:.0f} MB/s", "keep models on a local NVMe disk"

    yield from judged(
        f"reading from {folder}",
        node.disk.read_mb_per_s,
        f"{wanted:.0f} MB/s",
        speed,
        look="measured when a large file of the model is there",
    )


def _fits(needs: Needs, node: Node) -> Iterator[Finding]:
    """Whether the model fits, said before it is downloaded."""
    yield from _fits_gpus(needs, node)
    system = node.system

    def in_all(found: float) -> Difference | None:
        smaller = "choose a node with more memory, or a smaller model"
        return None if found >= needs.host_memory_gb else ("blocking", f"{found:.0f} GB", smaller)

    def now(found: float) -> Difference | None:
        stop = "stop what uses it"
        return None if found >= needs.host_memory_gb else ("warning", f"{found:.0f} GB", stop)

    wanted = f"{needs.host_memory_gb:.0f} GB"
    look = "see /proc/meminfo"
    too_small = list(
        judged("host memory for the model", system.memory_gb, wanted, in_all, look=look)
    )
    yield from too_small
    if not too_small:
        what = "host memory free for the model"
        yield from judged(what, system.memory_available_gb, wanted, now, look=look)
    if needs.folder is not None:
        yield from _fits_disk(needs, node)


def _fits_gpus(needs: Needs, node: Node) -> Iterator[Finding]:
    gpus = node.driver.gpus if isinstance(node.driver, Driver) else ()
    known = [gpu.memory_mib for gpu in gpus if isinstance(gpu, Gpu)]
    memories = sorted((mib for mib in known if not isinstance(mib, Unknown)), reverse=True)
    used = memories if needs.gpus is None else memories[: needs.gpus]
    found_gb = sum(used) * MIB_GB
    if found_gb < needs.gpu_memory_gb:
        yield Finding(
            severity="blocking",
            what="GPU memory for the model",
            found=f"{found_gb:.0f} GB on {len(used)} GPUs" if used else "no GPU that can be read",
            wanted=f"{needs.gpu_memory_gb:.0f} GB on this node",
            remedy="the model is too large for this node: choose another node or model",
        )


def _fits_disk(needs: Needs, node: Node) -> Iterator[Finding]:
    disk = node.disk
    if disk is None or disk.folder != str(needs.folder):
        raise ValueError(f"the node was probed without {needs.folder}")
    missing_gb = max(needs.disk_gb - disk.present_gb, 0.0)

    def room(found: float) -> Difference | None:
        other = "free some, or choose another folder with --set model.path=FOLDER"
        return None if found >= missing_gb else ("blocking", f"{found:.0f} GB", other)

    wanted = f"{missing_gb:.0f} GB free ({needs.disk_gb:.0f} GB, {disk.present_gb:.0f} are there)"
    yield from judged(f"disk of {disk.folder}", disk.free_gb, wanted, room, look="see `df`")
