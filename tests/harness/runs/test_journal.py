"""A journal on a real file: what was written is read, what was changed is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from harness.runs import journal
from harness.runs.journal import Journal, NoRoomError
from tests.harness.runs.full_disk import lifted, limited

LINES = [{"kind": "begun", "n": 1}, {"kind": "part", "text": 'a "quoted"\n line — ü'}, {"n": 3}]


def written(path: Path, lines: list[dict[str, Any]]) -> Path:
    with Journal(path) as opened:
        opened.write(lines)
    return path


def test_what_is_written_is_read_in_order_and_goes_on_when_opened_again(tmp_path: Path) -> None:
    path = written(tmp_path / "j.jsonl", LINES[:2])
    written(path, LINES[2:])
    assert list(journal.read(path)) == LINES
    assert [orjson.loads(line)["kind"] for line in path.read_bytes().splitlines()[:2]] == [
        "begun",
        "part",
    ]


def test_every_torn_end_is_cut_off_and_what_was_whole_is_kept(tmp_path: Path) -> None:
    whole = written(tmp_path / "j.jsonl", LINES).read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) + 1):
        path = tmp_path / "torn.jsonl"
        path.write_bytes(whole[:cut])
        kept = [line for line, end in zip(LINES, ends, strict=True) if end <= cut]
        assert list(journal.read(path)) == kept
        written(path, [{"more": cut}])
        assert list(journal.read(path)) == [*kept, {"more": cut}]


@given(position=st.integers(0, 10_000), value=st.integers(0, 255), drop=st.booleans())
def test_a_changed_or_missing_byte_is_refused_or_is_a_torn_end(
    tmp_path_factory: pytest.TempPathFactory,
    position: int,
    value: int,
    drop: bool,
) -> None:
    path = written(tmp_path_factory.mktemp("j") / "j.jsonl", LINES)
    whole = path.read_bytes()
    position %= len(whole)
    changed = whole[:position] + (b"" if drop else bytes([value])) + whole[position + 1 :]
    path.write_bytes(changed)
    try:
        read = list(journal.read(path))
    except ConfigError as error:
        assert "line" in str(error) and "chain" in str(error)
    else:
        assert read == LINES[: len(read)]
        assert len(read) == len(LINES) or changed != whole


def test_a_line_that_was_taken_out_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "j.jsonl", LINES)
    first, _, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + third)
    with pytest.raises(ConfigError, match=r"j\.jsonl: line 2 .* chain is broken"):
        list(journal.read(path))
    with pytest.raises(ConfigError, match="line 2"):
        Journal(path)


def test_a_file_that_cannot_be_read_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        list(journal.read(tmp_path))


def test_a_full_disk_leaves_the_journal_as_it_was_and_it_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path) as opened:
        opened.write(LINES)
        before = path.read_bytes()
        with limited(len(before) + 100), pytest.raises(NoRoomError, match=r"j\.jsonl: no room"):
            opened.write([{"long": "x" * 1000}])
        assert path.read_bytes() == before
        opened.write([{"long": "x" * 1000}])
    assert list(journal.read(path)) == [*LINES, {"long": "x" * 1000}]


def test_who_is_asked_where_there_is_no_room_has_it_tried_again_until_there_is(
    tmp_path: Path,
) -> None:
    path, told = tmp_path / "j.jsonl", list[int]()

    def full(error: NoRoomError) -> None:
        assert path.stat().st_size == before and "no room" in str(error)
        told.append(1)
        if len(told) == 3:  # whoever waits has made room
            lifted()

    with Journal(path, full=full) as opened:
        opened.write(LINES)
        before = path.stat().st_size
        with limited(before + 100):
            opened.write([{"long": "x" * 1000}])
            opened.append(_following(opened, {"more": "y" * 200}))
    assert len(told) == 3
    assert list(journal.read(path)) == [*LINES, {"long": "x" * 1000}, {"more": "y" * 200}]


def _following(before: Journal, line: dict[str, Any]) -> bytes:
    """A line that follows a journal, written elsewhere."""
    copy = before.path.with_name("copy.jsonl")
    copy.write_bytes(before.path.read_bytes())
    return written(copy, [line]).read_bytes()[before.size :]


def test_lines_of_another_journal_that_begins_as_this_one_are_appended_as_they_are(
    tmp_path: Path,
) -> None:
    other = written(tmp_path / "other.jsonl", LINES).read_bytes()
    starts = [0, *(at + 1 for at, byte in enumerate(other) if byte == 10)]
    for first in range(len(LINES) + 1):
        for second in range(first, len(LINES) + 1):
            path = tmp_path / f"{first}-{second}.jsonl"
            with Journal(path) as opened:
                for piece in (other[: starts[first]], other[starts[first] : starts[second]]):
                    bodies = opened.append(piece)
                    assert [orjson.loads(body + b"}") for body in bodies] == [
                        {k: v for k, v in orjson.loads(line).items() if k != "chain"}
                        for line in piece.splitlines()
                    ]
                assert (opened.size, opened.chain) == (
                    starts[second],
                    journal.chain_at(tmp_path / "other.jsonl", starts[second]),
                )
            assert path.read_bytes() == other[: starts[second]]


def test_lines_that_do_not_follow_are_refused_all_of_them(tmp_path: Path) -> None:
    other = written(tmp_path / "other.jsonl", LINES).read_bytes()
    first, second, third = other.splitlines(keepends=True)
    with Journal(tmp_path / "j.jsonl") as opened:
        opened.append(first)
        for wrong in (third, first, second + second, second + third[:-1], second[:40] + b"\n"):
            with pytest.raises(ConfigError, match=r"j\.jsonl is not what was written"):
                opened.append(wrong)
            assert (opened.size, opened.path.read_bytes()) == (len(first), first)
        opened.append(second + third)
        opened.write([{"n": 4}])
    assert list(journal.read(tmp_path / "j.jsonl")) == [*LINES, {"n": 4}]


def test_a_chain_is_told_where_a_line_ends_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    chains = {0: bytes(journal.CHAIN_BYTES)}
    with Journal(path) as opened:
        for line in LINES:
            opened.write([line])
            chains[opened.size] = opened.chain
    for end in range(path.stat().st_size + 200):
        assert journal.chain_at(path, end) == chains.get(end, b"")


def test_bodies_between_two_places_are_the_lines_without_their_chains(tmp_path: Path) -> None:
    path = written(tmp_path / "j.jsonl", LINES)
    content = path.read_bytes()
    starts = [0, *(at + 1 for at, byte in enumerate(content) if byte == 10)]
    for first in range(len(LINES) + 1):
        for last in range(first, len(LINES) + 1):
            found = [orjson.loads(one) for one in journal.bodies(path, starts[first], starts[last])]
            assert found == LINES[first:last]


def test_what_was_written_outlives_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    program = """
import os, signal, sys
from pathlib import Path
from harness.runs.journal import Journal
journal = Journal(Path(sys.argv[1]))
for n in range(50):
    journal.write([{"n": n}])
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [line["n"] for line in journal.read(path)] == list(range(50))
