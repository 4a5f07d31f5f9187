"""The real pynvml on a made-up driver: right calls, right units, and no failure that is a value.

That a real driver answers this way is not shown here: no GPU was at hand.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pynvml
import pytest

from hw_profiles import nvml
from hw_profiles.reading import SWITCH, Driver, Gpu, Link, Process, Unknown
from tests.hw_profiles.fake_nvml import Board, FakeLibrary

Use = Callable[..., FakeLibrary]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Puts a library of ours where pynvml would load the driver's."""

    def put(*boards: Board, fails: dict[str, int] | None = None, lacks: str = "") -> FakeLibrary:
        library = FakeLibrary(boards, fails or {}, lacks)
        monkeypatch.setattr(pynvml, "nvmlLib", library)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return library

    return put


def read_driver() -> Driver:
    driver = nvml.read()
    assert isinstance(driver, Driver)
    return driver


def read_one() -> Gpu:
    (gpu,) = read_driver().gpus
    assert isinstance(gpu, Gpu)
    return gpu


def test_every_name_that_we_use_of_pynvml_is_there() -> None:
    source = Path(nvml.__file__).read_text("utf-8")
    names = set(re.findall(r"pynvml\.(\w+)", source))
    assert len(names) > 30
    assert [name for name in sorted(names) if not hasattr(pynvml, name)] == []


def test_no_function_that_we_use_is_to_be_removed() -> None:
    """pynvml writes `# DEPRECATED` above those that the next CUDA will lack."""
    source = Path(nvml.__file__).read_text("utf-8")
    lines = Path(inspect.getfile(pynvml)).read_text("utf-8").splitlines()
    marked = {
        match[1]
        for before, line in pairwise(lines)
        if before.startswith("# DEPRECATED") and (match := re.match(r"def (\w+)\(", line))
    }
    assert "nvmlDeviceGetApplicationsClock" in marked
    assert marked & set(re.findall(r"pynvml\.(\w+)", source)) == set()


def test_where_there_is_no_driver_pynvml_raises_what_we_take_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loading of the library fails as it does where none is installed."""

    def absent(_name: str) -> None:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", absent)
    assert nvml.read() == Unknown(reason="no NVIDIA driver answers: NVML Shared Library Not Found")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "Driver Not Loaded"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "RM has detected an NVML/RM version mismatch."),
        (pynvml.NVML_ERROR_NO_PERMISSION, "Insufficient Permissions"),
    ],
)
def test_a_driver_that_does_not_start_is_unknown_with_its_reason(
    use: Use, code: int, reason: str
) -> None:
    library = use(Board(), fails={"nvmlInitWithFlags": code})
    assert nvml.read() == Unknown(reason=f"no NVIDIA driver answers: {reason}")
    assert library.shut_down == 0


def test_a_driver_that_does_not_count_its_gpus_is_unknown_and_shut_down(use: Use) -> None:
    library = use(Board(), fails={"nvmlDeviceGetCount_v2": pynvml.NVML_ERROR_UNKNOWN})
    driver = nvml.read()
    assert isinstance(driver, Unknown)
    assert driver.reason.endswith("which GPUs there are: Unknown Error")
    assert library.shut_down == 1


def test_a_healthy_node_is_read_in_the_units_that_the_fields_name(use: Use) -> None:
    library = use(*(Board() for _ in range(8)))
    driver = read_driver()
    assert (driver.version, driver.cuda, len(driver.gpus)) == ("580.82.07", "13.0", 8)
    assert driver.gpus[3] == Gpu(
        index=3,
        name="NVIDIA H20",
        uuid="GPU-3",
        pci="00000000:1c:00.0",
        memory_mib=97871.0,
        memory_used_mib=4.0,
        compute_capability="9.0",
        ecc=True,
        uncorrected_ecc_errors=0,
        remap_pending=True,
        remap_failed=False,
        mig=False,
        persistence=True,
        power_limit_w=500.0,
        power_default_limit_w=500.0,
        sm_clock_mhz=345,
        sm_clock_maximum_mhz=1980,
        slowdowns=(),
        fabric="completed",
        links=tuple(Link(number=i, to=SWITCH) for i in range(18)),
        processes=(),
    )
    assert library.shut_down == 1


# The fields that one failing function makes unknown, and no other.
ASKED = {
    "nvmlDeviceGetName": {"name"},
    "nvmlDeviceGetUUID": {"uuid"},
    "nvmlDeviceGetPciInfo_v3": {"pci"},
    "nvmlDeviceGetMemoryInfo_v2": {"memory_mib", "memory_used_mib"},
    "nvmlDeviceGetCudaComputeCapability": {"compute_capability"},
    "nvmlDeviceGetEccMode": {"ecc"},
    "nvmlDeviceGetTotalEccErrors": {"uncorrected_ecc_errors"},
    "nvmlDeviceGetRemappedRows": {"remap_pending", "remap_failed"},
    "nvmlDeviceGetMigMode": {"mig"},
    "nvmlDeviceGetPersistenceMode": {"persistence"},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_limit_w"},
    "nvmlDeviceGetPowerManagementDefaultLimit": {"power_default_limit_w"},
    "nvmlDeviceGetClockInfo": {"sm_clock_mhz"},
    "nvmlDeviceGetMaxClockInfo": {"sm_clock_maximum_mhz"},
    "nvmlDeviceGetCurrentClocksEventReasons": {"slowdowns"},
    "nvmlDeviceGetGpuFabricInfoV": {"fabric"},
    "nvmlDeviceGetNvLinkRemoteDeviceType": {"links"},
    "nvmlDeviceGetComputeRunningProcesses_v3": {"processes"},
    "nvmlDeviceGetGraphicsRunningProcesses_v3": {"processes"},
    "nvmlDeviceGetMPSComputeRunningProcesses_v3": {"processes"},
}


def test_the_table_covers_every_field() -> None:
    assert {field.name for field in fields(Gpu)} - {"index"} == set().union(*ASKED.values())


@pytest.mark.parametrize("function", ASKED)
def test_a_question_that_fails_makes_its_own_fields_unknown_and_no_other(
    use: Use, function: str
) -> None:
    use(Board(fails={function: pynvml.NVML_ERROR_NOT_SUPPORTED}))
    gpu = read_one()
    unknown = {f.name for f in fields(gpu) if isinstance(getattr(gpu, f.name), Unknown)}
    assert unknown == ASKED[function]
    for name in unknown:
        assert getattr(gpu, name) == Unknown(reason="Not Supported")


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex_v2", *ASKED])
@pytest.mark.parametrize("code", [pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED])
def test_a_gpu_that_is_lost_at_any_question_is_unknown_and_the_others_are_read(
    use: Use, function: str, code: int
) -> None:
    use(Board(), Board(fails={function: code}), Board())
    first, lost, third = read_driver().gpus
    assert isinstance(first, Gpu)
    assert isinstance(third, Gpu)
    assert third.index == 2
    assert isinstance(lost, Unknown)
    assert lost.reason in ("GPU is lost", "GPU requires restart")


def test_a_function_that_an_old_driver_lacks_is_unknown(use: Use) -> None:
    use(Board(), lacks="nvmlDeviceGetGpuFabricInfoV")
    assert read_one().fabric == Unknown(reason="Function Not Found")


def test_a_code_that_pynvml_has_no_name_for_is_unknown_with_what_the_library_says(
    use: Use,
) -> None:
    use(Board(fails={"nvmlDeviceGetName": 777}))
    assert read_one().name == Unknown(reason="Some Error 777")


def test_a_name_that_is_no_text_is_unknown(use: Use) -> None:
    use(Board(name=b"NVIDIA \xff\xfe"))
    name = read_one().name
    assert isinstance(name, Unknown)
    assert "not UTF-8" in name.reason


@pytest.mark.parametrize(
    ("fabric", "expected"),
    [
        ((pynvml.NVML_GPU_FABRIC_STATE_NOT_SUPPORTED, 0), "not supported"),
        ((pynvml.NVML_GPU_FABRIC_STATE_NOT_STARTED, 0), "not started"),
        ((pynvml.NVML_GPU_FABRIC_STATE_IN_PROGRESS, 0), "in progress"),
        (
            (pynvml.NVML_GPU_FABRIC_STATE_COMPLETED, pynvml.NVML_ERROR_UNKNOWN),
            "failed: Unknown Error",
        ),
        ((9, 0), "state 9"),
    ],
)
def test_how_far_the_fabric_is(use: Use, fabric: tuple[int, int], expected: str) -> None:
    use(Board(fabric=fabric))
    assert read_one().fabric == expected


def test_links_that_are_down_or_not_there_are_no_links(use: Use) -> None:
    use(Board(links={0: 1, 1: 0, 2: 1}, far_ends={2: 5}))
    links = read_one().links
    assert links == (Link(number=0, to=SWITCH), Link(number=2, to="00000000:1e:00.0"))


def test_a_link_that_fails_otherwise_is_not_taken_for_one_that_is_not_there(use: Use) -> None:
    use(Board(fails={"nvmlDeviceGetNvLinkState": pynvml.NVML_ERROR_UNKNOWN}))
    assert read_one().links == Unknown(reason="Unknown Error")


def test_a_board_without_nvlink_has_no_links(use: Use) -> None:
    use(Board(fails={"nvmlDeviceGetNvLinkState": pynvml.NVML_ERROR_NOT_SUPPORTED}))
    assert read_one().links == ()


def test_each_process_is_listed_once_and_unknown_memory_is_not_zero(use: Use) -> None:
    held: dict[str, dict[int, Any]] = {
        "Compute": {30: 1000, 10: None},
        "Graphics": {20: 5},
        "MPSCompute": {30: 1000},
    }
    use(Board(processes=held))
    assert read_one().processes == (
        Process(pid=10, memory_mib=Unknown(reason="the driver does not know")),
        Process(pid=20, memory_mib=5.0),
        Process(pid=30, memory_mib=1000.0),
    )


def test_what_holds_the_clocks_down_is_named_and_idling_is_not(use: Use) -> None:
    bits = (
        pynvml.nvmlClocksEventReasonGpuIdle
        | pynvml.nvmlClocksEventReasonSwPowerCap
        | pynvml.nvmlClocksEventReasonHwThermalSlowdown
    )
    use(Board(event_reasons=bits, mig=1))
    gpu = read_one()
    assert gpu.slowdowns == ("power limit", "temperature (hardware)")
    assert gpu.mig is True


def test_the_power_of_each_gpu_is_read_in_watts_and_a_lost_one_has_none(use: Use) -> None:
    use(Board(), Board(fails={"nvmlDeviceGetPowerUsage": pynvml.NVML_ERROR_GPU_IS_LOST}))
    with nvml.metered() as read:
        assert read is not None
        assert read() == [412.345, Unknown(reason="GPU is lost")]


def test_where_no_driver_answers_there_is_nothing_that_reads_power() -> None:
    with nvml.metered() as read:
        assert read is None
