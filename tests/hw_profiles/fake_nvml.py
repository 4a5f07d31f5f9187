"""A driver's library as pynvml calls it: C functions that fill what they are pointed to.

The real pynvml package runs on it, its structures and its errors included; only what the driver
itself would answer is made up. Nothing here was read from a GPU.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pynvml

OK = pynvml.NVML_SUCCESS
MIB = 2**20


@dataclass(kw_only=True)
class Board:
    """One GPU of the fake. `fails`: function -> error code that it answers."""

    name: bytes = b"NVIDIA H20"
    memory_mib: int = 97871
    used_mib: int = 4
    fabric: tuple[int, int] = (pynvml.NVML_GPU_FABRIC_STATE_COMPLETED, OK)
    links: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(18), 1))
    far_ends: dict[int, int] = field(default_factory=dict[int, int])  # link -> board; else switch
    processes: dict[str, dict[int, int | None]] = field(
        default_factory=dict[str, dict[int, "int | None"]]
    )  # kind -> pid -> MiB
    event_reasons: int = pynvml.nvmlClocksEventReasonGpuIdle
    mig: int = 0
    power_mw: int = 412_345
    fails: dict[str, int] = field(default_factory=dict[str, int])


ANSWERS: dict[str, Callable[..., int | bytes]] = {}


class FakeLibrary:
    """What `ctypes.CDLL("libnvidia-ml.so.1")` would be."""

    def __init__(self, boards: Sequence[Board], fails: dict[str, int], lacks: str) -> None:
        self.boards = boards
        self.fails = fails
        self.lacks = lacks
        self.shut_down = 0

    def __getattr__(self, name: str) -> Callable[..., int | bytes]:
        if name not in ANSWERS or name == self.lacks:
            raise AttributeError(name)  # as for a function that an old driver lacks
        if name in self.fails:
            return lambda *_args: self.fails[name]
        return functools.partial(ANSWERS[name], self)


def put(pointer: Any, value: int) -> int:
    """Writes where `byref` points."""
    pointer._obj.value = value
    return OK


def of_system(name: str) -> Callable[[Callable[..., int | bytes]], None]:
    """Adds a function that is not about one GPU; it is given the library."""

    def add(answer: Callable[..., int | bytes]) -> None:
        ANSWERS[name] = answer

    return add


def of_board(name: str) -> Callable[[Callable[..., int]], None]:
    """Adds a function whose first argument is a handle; it is given the board, and its index."""

    def add(answer: Callable[..., int]) -> None:
        def called(library: FakeLibrary, handle: Any, *args: Any) -> int:
            index = ctypes.cast(handle, ctypes.c_void_p).value
            assert index is not None
            board = library.boards[index - 1]
            return board.fails[name] if name in board.fails else answer(board, index - 1, *args)

        ANSWERS[name] = called

    return add


@of_system("nvmlInitWithFlags")
def _(_library: FakeLibrary, _flags: int) -> int:
    return OK


@of_system("nvmlShutdown")
def _(library: FakeLibrary) -> int:
    library.shut_down += 1
    return OK


@of_system("nvmlErrorString")
def _(_library: FakeLibrary, code: int) -> bytes:
    return b"Some Error %d" % code


@of_system("nvmlSystemGetDriverVersion")
def _(_library: FakeLibrary, text: Any, _size: Any) -> int:
    text.value = b"580.82.07"
    return OK


@of_system("nvmlSystemGetCudaDriverVersion_v2")
def _(_library: FakeLibrary, number: Any) -> int:
    return put(number, 13000)


@of_system("nvmlDeviceGetCount_v2")
def _(library: FakeLibrary, count: Any) -> int:
    return put(count, len(library.boards))


@of_system("nvmlDeviceGetHandleByIndex_v2")
def _(library: FakeLibrary, index: Any, handle: Any) -> int:
    """A handle is an opaque pointer; its address says which board it is."""
    ctypes.memmove(handle, ctypes.byref(ctypes.c_void_p(index.value + 1)), 8)
    return library.boards[index.value].fails.get("nvmlDeviceGetHandleByIndex_v2", OK)


def simple(name: str, value: Callable[[Board], int]) -> None:
    """A function that gives one number."""

    @of_board(name)
    def _(board: Board, _index: int, *args: Any) -> int:
        return put(args[-1], value(board))


simple("nvmlDeviceGetPersistenceMode", lambda _: 1)
simple("nvmlDeviceGetEnforcedPowerLimit", lambda _: 500_000)
simple("nvmlDeviceGetPowerUsage", lambda board: board.power_mw)
simple("nvmlDeviceGetPowerManagementDefaultLimit", lambda _: 500_000)
simple("nvmlDeviceGetClockInfo", lambda _: 345)
simple("nvmlDeviceGetMaxClockInfo", lambda _: 1980)
simple("nvmlDeviceGetTotalEccErrors", lambda _: 0)
simple("nvmlDeviceGetCurrentClocksEventReasons", lambda board: board.event_reasons)


@of_board("nvmlDeviceGetName")
def _(board: Board, _index: int, text: Any, _size: Any) -> int:
    text.value = board.name
    return OK


@of_board("nvmlDeviceGetUUID")
def _(_board: Board, index: int, text: Any, _size: Any) -> int:
    text.value = b"GPU-%d" % index
    return OK


def address(index: int) -> bytes:
    return b"00000000:%02X:00.0" % (0x19 + index)


@of_board("nvmlDeviceGetPciInfo_v3")
def _(_board: Board, index: int, info: Any) -> int:
    info._obj.busId = address(index)
    return OK


@of_board("nvmlDeviceGetMemoryInfo_v2")
def _(board: Board, _index: int, memory: Any) -> int:
    assert memory._obj.version == pynvml.nvmlMemory_v2
    memory._obj.total = board.memory_mib * MIB
    memory._obj.used = board.used_mib * MIB
    return OK


@of_board("nvmlDeviceGetCudaComputeCapability")
def _(_board: Board, _index: int, major: Any, minor: Any) -> int:
    return put(major, 9) or put(minor, 0)


@of_board("nvmlDeviceGetEccMode")
def _(_board: Board, _index: int, current: Any, pending: Any) -> int:
    return put(current, 1) or put(pending, 0)


@of_board("nvmlDeviceGetMigMode")
def _(board: Board, _index: int, current: Any, pending: Any) -> int:
    return put(current, board.mig) or put(pending, 0)


@of_board("nvmlDeviceGetRemappedRows")
def _(_board: Board, _index: int, *counts: Any) -> int:
    assert len(counts) == 4
    for count, value in zip(counts, (1, 0, 1, 0), strict=True):
        put(count, value)
    return OK


@of_board("nvmlDeviceGetGpuFabricInfoV")
def _(board: Board, _index: int, info: Any) -> int:
    assert info._obj.version == pynvml.nvmlGpuFabricInfo_v2
    info._obj.state, info._obj.status = board.fabric
    return OK


@of_board("nvmlDeviceGetNvLinkState")
def _(board: Board, _index: int, link: int, state: Any) -> int:
    if link not in board.links:
        return pynvml.NVML_ERROR_INVALID_ARGUMENT
    return put(state, board.links[link])


@of_board("nvmlDeviceGetNvLinkRemoteDeviceType")
def _(board: Board, _index: int, link: int, kind: Any) -> int:
    switch, gpu = pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH, pynvml.NVML_NVLINK_DEVICE_TYPE_GPU
    return put(kind, gpu if link in board.far_ends else switch)


@of_board("nvmlDeviceGetNvLinkRemotePciInfo_v2")
def _(board: Board, _index: int, link: int, info: Any) -> int:
    info._obj.busId = address(board.far_ends[link])
    return OK


def processes(kind: str) -> None:
    """One of the three lists of processes, asked for twice: how many, then which."""

    @of_board(f"nvmlDeviceGet{kind}RunningProcesses_v3")
    def _(board: Board, _index: int, count: Any, array: Any) -> int:
        held = board.processes.get(kind, {})
        put(count, len(held))
        if not held:
            return OK
        if array is None:
            return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
        for place, (pid, mib) in enumerate(held.items()):
            array[place].pid = pid
            unknown = pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value
            array[place].usedGpuMemory = unknown if mib is None else mib * MIB
        return OK


for _kind in ("Compute", "Graphics", "MPSCompute"):
    processes(_kind)
