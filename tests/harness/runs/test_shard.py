"""A shard is the node's journal byte for byte, however it came, and tells each end once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from harness.runs import journal
from harness.runs.journal import NoRoomError
from harness.runs.shard import Found, Shard
from tests.harness.runs.full_disk import lifted, limited
from tests.harness.runs.made_up import answered, failed, journalled

OPENED: dict[str, Any] = {"kind": "opened", "identity": {"version": "1"}}
LINES: list[dict[str, Any]] = [
    OPENED,
    *answered(4, "an answer", tokens=7),
    {"kind": "sent", "n": 5, "attempt": 1, "from": 0},
    {"kind": "ended", "n": 5, "attempt": 1, "outcome": "stalled", "final": False},
    *failed(2, "refused"),
    OPENED,
    *answered(0, 'one that quotes {"kind":"ended"}'),
    {"kind": "engine", "end": "died"},
]
ENDS = ((4, "answered", 7), (2, "refused", 0), (0, "answered", 0))


def no_room(error: NoRoomError) -> None:
    raise error


def whole(folder: Path) -> tuple[bytes, list[int]]:
    """The node's own journal, and where its lines begin or end."""
    content = journalled(folder / "there.jsonl", LINES).read_bytes()
    return content, [0, *(at + 1 for at, byte in enumerate(content) if byte == 10)]


def test_ends_that_are_final_are_found_from_any_line_on_and_what_the_engine_is(
    tmp_path: Path,
) -> None:
    content, starts = whole(tmp_path)
    shard = Shard(tmp_path / "there.jsonl", no_room, fetched=False)
    assert (shard.size, len(content)) == (len(content), shard.size)
    assert shard.found(0, None) == Found(
        upto=len(content), ends=ENDS, identity={"version": "1"}, strangers=()
    )
    for place, start in enumerate(starts):
        final = [line for line in LINES[place:] if line.get("final")]
        assert [n for n, _, _ in shard.found(start, None).ends] == [line["n"] for line in final]
    shard.close()


def test_on_this_machine_it_is_the_file_that_is_written(tmp_path: Path) -> None:
    path = tmp_path / "own" / "local.jsonl"
    shard = Shard(path, no_room, fetched=False)
    assert (shard.size, shard.found(0, None).ends) == (0, ())
    journalled(path, LINES[:4])
    size = path.stat().st_size
    assert shard.grown(b"", size, None).ends == ENDS[:1]
    assert shard.grown(b"", size, None) == Found(upto=size, ends=(), identity=None, strangers=())
    journalled(path, LINES[4:])
    found = shard.grown(b"", path.stat().st_size, None)
    assert (found.ends, found.upto, shard.size) == (ENDS[1:], found.upto, found.upto)
    shard.sync()
    shard.close()


@settings(max_examples=40, deadline=None)
@given(
    pieces=st.lists(st.integers(0, len(LINES)), max_size=6),
    restarts=st.sets(st.integers(0, 6)),
)
def test_however_it_is_fetched_it_is_the_same_bytes_and_the_same_ends(
    pieces: list[int], restarts: set[int]
) -> None:
    """Piece by piece, and with a new one over the same file in between."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content, starts = whole(folder)
        path = folder / "copy.jsonl"
        shard = Shard(path, no_room, fetched=True)
        ends, identities = list[Any](), list[Any]()
        for place, piece in enumerate([*sorted(pieces), len(LINES)]):
            if place in restarts:
                shard.close()
                shard = Shard(path, no_room, fetched=True)
            found = shard.grown(content[shard.size : starts[piece]], len(content), None)
            ends += found.ends
            identities += [found.identity] if found.identity else []
            assert found.upto == shard.size == starts[piece]
            assert shard.chain == journal.chain_at(folder / "there.jsonl", shard.size)
        shard.close()
        assert path.read_bytes() == content
        assert tuple(ends) == ENDS
        assert identities and all(one == {"version": "1"} for one in identities)


def test_what_does_not_follow_is_refused_and_not_written(tmp_path: Path) -> None:
    content, starts = whole(tmp_path)
    path = tmp_path / "copy.jsonl"
    shard = Shard(path, no_room, fetched=True)
    shard.grown(content[: starts[3]], starts[3], None)
    changed = content[starts[3] : starts[6]].replace(b"stalled", b"refused")
    for wrong in (
        content[starts[4] : starts[6]],  # a line is missing
        content[: starts[2]],  # again
        content[starts[3] : starts[6] - 1],  # a torn end
        changed,
    ):
        with pytest.raises(ConfigError, match=r"copy\.jsonl.*chain is broken"):
            shard.grown(wrong, len(content), None)
        assert (shard.size, path.read_bytes()) == (starts[3], content[: starts[3]])
    assert shard.grown(content[starts[3] :], len(content), None).upto == len(content)
    shard.sync()
    shard.close()


def test_a_torn_end_is_cut_off_and_a_broken_chain_refused_when_it_is_opened(tmp_path: Path) -> None:
    content, starts = whole(tmp_path)
    path = tmp_path / "copy.jsonl"
    path.write_bytes(content[: starts[5] + 9])
    shard = Shard(path, no_room, fetched=True)
    assert shard.size == starts[5]
    shard.grown(content[starts[5] :], len(content), None)
    shard.close()
    assert path.read_bytes() == content
    path.write_bytes(content.replace(b"an answer", b"no answer"))
    with pytest.raises(ConfigError, match="chain is broken"):
        Shard(path, no_room, fetched=True)


def test_where_there_is_no_room_it_stays_as_it_was(tmp_path: Path) -> None:
    content, starts = whole(tmp_path)
    path = tmp_path / "copy.jsonl"
    shard = Shard(path, no_room, fetched=True)
    shard.grown(content[: starts[2]], starts[2], None)
    with limited(starts[2] + 10), pytest.raises(NoRoomError):
        shard.grown(content[starts[2] :], len(content), None)
    assert (shard.size, path.stat().st_size) == (starts[2], starts[2])
    assert shard.grown(content[starts[2] :], len(content), None).ends == ENDS
    shard.close()


def test_who_is_asked_where_there_is_no_room_has_it_tried_again(tmp_path: Path) -> None:
    content, starts = whole(tmp_path)
    shard = Shard(tmp_path / "copy.jsonl", lambda _: lifted(), fetched=True)
    with limited(starts[2] + 10):
        assert shard.grown(content, len(content), None).ends == ENDS
    shard.close()


@pytest.mark.parametrize("known", [None, {"version": "1"}])
@pytest.mark.parametrize("at_once", [True, False])
def test_what_another_engine_answered_is_not_found_until_it_is_the_one_again(
    tmp_path: Path, known: dict[str, Any] | None, at_once: bool
) -> None:
    other = {**OPENED, "identity": {"version": "2"}}
    lines = [OPENED, *answered(0, "t0"), other, *answered(1, "t1"), OPENED, *answered(2, "t2")]
    there = journalled(tmp_path / "there.jsonl", lines)
    if at_once:
        found = [Shard(there, no_room, fetched=False).found(0, known)]
    else:
        shard = Shard(tmp_path / "copy.jsonl", no_room, fetched=True)
        pieces = there.read_bytes().splitlines(keepends=True)
        found = [shard.grown(piece, 0, known or {"version": "1"}) for piece in pieces]
        shard.close()
    assert [n for one in found for n, _, _ in one.ends] == [0, 2]
    assert [stranger for one in found for stranger in one.strangers] == [{"version": "2"}]
