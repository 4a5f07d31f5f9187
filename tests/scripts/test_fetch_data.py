"""Data is fetched as it is pinned, or not at all: from a real server in a thread."""

from __future__ import annotations

import hashlib
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from scripts import fetch_data
from scripts.fetch_data import FetchError, File, Pins, Source
from tests.building import answer, serving

CONTENT = {"LICENSE": b"MIT", "data/a/valid.jsonl": b'{"type":"object"}\n', "data/b.txt": b"b"}


def pins(url: str, **changed: str) -> Pins:
    """All of CONTENT, below "data" one folder up; `changed`: the sha256 of the file by its name."""
    files = tuple(
        File(
            path=path,
            to=path.removeprefix("data/"),
            sha256=changed.get(Path(path).stem, hashlib.sha256(content).hexdigest()),
        )
        for path, content in CONTENT.items()
    )
    source = Source(name="some", commit="abc", url=f"{url}/repo/{{commit}}", files=files)
    return Pins(schema=1, sources=(source,))


def shelf(asked: list[str], *, without: str = ""):
    """A server of CONTENT at commit abc; `asked` grows by each path it is asked for."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        path = handler.path.removeprefix("/repo/abc/")
        content = None if path == without else CONTENT.get(path)
        answer(handler, 404 if content is None else 200, content or b"")

    return serving(respond)


def lying(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_file_is_fetched_into_its_place_and_then_kept(tmp_path: Path) -> None:
    whole = {
        "some/LICENSE": b"MIT",
        "some/a/valid.jsonl": b'{"type":"object"}\n',
        "some/b.txt": b"b",
    }
    asked: list[str] = []
    with shelf(asked) as url:
        assert fetch_data.fetch(pins(url), tmp_path) == 3
        assert lying(tmp_path) == whole
        assert fetch_data.fetch(pins(url), tmp_path) == 0
        assert len(asked) == 3
        (tmp_path / "some" / "b.txt").write_bytes(b"changed")
        (tmp_path / "some" / "LICENSE").unlink()
        assert fetch_data.fetch(pins(url), tmp_path) == 2
    assert lying(tmp_path) == whole


def test_content_that_is_not_as_pinned_is_refused_with_both_hashes(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "b.txt").write_bytes(b"old")
    found = hashlib.sha256(b"b").hexdigest()
    with (
        shelf([]) as url,
        pytest.raises(FetchError, match=f"data/b.txt: its sha256 is {found}; it must be 00ff"),
    ):
        fetch_data.fetch(pins(url, b="00ff"), tmp_path)
    assert lying(tmp_path)["some/b.txt"] == b"old"
    assert set(lying(tmp_path)) == {"some/LICENSE", "some/a/valid.jsonl", "some/b.txt"}


def test_a_file_that_the_server_does_not_have_is_refused(tmp_path: Path) -> None:
    with (
        shelf([], without="LICENSE") as url,
        pytest.raises(FetchError, match="LICENSE: the server answered 404"),
    ):
        fetch_data.fetch(pins(url), tmp_path)
    assert lying(tmp_path) == {}


def test_without_a_network_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with shelf([]) as url:
        wanted = pins(url)

    def read(_: Path) -> Pins:
        return wanted

    monkeypatch.setattr(fetch_data, "read", read)
    monkeypatch.setattr("sys.argv", ["fetch_data", str(tmp_path / "new")])
    assert fetch_data.main() == 4
    said = capsys.readouterr().err
    assert said.startswith("fetch_data: http://127.0.0.1:")
    assert "/repo/abc/LICENSE: it cannot be fetched from here: " in said
    assert not (tmp_path / "new").exists()


def test_what_is_pinned_is_whole_commits_and_hashes_into_two_folders() -> None:
    found = fetch_data.read(fetch_data.PINS)
    assert [source.name for source in found.sources] == ["walle", "prompt_tokens"]
    for source in found.sources:
        assert len(source.commit) == 40 and source.url.endswith("/{commit}")
        assert "LICENSE" in {file.to for file in source.files}
        assert all(len(file.sha256) == 64 for file in source.files)
        assert not any(".." in file.to or file.to.startswith("/") for file in source.files)


def test_pins_that_are_not_well_formed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pins.toml"
    path.write_text('schema = 1\n[[sources]]\nname = "a"\ncommit = "b"\nurl = "c"\n')
    with pytest.raises(ConfigError, match="the key 'files' is missing"):
        fetch_data.read(path)
