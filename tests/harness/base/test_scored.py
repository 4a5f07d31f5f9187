"""Scored records are read whole, or refused with file, line and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from harness.base.scored import Scored, read
from tests.scored_records import once, record, repeated, table, write

GOOD = table(record("s", "a", 0, 1.0))
PRINTABLE = st.characters(categories=["L", "M", "N", "P", "S"], include_characters=" ")
NAMES = st.text(PRINTABLE, min_size=1, max_size=5)
RECORDS = st.lists(
    st.builds(record, NAMES, NAMES, st.integers(0, 99), st.none() | st.floats(0, 1)),
    max_size=5,
    unique_by=lambda r: r.key,
)


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(RECORDS)
def test_what_was_written_is_read_back_the_same(tmp_path: Path, records: list[Scored]) -> None:
    assert read(write(tmp_path / "r.jsonl", records)) == tuple(records)


def test_a_failed_request_is_a_record_without_a_score(tmp_path: Path) -> None:
    (found,) = read(write(tmp_path / "r.jsonl", once([None])))
    assert (found.score, found.outcome) == (None, "timeout")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": 1.01}, r"score is 1\.01; it must lie in \[0, 1\]"),
        ({"score": -0.5}, r"score is -0\.5; it must lie in"),
        ({"score": True}, "score is True; it must be a number"),
        ({"score": "1"}, "score is '1'; it must be a number"),
        ({"score": None}, "score is None and outcome 'scored'"),
        ({"outcome": "timeout"}, r"score is 1\.0 and outcome 'timeout'"),
        ({"repeat": -1}, "repeat is -1; it must be 0 or more"),
        ({"repeat": 0.0}, r"repeat is 0\.0; it must be an integer"),
        ({"case": ""}, "case is ''; it must be a printable name"),
        ({"suite": "\x1b[31m"}, r"suite is '\\x1b\[31m'; it must be a printable name"),
        ({"case": "a\u202eb"}, "it must be a printable name"),
        ({"schema": 2}, "schema is 2; this version reads 1"),
        ({"epoch": 1}, "unknown key 'epoch'; known are schema, suite"),
    ],
)
def test_a_wrong_value_is_named_with_file_line_and_key(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = written(tmp_path / "r.jsonl", {**GOOD, "case": "first"}, {**GOOD, **change})
    with pytest.raises(ConfigError, match=rf"r\.jsonl: line 2: .*{message}|line 2: {message}"):
        read(path)


def test_each_key_is_needed(tmp_path: Path) -> None:
    for key in GOOD:
        path = written(tmp_path / "r.jsonl", {k: v for k, v in GOOD.items() if k != key})
        with pytest.raises(ConfigError, match=rf"line 1: the key '{key}' is missing"):
            read(path)


def test_a_case_that_stands_twice_is_refused_and_a_further_repeat_is_not(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "r.jsonl", repeated([[0, 1]])))) == 2
    path = written(tmp_path / "r.jsonl", GOOD, {**GOOD, "repeat": 1}, {**GOOD, "score": 0})
    with pytest.raises(ConfigError, match="line 3: suite 's', case 'a', repeat 0 stands on line 1"):
        read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 1, "sui', "line 2: the last line is torn"),
        ("not JSON\n", "line 2: is not a JSON object"),
        ("\n", "line 2: is not a JSON object"),
        ("[1]\n", r"line 2 is \[1\]; it must be a table"),
        (json.dumps(GOOD).replace("1.0", "NaN") + "\n", "line 2: .*NaN is no JSON number"),
        (json.dumps(GOOD)[:-1] + ', "score": 0}\n', "line 2: .*a key stands twice"),
        ("[" * 100_000 + "\n", "line 2: is not a JSON object"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "r.jsonl", {**GOOD, "case": "first"})
    path.write_text(path.read_text() + text)
    with pytest.raises(ConfigError, match=message):
        read(path)


def test_a_last_line_that_is_whole_needs_no_newline(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(GOOD))
    assert len(read(path)) == 1


def test_a_file_that_cannot_be_read_is_named_and_an_empty_one_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.jsonl: cannot be read: No such file"):
        read(tmp_path / "absent.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"binary\.jsonl: is not UTF-8"):
        read(tmp_path / "binary.jsonl")
    assert read(write(tmp_path / "empty.jsonl", [])) == ()
