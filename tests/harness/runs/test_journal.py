"""A journal on a real file: what was written is read, what was changed is refused."""

from __future__ import annotations

import resource
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
    """A limit of the file's size stands for the disk: the kernel writes a part, then refuses."""
    path = tmp_path / "j.jsonl"
    with Journal(path) as opened:
        opened.write(LINES)
        before = path.read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
        try:
            with pytest.raises(NoRoomError, match=r"j\.jsonl: no room"):
                opened.write([{"long": "x" * 1000}])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, kept)
        assert path.read_bytes() == before
        opened.write([{"long": "x" * 1000}])
    assert list(journal.read(path)) == [*LINES, {"long": "x" * 1000}]


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
