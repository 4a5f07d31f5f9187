"""Profiles are complete and sourced, and one of the user's own is read as strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from hw_profiles.node import SHIPPED, NodeProfile, field_names, known, load
from launchers import pins

NAMES = ("b200-8x180gb", "cpu", "h100-8x80gb", "h20-8x141gb", "h20-8x96gb", "h200-8x141gb")


def own(folder: Path, old: str, new: str) -> str:
    text = (SHIPPED / "h20-8x96gb.toml").read_text("utf-8")
    assert old in text
    path = folder / "own.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return str(path)


def value(profile: NodeProfile, field: str) -> object:
    table, _, name = field.rpartition(".")
    return getattr(getattr(profile, table) if table else profile, name)


def test_the_shipped_profiles_are_these() -> None:
    assert known() == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_profile_says_of_each_field_where_it_is_from_or_why_it_is_left_out(
    name: str,
) -> None:
    profile = load(name)
    assert profile.name == name
    there = [f for f in field_names() if profile.gpu is not None or not f.startswith("gpu.")]
    assert sorted(profile.sources) == sorted(there)
    for field in there:
        left_out = value(profile, field) is None
        says_so = profile.sources[field].startswith(("Not ", "Nothing "))
        assert says_so or not left_out, field
        if says_so:
            assert value(profile, field) in (None, ()), field


@pytest.mark.parametrize("name", NAMES)
def test_no_price_is_shipped(name: str) -> None:
    assert load(name).price_usd_per_gpu_hour is None


@pytest.mark.parametrize("name", pins.shipped())
def test_every_shipped_pin_is_for_a_known_profile(name: str) -> None:
    profile = load(pins.load(name).pin.hardware)
    deployment = pins.load(name).pin.deployment
    if deployment is not None and deployment.gpus_per_node:
        assert profile.gpu is not None
        assert deployment.gpus_per_node <= profile.gpu.count


def test_the_names_tell_the_memory() -> None:
    """An H20 and an H20-3e are two profiles, and no name stands in both."""
    small, large = load("h20-8x96gb").gpu, load("h20-8x141gb").gpu
    assert small is not None
    assert large is not None
    assert not set(small.names) & set(large.names)
    assert small.memory_mib < large.memory_mib


def test_a_price_is_set_in_a_profile_of_ones_own(tmp_path: Path) -> None:
    path = own(tmp_path, "schema = 1\n", "schema = 1\nprice_usd_per_gpu_hour = 2.5\n")
    assert load(path).price_usd_per_gpu_hour == 2.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("count = 8", "count = 0", r"gpu\.count is 0; it must be a number above 0"),
        ("count = 8", 'count = "8"', r"gpu: count is '8'; it must be an integer"),
        ("count = 8\n", "", r"gpu: the key 'count' is missing"),
        ("count = 8", "cuont = 8", r"gpu: unknown key 'cuont'"),
        ('names = ["NVIDIA H20"]', "names = []", r"gpu\.names is empty"),
        ('"9.0"', '"sm_90"', r"compute_capability is 'sm_90'; a version is like 9\.0"),
        ('"580"', '"latest"', r"driver_minimum is 'latest'"),
        ("= 97871", "= -1.0", r"gpu\.memory_mib is -1\.0"),
        ("= 97871", "= nan", r"gpu\.memory_mib is nan"),
        ("= 400", "= inf", r"gpu\.power_limit_minimum_w is inf"),
        ("each_pair = 18", "each_pair = -1", r"nvlinks_between_each_pair is -1; 0 or more"),
        ("= 1000", "= 0", r"host\.disk_read_mb_per_s is 0\.0"),
        ("schema = 1", "schema = 2", r"schema is 2; this enginediff reads 1"),
        ('"gpu.count" =', '"gpu.cuont" =', r"sources: 'gpu\.cuont' is no field"),
        ("schema = 1\n", "schema = 1\nprice_usd_per_gpu_hour = -2\n", r"hour is -2\.0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_file_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"own\.toml: .*{message}|own\.toml: {message}"):
        load(own(tmp_path, old, new))


@pytest.mark.parametrize("name", ["h20", "", "../hw_profiles/cpu", "CPU"])
def test_a_name_that_is_no_profile_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no hardware profile .*h20-8x96gb"):
        load(name)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(str(tmp_path / "absent.toml"))
