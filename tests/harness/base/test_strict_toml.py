"""A table is read into its dataclass whole, or refused with file and key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from harness.base.strict_toml import convert, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    word: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    share: float
    on: bool
    inner: Inner
    several: tuple[Inner, ...]
    table: Mapping[str, int]
    free: Any
    maybe: str | None
    spare: int = 7


INNERS = st.builds(Inner, word=st.text(), number=st.integers())
OUTERS = st.builds(
    Outer,
    share=st.floats(allow_nan=False),
    on=st.booleans(),
    inner=INNERS,
    several=st.lists(INNERS, max_size=3).map(tuple),
    table=st.dictionaries(st.text(), st.integers(), max_size=3),
    free=st.recursive(st.integers() | st.text() | st.booleans(), lambda x: st.lists(x, max_size=2)),
    maybe=st.none() | st.text(),
    spare=st.integers(),
)
GOOD: dict[str, Any] = {
    "share": 0.5,
    "on": True,
    "inner": {"word": "a", "number": 1},
    "several": [{"word": "b", "number": 2}],
    "table": {"x": 1},
    "free": {"anything": [1, "two"]},
    "maybe": "m",
}


def plain(value: Outer) -> dict[str, Any]:
    """As TOML or JSON would hold it: arrays are lists."""
    table = asdict(value)
    return {**table, "several": list(table["several"])}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != key}


@given(OUTERS)
def test_what_was_written_is_read_back_the_same(value: Outer) -> None:
    assert convert(Outer, plain(value), "f.toml") == value


def test_a_field_with_a_default_may_be_left_out_and_no_other() -> None:
    assert convert(Outer, GOOD, "f.toml").spare == 7
    for key in GOOD:
        with pytest.raises(ConfigError, match=rf"f\.toml: the key '{key}' is missing"):
            convert(Outer, without(key), "f.toml")


def test_an_unknown_key_is_named_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"f\.toml: unknown key 'sahre'; known are share, on"):
        convert(Outer, {**GOOD, "sahre": 1.0}, "f.toml")


def test_an_unknown_key_of_an_inner_table_is_named_with_its_table() -> None:
    with pytest.raises(ConfigError, match=r"f\.toml: inner: unknown key 'x'"):
        convert(Outer, {**GOOD, "inner": {"word": "", "number": 1, "x": 2}}, "f.toml")
    with pytest.raises(ConfigError, match=r"f\.toml: several\[1\]: the key 'number' is missing"):
        convert(Outer, {**GOOD, "several": [*GOOD["several"], {"word": ""}]}, "f.toml")


@pytest.mark.parametrize(
    ("key", "wrong", "message"),
    [
        ("share", "1", "share is '1'; it must be a number"),
        ("share", True, "share is True; it must be a number"),
        ("on", 1, "on is 1; it must be true or false"),
        ("inner", [], r"inner is \[\]; it must be a table"),
        ("several", {}, "several is {}; it must be an array"),
        ("several", [3], r"several\[0\] is 3; it must be a table"),
        ("table", 3, "table is 3; it must be a table"),
        ("table", {"x": True}, r"table\.x is True; it must be an integer"),
        ("table", {"x": 1.0}, r"table\.x is 1\.0; it must be an integer"),
        ("maybe", 3, "maybe is 3; it must be a string"),
        ("spare", False, "spare is False; it must be an integer"),
        ("inner", {"word": None, "number": 1}, "inner: word is None; it must be a string"),
    ],
)
def test_a_wrong_type_is_named_with_file_and_key(key: str, wrong: object, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^f\.toml: {message}"):
        convert(Outer, {**GOOD, key: wrong}, "f.toml")


def test_an_integer_passes_for_a_number_and_becomes_one() -> None:
    share = convert(Outer, {**GOOD, "share": 3}, "f.toml").share
    assert (share, type(share)) == (3.0, float)


def test_a_file_that_cannot_be_read_is_named_with_the_cause(tmp_path: Path) -> None:
    broken, binary = tmp_path / "broken.toml", tmp_path / "binary.toml"
    broken.write_text("a = \n")
    binary.write_bytes(b"a = '\xff'")
    for path, cause in (
        (tmp_path / "absent.toml", "No such file"),
        (tmp_path, "Is a directory"),
        (broken, "not valid TOML"),
        (binary, "not UTF-8"),
    ):
        with pytest.raises(ConfigError, match=cause) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_a_file_is_read_as_plain_values(tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text('a = 1\n[b]\n"c.d" = ["ü"]\n', "utf-8")
    assert load(path) == {"a": 1, "b": {"c.d": ["ü"]}}
