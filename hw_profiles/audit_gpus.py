"""The GPUs of a node against what they must be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hw_profiles import topology
from hw_profiles.finding import Difference, Finding, judged, reaches
from hw_profiles.node import GpuTable
from hw_profiles.reading import (
    FABRIC_COMPLETED,
    FABRIC_NOT_SUPPORTED,
    Driver,
    Gpu,
    Maybe,
    Unknown,
)

MEMORY_TOLERANCE = 0.02  # drivers keep more or less of a board's memory for themselves
USED_MIB = 1024.0  # an idle GPU shows some hundred MiB at most
POWER_TOLERANCE_W = 1.0
LOOK = "see `nvidia-smi -q` on the node"


def of_driver(driver: Driver, table: GpuTable) -> Iterator[Finding]:
    """Everything about the driver and its GPUs, the driver first."""
    yield from _version("driver", driver.version, table.driver_minimum)
    yield from _version("CUDA version of the driver", driver.cuda, table.cuda_minimum)
    gpus = [gpu for gpu in driver.gpus if isinstance(gpu, Gpu)]
    yield from _count(len(driver.gpus), table)
    for index, gpu in enumerate(driver.gpus):
        if isinstance(gpu, Unknown):
            yield _lost(index, gpu.reason)
    yield from _mixed(gpus)
    yield from _together([(gpu.index, list(_of_gpu(gpu, table))) for gpu in gpus])
    if table.nvlinks_between_each_pair:
        yield from topology.of_gpus(gpus, table.nvlinks_between_each_pair)


def same_name(found: str, name: str) -> bool:
    """Whether NVML's name is that one: whole, but older drivers leave "NVIDIA" out."""
    return _plain(found) == _plain(name)


def _plain(name: str) -> str:
    return " ".join(name.casefold().split()).removeprefix("nvidia ")


def _version(what: str, version: Maybe[str], minimum: str) -> Iterator[Finding]:
    def difference(found: str) -> Difference | None:
        try:
            new_enough = reaches(found, minimum)
        except ValueError:
            return "warning", f"{found!r}, which is no version", LOOK
        return None if new_enough else ("blocking", found, "install a newer NVIDIA driver")

    yield from judged(what, version, f"{minimum} or newer", difference, look=LOOK)


def _count(found: int, table: GpuTable) -> Iterator[Finding]:
    if found == table.count:
        return
    fewer = found < table.count
    yield Finding(
        severity="blocking" if fewer else "warning",
        what="number of GPUs",
        found=str(found),
        wanted=str(table.count),
        remedy="if some fell off the bus, `dmesg | grep Xid` says so and a reboot may bring them "
        "back; in a container, give it all GPUs; or choose a pin for fewer"
        if fewer
        else f"set CUDA_VISIBLE_DEVICES to {table.count} of them",
    )


def _lost(index: int, reason: str) -> Finding:
    return Finding(
        severity="blocking",
        what=f"GPU {index}",
        found=f"does not answer: {reason}",
        wanted="a GPU that answers",
        remedy=f"reset it (`nvidia-smi -r -i {index}`) or reboot; `dmesg | grep Xid` says why",
    )


def _mixed(gpus: Sequence[Gpu]) -> Iterator[Finding]:
    names = sorted({gpu.name for gpu in gpus if isinstance(gpu.name, str)})
    if len(names) > 1:
        yield Finding(
            severity="blocking",
            what="GPU models",
            found=" and ".join(names),
            wanted="one model",
            remedy="engines split a model evenly, over equal GPUs: use a node of one model",
        )


def _together(found: Sequence[tuple[int, list[Finding]]]) -> Iterator[Finding]:
    """The same finding about several GPUs is one, in the order of the checks."""
    by_finding: dict[Finding, list[int]] = {}
    for index, findings in found:
        for finding in findings:
            by_finding.setdefault(finding, []).append(index)
    for finding, indexes in by_finding.items():
        who = f"GPU {', '.join(map(str, indexes))}"
        yield replace(finding, what=f"{who}: {finding.what}")


def _of_gpu(gpu: Gpu, table: GpuTable) -> Iterator[Finding]:
    yield from _identity(gpu, table)
    yield from _health(gpu, table)
    yield from _use(gpu)
    yield from _speed(gpu, table)


def _identity(gpu: Gpu, table: GpuTable) -> Iterator[Finding]:
    another = "another board runs other kernels: choose a pin for this node's type"

    def name(found: str) -> Difference | None:
        known = any(same_name(found, name) for name in table.names)
        return None if known else ("blocking", found, another)

    def memory(found: float) -> Difference | None:
        if found < table.memory_mib * (1 - MEMORY_TOLERANCE):
            return "blocking", f"{found:.0f} MiB", another
        if found > table.memory_mib * (1 + MEMORY_TOLERANCE):
            return "warning", f"{found:.0f} MiB", another
        return None

    def capability(found: str) -> Difference | None:
        return None if found == table.compute_capability else ("blocking", found, another)

    wanted = table.compute_capability
    yield from judged("name", gpu.name, " or ".join(table.names), name, look=LOOK)
    yield from judged("memory", gpu.memory_mib, f"{table.memory_mib:.0f} MiB", memory, look=LOOK)
    yield from judged("compute capability", gpu.compute_capability, wanted, capability, look=LOOK)


def _health(gpu: Gpu, table: GpuTable) -> Iterator[Finding]:
    reset = f"reset it (`nvidia-smi -r -i {gpu.index}`) or reboot"

    def ecc(found: bool) -> Difference | None:
        if found or not table.ecc:
            return None
        return "blocking", "off", f"`nvidia-smi -i {gpu.index} -e 1`, then a reset"

    def errors(found: int) -> Difference | None:
        return ("blocking", str(found), reset) if found else None

    def failed(found: bool) -> Difference | None:
        return ("blocking", "failed", "have the board replaced") if found else None

    def pending(found: bool) -> Difference | None:
        return ("blocking", "pending", reset) if found else None

    def fabric(found: str) -> Difference | None:
        if found in (FABRIC_COMPLETED, FABRIC_NOT_SUPPORTED):
            return None
        start = "start nvidia-fabricmanager, in the very version of the driver; CUDA fails without"
        return "blocking", found, start

    yield from judged("ECC", gpu.ecc, "on", ecc, look=LOOK)
    known = gpu.uncorrected_ecc_errors
    if gpu.ecc is True:
        yield from judged("uncorrected memory errors", known, "0", errors, look=LOOK)
    yield from judged("replacement of broken memory", gpu.remap_failed, "none", failed, look=LOOK)
    yield from judged("replacement of broken memory", gpu.remap_pending, "none", pending, look=LOOK)
    yield from judged("NVSwitch fabric", gpu.fabric, FABRIC_COMPLETED, fabric, look=LOOK)


def _use(gpu: Gpu) -> Iterator[Finding]:
    processes = () if isinstance(gpu.processes, Unknown) else gpu.processes
    pids = ", ".join(str(process.pid) for process in processes)
    by = f" by process {pids}" if pids else ""

    def mig(found: bool) -> Difference | None:
        whole = f"`nvidia-smi -i {gpu.index} -mig 0`, then a reset"
        return ("blocking", "on", whole) if found else None

    def used(found: float) -> Difference | None:
        if found > USED_MIB:
            stop = "stop it" if pids else "stop what uses it, perhaps in another container"
            return "blocking", f"{found:.0f} MiB are in use{by}", stop
        if pids:
            return "warning", f"process {pids} holds it", "stop it, unless it only watches"
        return None

    yield from judged("MIG", gpu.mig, "off", mig, look=LOOK)
    yield from judged("use by others", gpu.memory_used_mib, "none", used, look=LOOK)


def _speed(gpu: Gpu, table: GpuTable) -> Iterator[Finding]:
    def persistence(found: bool) -> Difference | None:
        on = "start nvidia-persistenced, or `nvidia-smi -pm 1`"
        return None if found else ("warning", "off", on)

    default_w = gpu.power_default_limit_w
    limits = [w for w in (default_w, table.power_limit_minimum_w) if isinstance(w, float)]
    wanted_w = max(limits, default=0.0)

    def power(found: float) -> Difference | None:
        if found >= wanted_w - POWER_TOLERANCE_W:
            return None
        return "warning", f"{found:.0f} W", f"`nvidia-smi -i {gpu.index} -pl {wanted_w:.0f}`"

    def clock(found: float) -> Difference | None:
        wanted = table.sm_clock_maximum_mhz
        if wanted is None or found >= wanted:
            return None
        return "warning", f"{found:.0f} MHz", "see whether the board is another, or limited"

    def slowdowns(found: tuple[str, ...]) -> Difference | None:
        cool = "see to cooling and power supply; `nvidia-smi -rgc` undoes clocks that were set"
        return ("warning", ", ".join(found), cool) if found else None

    wanted = f"{wanted_w:.0f} W" if limits else "the board's own"
    yield from judged("persistence mode", gpu.persistence, "on", persistence, look=LOOK)
    yield from judged("power limit", gpu.power_limit_w, wanted, power, look=LOOK)
    if table.sm_clock_maximum_mhz is not None:
        wanted = f"{table.sm_clock_maximum_mhz:.0f} MHz"
        yield from judged("maximum clock", gpu.sm_clock_maximum_mhz, wanted, clock, look=LOOK)
    yield from judged("clocks held down", gpu.slowdowns, "by nothing", slowdowns, look=LOOK)
