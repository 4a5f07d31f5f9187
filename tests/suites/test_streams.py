"""The shipped raw answers are what they are meant to be, and a bad line is named with its cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import ConfigError
from suites.streams import MARKERS, NAMES, load

GOOD: dict[str, Any] = {
    "id": "s",
    "text": "a",
    "thinking": False,
    "tools": False,
    "letters": False,
    "finish": "stop",
    "content": "a",
}


def written(path: Path, *rows: object) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_the_shipped_streams_hold_what_the_level_promises_to_replay() -> None:
    streams = {stream.id: stream for stream in load()}
    assert len(streams) >= 25
    assert {stream.thinking for stream in streams.values()} == {True, False}
    assert max(len(stream.calls or ()) for stream in streams.values()) >= 3  # several calls
    assert "search:2<" in streams["id-without-functions"].text.replace("<|tool_call_a", "<")
    assert any(stream.finish == "length" and "<|tool_call" in stream.text for stream in load())
    assert any(stream.letters and "</think>" in stream.text for stream in load())


def test_what_a_stream_holds_can_be_read_in_its_text() -> None:
    """A slip of the pen in the golden results would be taken for an engine's fault."""
    for stream in load():
        for part in (stream.reasoning, stream.content):
            assert part is None or part.strip() in stream.text, stream.id
        for call in stream.calls or ():
            assert call.name in NAMES, stream.id
            assert stream.tools, stream.id
            assert json.dumps(dict(call.arguments)) in {
                json.dumps(json.loads(text)) for text in arguments(stream.text)
            }, stream.id


def arguments(text: str) -> list[str]:
    """The arguments of all whole calls in a raw answer."""
    parts = text.split(MARKERS[5])[1:]
    return [part.split(MARKERS[6])[0] for part in parts if MARKERS[6] in part]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"{", "is not JSON"),
        ({**GOOD, "finish": "end"}, "finish is 'end'; it must be stop or length"),
        ({**GOOD, "more": 1}, "more"),
        ({"id": "s"}, "text"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: object, why: str) -> None:
    path = written(tmp_path / "streams.jsonl", {**GOOD, "id": "first"}, row)
    with pytest.raises(ConfigError, match=why) as caught:
        load(path)
    assert ":2" in str(caught.value)


def test_an_id_that_occurs_twice_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'s' occurs twice"):
        load(written(tmp_path / "twice.jsonl", GOOD, GOOD))
    with pytest.raises(ConfigError, match="holds no stream"):
        load(written(tmp_path / "none.jsonl"))
