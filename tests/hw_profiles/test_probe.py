"""This node is read as it is; what cannot be read is unknown; the dump says both."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hw_profiles import disk, system
from hw_profiles.probe import probe
from hw_profiles.reading import Unknown, to_json
from tests.hw_profiles.readings import gpu, node

XEON = """processor\t: {number}
model name\t: INTEL(R) XEON(R) PLATINUM 8558
physical id\t: {socket}
core id\t\t: {core}
flags\t\t: fpu sse2 avx2 avx512f avx512_bf16 amx_tile amx_int8

"""
ARM = """processor\t: 0
Features\t: fp asimd sve bf16 i8mm crc32
CPU part\t: 0xd4f
"""


def test_a_processor_is_read_with_its_vector_units_alone() -> None:
    cpuinfo = "".join(
        XEON.format(number=n, socket=n % 2, core=n % 8 // 2) for n in range(16)
    )  # two sockets of four cores with two threads each
    assert system.cpu_name(cpuinfo) == "INTEL(R) XEON(R) PLATINUM 8558"
    assert system.cores(cpuinfo) == 8
    assert system.cpu_features(cpuinfo) == (
        *("amx_int8", "amx_tile", "avx2", "avx512_bf16", "avx512f"),
    )


def test_what_an_arm_processor_does_not_say_is_unknown() -> None:
    assert system.cpu_features(ARM) == ("asimd", "bf16", "i8mm", "sve")
    assert system.cpu_name(ARM) == Unknown(reason="/proc/cpuinfo holds no 'model name'")
    assert isinstance(system.cores(ARM), Unknown)
    assert isinstance(system.cpu_features("processor : 0\n"), Unknown)


def test_memory_is_in_gb_of_1e9_bytes() -> None:
    meminfo = "MemTotal:       2113536000 kB\nMemAvailable:   1000000 kB\n"
    assert system.memory_gb(meminfo, "MemTotal") == pytest.approx(2164.26, abs=0.01)
    assert system.memory_gb(meminfo, "SwapTotal") == Unknown(
        reason="/proc/meminfo holds no SwapTotal"
    )


def test_the_least_limit_of_a_container_and_of_those_around_it_counts(tmp_path: Path) -> None:
    """Version 2: the group's own file, and its parents'; `max` is no limit."""
    group = tmp_path / "pod" / "box"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    assert system.container_limit_gb("0::/pod/box\n", tmp_path) == float("inf")
    (tmp_path / "pod" / "memory.max").write_text("64000000000\n")
    assert system.container_limit_gb("0::/pod/box\n", tmp_path) == 64.0
    (group / "memory.max").write_text("32000000000\n")
    assert system.container_limit_gb("0::/pod/box\n", tmp_path) == 32.0


def test_the_limit_stands_at_the_root_where_the_groups_path_is_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("8000000000\n")
    assert system.container_limit_gb("0::/kubepods/pod7\n", tmp_path) == 8.0


def test_version_1_of_control_groups_has_another_name_for_it(tmp_path: Path) -> None:
    (tmp_path / "memory" / "box").mkdir(parents=True)
    (tmp_path / "memory" / "box" / "memory.limit_in_bytes").write_text("4000000000\n")
    own = "9:name=systemd:/box\n4:cpu,memory:/box\n0::/\n"
    assert system.container_limit_gb(own, tmp_path) == 4.0
    assert system.container_limit_gb("3:cpuset:/box\n", tmp_path) == float("inf")


def test_this_machine_is_read() -> None:
    read = system.read()
    assert isinstance(read.memory_gb, float)
    assert isinstance(read.memory_available_gb, float)
    assert 0 < read.memory_available_gb <= read.memory_gb
    assert read.threads >= 1
    assert read.kernel


def test_a_folder_that_will_be_is_read_as_the_one_above(tmp_path: Path) -> None:
    read = disk.read(tmp_path / "models" / "k2")
    assert read.folder == str(tmp_path / "models" / "k2")
    assert isinstance(read.free_gb, float)
    assert read.free_gb > 0
    assert read.present_gb == 0.0
    assert isinstance(read.read_mb_per_s, Unknown)


def test_what_a_folder_holds_counts_with_its_links_and_a_link_to_nothing_does_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "blob").write_bytes(bytes(3000))
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "weights").symlink_to("../blob")
    (folder / "gone").symlink_to("../gone")
    (folder / "own").write_bytes(bytes(1000))
    assert disk.read(folder).present_gb == pytest.approx(4000 / 1e9)


def test_reading_ends_with_the_file_and_with_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(80 * 2**20 + 123))
    os.sync()
    read: list[int] = []
    readv = os.readv

    def counted(descriptor: int, blocks: list[object]) -> int:
        read.append(readv(descriptor, blocks))  # pyright: ignore[reportArgumentType]
        return read[-1]

    monkeypatch.setattr(os, "readv", counted)
    speed = disk.read(tmp_path).read_mb_per_s
    if isinstance(speed, Unknown):  # a file system without O_DIRECT
        assert "past the page cache" in speed.reason
        return
    assert speed > 0
    assert sum(read) == 80 * 2**20 + 123
    read.clear()
    monkeypatch.setattr(disk, "READ_BYTES", 2 * disk.BLOCK_BYTES)
    disk.read_mb_per_s(path)
    assert sum(read) == 2 * disk.BLOCK_BYTES
    read.clear()
    monkeypatch.setattr(disk, "READ_S", 1e-9)
    disk.read_mb_per_s(path)
    assert len(read) == 1


def test_a_file_that_cannot_be_read_past_the_cache_has_no_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").write_bytes(b"")
    os.truncate(tmp_path / "large", disk.SMALLEST_BYTES)

    def refused(_path: Path) -> float:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(disk, "read_mb_per_s", refused)
    speed = disk.read(tmp_path).read_mb_per_s
    assert isinstance(speed, Unknown)
    assert speed.reason.endswith("cannot be read past the page cache: Invalid argument")


def test_a_probe_dumps_as_json_with_a_schema_and_what_is_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    dump = json.loads(to_json(probe(tmp_path)))
    assert dump["schema"] == 1
    assert dump["visible_gpus"] == "0,1"
    assert dump["disk"]["folder"] == str(tmp_path)
    assert "unknown" in dump["disk"]["read_mb_per_s"]
    assert probe(None).disk is None


def test_every_field_of_a_gpu_is_in_the_dump() -> None:
    dump = json.loads(to_json(node(gpu(0), Unknown(reason="GPU is lost"))))
    first, second = dump["driver"]["gpus"]
    assert first["name"] == "NVIDIA H20"
    assert first["links"][0] == {"number": 0, "to": "switch"}
    assert first["processes"] == []
    assert second == {"unknown": "GPU is lost"}
