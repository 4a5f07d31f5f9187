"""Asks the NVIDIA driver, through pynvml, which only this module imports.

A question that a board does not support is Unknown with the driver's reason. A GPU that is lost,
or needs a reset, is Unknown as a whole: what it answered before cannot be relied on.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pynvml

from hw_profiles.reading import (
    FABRIC_COMPLETED,
    FABRIC_NOT_SUPPORTED,
    SWITCH,
    Driver,
    Gpu,
    Link,
    Maybe,
    Process,
    T,
    Unknown,
)

MIB = 2**20
GONE = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
NO_SUCH_LINK = (pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.NVML_ERROR_NOT_SUPPORTED)
SLOWDOWNS = {
    pynvml.nvmlClocksEventReasonApplicationsClocksSetting: "clocks set by the user",
    pynvml.nvmlClocksEventReasonSwPowerCap: "power limit",
    pynvml.nvmlClocksEventReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "temperature (driver)",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "temperature (hardware)",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "power brake",
}
FABRIC_STATES = {
    pynvml.NVML_GPU_FABRIC_STATE_NOT_SUPPORTED: FABRIC_NOT_SUPPORTED,
    pynvml.NVML_GPU_FABRIC_STATE_NOT_STARTED: "not started",
    pynvml.NVML_GPU_FABRIC_STATE_IN_PROGRESS: "in progress",
    pynvml.NVML_GPU_FABRIC_STATE_COMPLETED: FABRIC_COMPLETED,
}


def read() -> Maybe[Driver]:
    """The driver and its GPUs; Unknown where there is no driver, or it does not answer."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Unknown(reason=f"no NVIDIA driver answers: {error}")
    try:
        return Driver(
            version=_ask(pynvml.nvmlSystemGetDriverVersion),
            cuda=_ask(_cuda),
            gpus=tuple(_read_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())),
        )
    except pynvml.NVMLError as error:
        return Unknown(reason=f"the NVIDIA driver does not say which GPUs there are: {error}")
    finally:
        pynvml.nvmlShutdown()


@contextmanager
def metered() -> Generator[Callable[[], list[Maybe[float]]] | None]:
    """What reads the power of each GPU of this node, in W; None where no driver answers."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield _powers_w
    finally:
        pynvml.nvmlShutdown()


def _powers_w() -> list[Maybe[float]]:
    try:
        return [_power_w(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        return [Unknown(reason=str(error))]


def _power_w(index: int) -> Maybe[float]:
    """Averaged by the board itself, over a second on Hopper; a GPU that is lost has none."""
    try:
        return pynvml.nvmlDeviceGetPowerUsage(pynvml.nvmlDeviceGetHandleByIndex(index)) / 1000
    except pynvml.NVMLError as error:
        return Unknown(reason=str(error))


def _ask(question: Callable[..., T], *about: Any) -> Maybe[T]:
    """The answer, or why there is none. Raises NVMLError where the GPU itself is gone."""
    try:
        return question(*about)
    except pynvml.NVMLError as error:
        if _code(error) in GONE:
            raise
        return Unknown(reason=str(error))
    except UnicodeDecodeError as error:  # pynvml decodes names itself
        return Unknown(reason=f"the driver's answer is not UTF-8: {error.reason}")


def _code(error: Any) -> int:
    return error.value  # set where pynvml makes the error; its class does not tell of it


def _read_gpu(index: int) -> Maybe[Gpu]:
    try:
        return _gpu(index, pynvml.nvmlDeviceGetHandleByIndex(index))
    except pynvml.NVMLError as error:
        return Unknown(reason=str(error))


def _gpu(index: int, handle: Any) -> Gpu:
    memory, used = _split(_ask(_memory, handle))
    remap_pending, remap_failed = _split(_ask(_remapping, handle))
    return Gpu(
        index=index,
        name=_ask(pynvml.nvmlDeviceGetName, handle),
        uuid=_ask(pynvml.nvmlDeviceGetUUID, handle),
        pci=_ask(_pci, handle),
        memory_mib=memory,
        memory_used_mib=used,
        compute_capability=_ask(_compute_capability, handle),
        ecc=_ask(_ecc, handle),
        uncorrected_ecc_errors=_ask(_uncorrected_ecc_errors, handle),
        remap_pending=remap_pending,
        remap_failed=remap_failed,
        mig=_ask(_mig, handle),
        persistence=_ask(_persistence, handle),
        power_limit_w=_ask(_power_limit_w, handle),
        power_default_limit_w=_ask(_power_default_limit_w, handle),
        sm_clock_mhz=_ask(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        sm_clock_maximum_mhz=_ask(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
        slowdowns=_ask(_slowdowns, handle),
        fabric=_ask(_fabric, handle),
        links=_ask(_links, handle),
        processes=_ask(_processes, handle),
    )


def _split(pair: Maybe[tuple[T, T]]) -> tuple[Maybe[T], Maybe[T]]:
    return (pair, pair) if isinstance(pair, Unknown) else pair


def _cuda() -> str:
    number = pynvml.nvmlSystemGetCudaDriverVersion_v2()  # 12080: 12.8
    return f"{number // 1000}.{number % 1000 // 10}"


def _pci(handle: Any) -> str:
    return str(pynvml.nvmlDeviceGetPciInfo(handle).busId).lower()


def _memory(handle: Any) -> tuple[float, float]:
    """All, and used. Version 1 counts what the driver keeps for itself, 600 MiB, as used."""
    info: Any = pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2)
    return info.total / MIB, info.used / MIB


def _compute_capability(handle: Any) -> str:
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return f"{major}.{minor}"


def _ecc(handle: Any) -> bool:
    return pynvml.nvmlDeviceGetCurrentEccMode(handle) == pynvml.NVML_FEATURE_ENABLED


def _uncorrected_ecc_errors(handle: Any) -> int:
    return pynvml.nvmlDeviceGetTotalEccErrors(
        handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    )


def _remapping(handle: Any) -> tuple[bool, bool]:
    _corrected, _uncorrected, pending, failed = pynvml.nvmlDeviceGetRemappedRows(handle)
    return bool(pending), bool(failed)


def _mig(handle: Any) -> bool:
    current, _pending = pynvml.nvmlDeviceGetMigMode(handle)
    return current == pynvml.NVML_DEVICE_MIG_ENABLE


def _persistence(handle: Any) -> bool:
    return pynvml.nvmlDeviceGetPersistenceMode(handle) == pynvml.NVML_FEATURE_ENABLED


def _power_limit_w(handle: Any) -> float:
    return pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000


def _power_default_limit_w(handle: Any) -> float:
    return pynvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / 1000


def _slowdowns(handle: Any) -> tuple[str, ...]:
    bits = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
    return tuple(reason for bit, reason in SLOWDOWNS.items() if bits & bit)


def _fabric(handle: Any) -> str:
    info: Any = pynvml.c_nvmlGpuFabricInfoV_t()
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
    state = FABRIC_STATES.get(info.state, f"state {info.state}")
    if state == FABRIC_COMPLETED and info.status != pynvml.NVML_SUCCESS:
        return f"failed: {pynvml.NVMLError(info.status)}"
    return state


def _links(handle: Any) -> tuple[Link, ...]:
    numbers = [n for n in range(pynvml.NVML_NVLINK_MAX_LINKS) if _is_up(handle, n)]
    return tuple(Link(number=number, to=_other_end(handle, number)) for number in numbers)


def _is_up(handle: Any, number: int) -> bool:
    """A GPU with fewer links answers that the others do not exist."""
    try:
        return pynvml.nvmlDeviceGetNvLinkState(handle, number) == pynvml.NVML_FEATURE_ENABLED
    except pynvml.NVMLError as error:
        if _code(error) in NO_SUCH_LINK:
            return False
        raise


def _other_end(handle: Any, number: int) -> str:
    kind = pynvml.nvmlDeviceGetNvLinkRemoteDeviceType(handle, number)
    if kind == pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH:
        return SWITCH
    return str(pynvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, number).busId).lower()


def _processes(handle: Any) -> tuple[Process, ...]:
    """Those that compute, those that draw, and those behind a multi-process server: each once."""
    held = [
        *pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle),
        *pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3(handle),
        *pynvml.nvmlDeviceGetMPSComputeRunningProcesses_v3(handle),
    ]
    by_pid = {process.pid: process.usedGpuMemory for process in held}
    unknown = Unknown(reason="the driver does not know")
    return tuple(
        Process(pid=pid, memory_mib=unknown if used is None else used / MIB)
        for pid, used in sorted(by_pid.items())
    )
