"""Each difference is found, is as grave as it should be, and says what to do; no other is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_profiles.audit import Finding, Needs, audit
from hw_profiles.audit_gpus import same_name
from hw_profiles.finding import reaches
from hw_profiles.node import known, load
from hw_profiles.reading import SWITCH, Disk, Driver, Gpu, Link, Node, Process, Unknown
from hw_profiles.topology import nvlinks
from tests.hw_profiles.readings import gpu, like, node

PROFILE = "h20-8x96gb"
WITH_GPUS = [name for name in known() if name != "cpu"]
NEEDS = Needs(
    gpu_memory_gb=714.0,
    host_memory_gb=600.0,
    disk_gb=595.0,
    folder=Path("models/k2"),
    cpu_features=("avx512f", "amx_int8"),
)


def findings(found: Node, needs: Needs | None = None) -> tuple[Finding, ...]:
    return audit(load(PROFILE), found, needs=needs)


def with_one(**changes: Any) -> Node:
    """Eight healthy GPUs, the fourth of them changed."""
    return node(*(gpu(i, **(changes if i == 3 else {})) for i in range(8)))


@pytest.mark.parametrize("name", WITH_GPUS)
def test_a_node_that_is_what_its_profile_says_has_no_findings(name: str) -> None:
    assert audit(load(name), like(name), needs=None) == ()


@pytest.mark.parametrize("name", WITH_GPUS)
def test_no_node_passes_for_another_type(name: str) -> None:
    for other in WITH_GPUS:
        blocking = [f for f in audit(load(name), like(other), needs=None) if is_blocking(f)]
        assert bool(blocking) == (other != name), other


def is_blocking(finding: Finding) -> bool:
    return finding.severity == "blocking"


PROCESSES = (Process(pid=4711, memory_mib=30000.0), Process(pid=4712, memory_mib=10.0))


@pytest.mark.parametrize(
    ("changes", "severity", "what", "found"),
    [
        ({"name": "NVIDIA H20-3e"}, "blocking", "name", "NVIDIA H20-3e"),
        ({"name": "NVIDIA H200"}, "blocking", "name", "NVIDIA H200"),
        ({"memory_mib": 81559.0}, "blocking", "memory", "81559 MiB"),
        ({"memory_mib": 143771.0}, "warning", "memory", "143771 MiB"),
        ({"compute_capability": "8.0"}, "blocking", "compute capability", "8.0"),
        ({"ecc": False}, "blocking", "ECC", "off"),
        ({"uncorrected_ecc_errors": 2}, "blocking", "uncorrected memory errors", "2"),
        ({"remap_pending": True}, "blocking", "replacement of broken memory", "pending"),
        ({"remap_failed": True}, "blocking", "replacement of broken memory", "failed"),
        ({"mig": True}, "blocking", "MIG", "on"),
        ({"fabric": "in progress"}, "blocking", "NVSwitch fabric", "in progress"),
        ({"fabric": "failed: Unknown Error"}, "blocking", "NVSwitch fabric", "failed: Unknown"),
        (
            {"memory_used_mib": 30010.0, "processes": PROCESSES},
            "blocking",
            "use by others",
            "30010 MiB are in use by process 4711, 4712",
        ),
        ({"memory_used_mib": 30010.0}, "blocking", "use by others", "30010 MiB are in use"),
        (
            {"processes": PROCESSES[1:]},
            "warning",
            "use by others",
            "process 4712 holds it",
        ),
        ({"persistence": False}, "warning", "persistence mode", "off"),
        ({"power_limit_w": 450.0}, "warning", "power limit", "450 W"),
        (
            {"power_limit_w": 350.0, "power_default_limit_w": Unknown(reason="Not Supported")},
            "warning",
            "power limit",
            "350 W",
        ),
        ({"slowdowns": ("power brake",)}, "warning", "clocks held down", "power brake"),
    ],
)
def test_one_gpu_that_differs_is_named_with_what_was_found_and_what_to_do(
    changes: dict[str, Any], severity: str, what: str, found: str
) -> None:
    found_all = findings(with_one(**changes))
    (finding,) = (f for f in found_all if f.what != "GPU models")
    assert (len(found_all) == 2) == (what == "name")
    assert finding.severity == severity
    assert finding.what == f"GPU 3: {what}"
    assert finding.found.startswith(found)
    assert finding.remedy
    assert finding.wanted


def test_a_profile_of_ones_own_may_do_without_ecc() -> None:
    profile = load(PROFILE)
    assert profile.gpu is not None
    lenient = replace(profile, gpu=replace(profile.gpu, ecc=False))
    assert audit(lenient, with_one(ecc=False), needs=None) == ()


def test_a_clock_below_the_profiles_is_a_warning_and_one_without_a_source_is_not_demanded() -> None:
    slow = {"sm_clock_maximum_mhz": 1755.0}
    assert findings(with_one(**slow)) == ()
    healthy = like("h200-8x141gb")
    assert isinstance(healthy.driver, Driver)
    gpus = tuple(replace(g, **slow) for g in healthy.driver.gpus if isinstance(g, Gpu))
    slower = replace(healthy, driver=replace(healthy.driver, gpus=gpus))
    (finding,) = audit(load("h200-8x141gb"), slower, needs=None)
    assert (finding.severity, finding.found) == ("warning", "1755 MHz")
    assert finding.what == "GPU 0, 1, 2, 3, 4, 5, 6, 7: maximum clock"


@pytest.mark.parametrize(
    "field",
    [
        *("name", "memory_mib", "memory_used_mib", "compute_capability", "ecc", "mig", "fabric"),
        *("remap_pending", "remap_failed", "persistence", "power_limit_w", "slowdowns"),
        *("uncorrected_ecc_errors", "links"),
    ],
)
def test_what_could_not_be_read_is_a_warning_with_the_reason_and_never_a_value(field: str) -> None:
    found = findings(with_one(**{field: Unknown(reason="Insufficient Permissions")}))
    assert found
    assert {finding.severity for finding in found} == {"warning"}
    assert all("not known: Insufficient Permissions" in f.found for f in found), found


def test_a_gpu_that_is_lost_is_blocking_and_the_others_are_audited() -> None:
    gpus = [gpu(i) for i in range(7)]
    lost = node(*gpus[:3], Unknown(reason="GPU is lost"), *gpus[4:], gpu(7, ecc=False))
    found = {finding.what: finding for finding in findings(lost)}
    assert found.keys() == {"GPU 3", "GPU 7: ECC"}
    assert found["GPU 3"].found == "does not answer: GPU is lost"
    assert is_blocking(found["GPU 3"])


@pytest.mark.parametrize(("count", "severity"), [(7, "blocking"), (0, "blocking"), (9, "warning")])
def test_another_number_of_gpus(count: int, severity: str) -> None:
    (finding,) = findings(node(*map(gpu, range(count))))
    assert (finding.severity, finding.found, finding.wanted) == (severity, str(count), "8")


def test_mixed_models_are_blocking_even_where_the_profile_knows_both() -> None:
    profile = load(PROFILE)
    assert profile.gpu is not None
    table = replace(profile.gpu, names=("NVIDIA H20", "NVIDIA H20 Z"))
    found = audit(replace(profile, gpu=table), with_one(name="NVIDIA H20 Z"), needs=None)
    assert [(f.what, f.found) for f in found] == [("GPU models", "NVIDIA H20 and NVIDIA H20 Z")]


@pytest.mark.parametrize(
    ("version", "cuda", "severities"),
    [
        ("580.65.06", "13.0", []),
        ("610.43", "13.3", []),
        ("579.99", "13.0", ["blocking"]),
        ("550.144.03", "12.4", ["blocking", "blocking"]),
        ("580.82", "9.2", ["blocking"]),
        ("R580", "13.0", ["warning"]),
        (Unknown(reason="Unknown Error"), "13.0", ["warning"]),
    ],
)
def test_driver_and_cuda_are_compared_as_versions(
    version: Any, cuda: str, severities: list[str]
) -> None:
    healthy = node(*map(gpu, range(8)))
    assert isinstance(healthy.driver, Driver)
    found = findings(replace(healthy, driver=replace(healthy.driver, version=version, cuda=cuda)))
    assert [finding.severity for finding in found] == severities


def test_versions_are_numbers_not_text() -> None:
    assert reaches("580.9", "580")
    assert reaches("1000", "580")
    assert not reaches("99", "580")
    assert not reaches("13.0", "13.1")


def switched(count: int) -> tuple[Link, ...]:
    return tuple(Link(number=i, to=SWITCH) for i in range(count))


def test_a_gpu_with_links_down_is_a_warning_naming_its_pairs_and_one_without_any_is_blocking() -> (
    None
):
    (finding,) = findings(with_one(links=switched(16)))
    assert finding.severity == "warning"
    assert (finding.found, finding.wanted) == ("NV16", "NV18 between each pair")
    assert finding.what == "NVLink between GPUs 0-3, 1-3, 2-3, 3-4 and 3 more"
    (finding,) = findings(with_one(links=()))
    assert (finding.severity, finding.found) == ("blocking", "NV0")


def test_links_without_a_switch_are_counted_by_the_gpu_at_their_other_end() -> None:
    pci = [f"00000000:{i:02x}:00.0" for i in range(3)]
    first = gpu(0, links=tuple(Link(number=i, to=pci[1 + i % 2]) for i in range(6)))
    second = gpu(1, links=tuple(Link(number=i, to=pci[0]) for i in range(3)))
    third = gpu(2, links=())
    assert (nvlinks(first, second), nvlinks(second, third)) == (3, 0)


@pytest.mark.parametrize(
    ("visible", "blocks"),
    [(None, False), ("0,1,2,3,4,5,6,7", False), ("0,1", True), ("", True)],
)
def test_what_engines_may_not_see_is_found_though_nvml_shows_it(
    visible: str | None, blocks: bool
) -> None:
    found = findings(replace(node(*map(gpu, range(8))), visible_gpus=visible))
    assert [f.what for f in found] == (["CUDA_VISIBLE_DEVICES"] if blocks else [])


def test_without_a_driver_it_says_so_and_audits_the_rest() -> None:
    reason = "no NVIDIA driver answers: NVML Shared Library Not Found"
    bare = node(driver=Unknown(reason=reason))
    (finding,) = findings(bare)
    assert (finding.severity, finding.what, finding.found) == ("blocking", "GPUs", reason)
    assert finding.wanted == "8 x NVIDIA H20"
    slow = replace(bare, disk=Disk(folder="m", free_gb=9.0, present_gb=0.0, read_mb_per_s=100.0))
    assert [f.what for f in findings(slow)] == ["GPUs", "reading from m"]
    assert audit(load("cpu"), bare, needs=None) == ()


def test_a_machine_without_avx2_is_refused_where_only_a_processor_is_wanted() -> None:
    healthy = node()
    old = replace(healthy, system=replace(healthy.system, cpu_features=("avx",), cpu="Xeon E5"))
    (finding,) = audit(load("cpu"), old, needs=None)
    assert (finding.severity, finding.found) == ("blocking", "without avx2 (Xeon E5)")


def test_a_model_that_fits_has_no_findings() -> None:
    assert findings(node(*map(gpu, range(8))), NEEDS) == ()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"gpu_memory_gb": 1680.0}, "GPU memory for the model"),
        ({"gpus": 4}, "GPU memory for the model"),
        ({"host_memory_gb": 2101.0}, "host memory for the model"),
        ({"disk_gb": 3001.0}, "disk of models/k2"),
        ({"cpu_features": ("avx512_bf16",)}, "processor"),
    ],
)
def test_a_model_that_is_too_large_is_refused(change: dict[str, Any], what: str) -> None:
    (finding,) = findings(node(*map(gpu, range(8))), replace(NEEDS, **change))
    assert (finding.severity, finding.what) == ("blocking", what)


def test_memory_that_is_only_in_use_now_is_a_warning() -> None:
    healthy = node(*map(gpu, range(8)))
    busy = replace(healthy, system=replace(healthy.system, memory_available_gb=100.0))
    (finding,) = findings(busy, NEEDS)
    assert finding.severity == "warning"
    assert finding.what == "host memory free for the model"


def test_what_is_downloaded_already_needs_no_room() -> None:
    healthy = node(*map(gpu, range(8)))
    full = Disk(folder="models/k2", free_gb=10.0, present_gb=590.0, read_mb_per_s=6000.0)
    assert findings(replace(healthy, disk=full), NEEDS) == ()
    more = replace(full, present_gb=580.0)
    (finding,) = findings(replace(healthy, disk=more), NEEDS)
    assert finding.wanted == "15 GB free (595 GB, 580 are there)"


def test_a_disk_that_was_not_probed_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="probed without"):
        findings(node(*map(gpu, range(8)), disk=None), NEEDS)


@pytest.mark.parametrize("field", ["cpu_features", "memory_gb", "memory_available_gb"])
def test_a_system_that_could_not_be_read_is_a_warning(field: str) -> None:
    healthy = node(*map(gpu, range(8)))
    unread = replace(healthy.system, **{field: Unknown(reason="no such line")})
    (finding,) = findings(replace(healthy, system=unread), NEEDS)
    assert (finding.severity, finding.found) == ("warning", "not known: no such line")


def test_blocking_findings_come_first() -> None:
    found = findings(with_one(persistence=False, ecc=False, slowdowns=("power limit",), mig=True))
    severities = [finding.severity for finding in found]
    assert severities == ["blocking", "blocking", "warning", "warning"]


@pytest.mark.parametrize(
    ("found", "name", "same"),
    [
        ("NVIDIA H20", "NVIDIA H20", True),
        ("H20", "NVIDIA H20", True),
        ("NVIDIA  H100 80GB HBM3 ", "NVIDIA H100 80GB HBM3", True),
        ("NVIDIA H20-3e", "NVIDIA H20", False),
        ("NVIDIA H200", "NVIDIA H20", False),
        ("NVIDIA H100 PCIe", "NVIDIA H100 80GB HBM3", False),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA H100 80GB HBM3", False),
        ("", "NVIDIA H20", False),
    ],
)
def test_a_name_is_compared_whole(found: str, name: str, same: bool) -> None:
    assert same_name(found, name) == same


@given(
    used=st.floats(min_value=0, max_value=97871.0),
    text=st.text(),
    lost=st.sets(st.integers(0, 7)),
)
def test_whatever_a_driver_answers_the_audit_ends_and_a_lost_gpu_is_never_passed_over(
    used: float, text: str, lost: set[int]
) -> None:
    gpus = [
        Unknown(reason=text) if i in lost else gpu(i, name=text, memory_used_mib=used, fabric=text)
        for i in range(8)
    ]
    found = findings(node(*gpus), NEEDS)
    assert {f"GPU {i}" for i in lost} == {f.what for f in found if f.what in WHOLE}


WHOLE = {f"GPU {i}" for i in range(8)}
