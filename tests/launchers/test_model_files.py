"""A model's files are read once, whole, and never taken for what they are not."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from launchers import hash_cache, model_files, parallel_hash, pins
from launchers.hash_cache import HashCache, state_of
from launchers.model_files import hash_files, hash_names, require_model
from tests.building import write_weights


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of each test's own."""
    monkeypatch.setenv("ENGINEDIFF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def memorable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files that a test has just written are remembered; two tests take this back."""
    monkeypatch.setattr(hash_cache, "SETTLED_NS", 0)
    monkeypatch.setattr(hash_cache, "SMALL_BYTES", 0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Three shards, an index and a configuration."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    shards = [f"model-{i:05}-of-00003.safetensors" for i in (1, 2, 3)]
    for i, name in enumerate(shards):
        write_weights(folder / name, bytes([i]) * 1000)
    index = {"weight_map": {f"layer.{i}": name for i, name in enumerate(shards)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read to be hashed, as it happens."""
    names: list[str] = []
    read = parallel_hash._read  # pyright: ignore[reportPrivateUsage]

    def noted(path: Path, progress: parallel_hash.Progress) -> tuple[hash_cache.FileState, str]:
        names.append(path.name)
        return read(path, progress)

    monkeypatch.setattr(parallel_hash, "_read", noted)
    return names


def plain(folder: Path) -> dict[str, str]:
    """The hashes in the plainest way."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def test_the_hashes_are_those_of_the_plain_way_also_of_files_of_many_blocks(model: Path) -> None:
    large = os.urandom(2 * parallel_hash.BLOCK_BYTES + 17)
    write_weights(model / "model-00002-of-00003.safetensors", large)
    assert hash_files(model) == plain(model)


def test_what_was_read_once_is_not_read_again(model: Path, reads: list[str]) -> None:
    first = hash_files(model)
    assert sorted(reads) == sorted(first)
    reads.clear()
    assert hash_files(model) == first
    assert reads == []


@pytest.mark.parametrize("keeps", ["nothing", "size", "size and mtime", "size, mtime, replaced"])
def test_a_file_that_was_changed_is_read_again_and_no_other(
    model: Path, reads: list[str], keeps: str
) -> None:
    hash_files(model)
    reads.clear()
    path = model / "model-00002-of-00003.safetensors"
    old = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if keeps == "nothing":
        write_weights(path, b"shorter")
    elif keeps == "size, mtime, replaced":
        other = model / "other"
        other.write_bytes(content)
        other.replace(path)
    else:
        path.write_bytes(content)
    if keeps.startswith("size"):
        assert path.stat().st_size == old.st_size
    if "mtime" in keeps:
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert hash_files(model)[path.name] == plain(model)[path.name]
    assert reads == [path.name]


def test_a_file_written_a_moment_ago_is_not_remembered(
    model: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit in the same tick of the clock would leave size and times as they were."""
    monkeypatch.setattr(hash_cache, "SETTLED_NS", 2_000_000_000)
    hash_files(model)
    reads.clear()
    hash_files(model)
    assert len(reads) == 5


def test_a_small_file_is_always_read_and_a_model_of_such_leaves_no_cache(
    model: Path, home: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_cache, "SMALL_BYTES", 1000)
    hash_names(model, ["config.json"])
    assert not home.exists()
    hash_files(model)
    reads.clear()
    hash_files(model)
    assert sorted(reads) == ["config.json", "model.safetensors.index.json"]


def test_a_file_is_settled_when_its_last_change_is_two_seconds_old(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hash_cache, "SETTLED_NS", 2_000_000_000)
    path = tmp_path / "from the future"
    path.write_text("x")
    os.utime(path, (0, 2**33))
    state = state_of(path, path.stat())
    assert not state.memorable(state.ctime_ns + 1_999_999_999)
    assert state.memorable(state.ctime_ns + 2_000_000_001)


@pytest.mark.parametrize("field", ["path", "size_bytes", "inode", "mtime_ns", "ctime_ns"])
def test_a_hash_belongs_to_one_state_in_every_part_of_it(tmp_path: Path, field: str) -> None:
    state = state_of(Path(__file__), Path(__file__).stat())
    cache = HashCache(tmp_path / "cache")
    cache.put(state, "0" * 64)
    other = "/elsewhere" if field == "path" else getattr(state, field) + 1
    assert cache.get(state) == "0" * 64
    assert cache.get(replace(state, **{field: other})) is None


def hooked(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Does something once while the first file is being read."""
    add = parallel_hash.Progress.add
    pending = [act]

    def acting(self: parallel_hash.Progress, count_bytes: int) -> None:
        if pending:
            pending.pop()()
        add(self, count_bytes)

    monkeypatch.setattr(parallel_hash.Progress, "add", acting)


@pytest.mark.parametrize("how", ["written", "replaced"])
def test_a_file_that_changes_while_it_is_read_is_refused_and_not_remembered(
    model: Path, home: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = model / "config.json"

    def change() -> None:
        if how == "written":
            path.write_text("{ }")
        else:
            (model / "new").write_text("{ }")
            (model / "new").replace(path)

    hooked(monkeypatch, change)
    with pytest.raises(ConfigError, match=r"config\.json changed while it was read"):
        hash_names(model, ["config.json"])
    assert not home.exists()


HASHES = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
from pathlib import Path
from launchers import hash_cache, parallel_hash
from launchers.model_files import hash_files
hash_cache.SETTLED_NS = hash_cache.SMALL_BYTES = 0
parallel_hash.ANNOUNCED_EACH_S = 0.05
print(len(hash_files(Path(sys.argv[1]), lambda line: print(line, flush=True))))
"""


SLOWLY = """
import time
from launchers import parallel_hash
add = parallel_hash.Progress.add
so_far = 0
def slow(self, count_bytes):
    global so_far
    time.sleep(count_bytes / (80e6 if so_far < 80e6 else 8e6))
    so_far += count_bytes
    add(self, count_bytes)
parallel_hash.Progress.add = slow
parallel_hash.MOST_THREADS = 1
"""


def test_a_run_that_is_interrupted_goes_on_where_it_stopped(model: Path, home: Path) -> None:
    """A real process and a real Ctrl-C, in the middle of the second of three shards."""
    for i in (1, 2, 3):
        write_weights(model / f"model-{i:05}-of-00003.safetensors", bytes(80_000_000))
    with subprocess.Popen(
        [sys.executable, "-c", SLOWLY + HASHES, str(model)], stdout=subprocess.PIPE, stderr=-2
    ) as first:
        cache = home / "model-hashes.jsonl"
        while "00001-of" not in (cache.read_text() if cache.is_file() else ""):
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGINT)
        output, _ = first.communicate(timeout=60)
        assert first.returncode != 0, output
        assert output.strip().endswith(b"KeyboardInterrupt")
    known = cache.read_text().splitlines()
    assert len(known) == 2  # the header and the first shard
    program = [sys.executable, "-c", HASHES, str(model)]
    again = subprocess.run(program, capture_output=True, text=True, check=True)
    assert again.stdout.splitlines()[-1] == "5"
    assert cache.read_text().splitlines()[:2] == known
    assert len(cache.read_text().splitlines()) == 6


def test_progress_says_how_much_of_how_much_and_how_fast(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_hash, "ANNOUNCED_EACH_S", 0.05)
    hooked(monkeypatch, lambda: time.sleep(0.3))
    lines: list[str] = []
    hash_files(model, lines.append)
    assert lines
    form = r"model: \d+\.\d of \d+\.\d GB hashed, \d+ MB/s(, \d+ s left)?"
    assert all(re.fullmatch(form, line) for line in lines)


def damaged(text: str, how: str) -> str:
    lines = text.splitlines(keepends=True)
    return {
        "torn": text[:-20],
        "no JSON": lines[0] + "garbage\n" + "".join(lines[1:]),
        "another schema": '{"schema":9}\n' + "".join(lines[1:]),
        "no header": "".join(lines[1:]),
        "a hash too short": re.sub(r'"sha256":"..', '"sha256":"', text),
        "a number as text": re.sub(r'"size_bytes":(\d+)', r'"size_bytes":"\1"', text),
        "empty": "",
        "binary": "\0" * 400,
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        *("torn", "no JSON", "another schema", "no header", "a hash too short"),
        *("a number as text", "empty", "binary"),
    ],
)
def test_a_damaged_cache_is_rebuilt_and_what_is_left_of_it_gives_no_wrong_hash(
    model: Path, home: Path, how: str
) -> None:
    cache = home / "model-hashes.jsonl"
    expected = hash_files(model)
    whole = cache.read_text()
    cache.write_text(damaged(whole, how))
    assert hash_files(model) == expected == plain(model)
    assert sorted(cache.read_text().splitlines()) == sorted(whole.splitlines())


def test_lines_that_were_superseded_do_not_pile_up(tmp_path: Path) -> None:
    file, path = tmp_path / "cache", tmp_path / "file"
    cache = HashCache(file)
    for i in range(20):
        path.write_text("x" * i)
        cache.put(state_of(path, path.stat()), f"{i:064}")
    assert len(file.read_text().splitlines()) == 21
    again = HashCache(file)
    assert again.get(state_of(path, path.stat())) == f"{19:064}"
    assert len(file.read_text().splitlines()) == 2


def test_several_processes_fill_one_cache(tmp_path: Path, home: Path) -> None:
    folders = [tmp_path / str(i) for i in range(3)]
    for folder in folders:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        for i in range(1, 41):
            write_weights(folder / f"m-{i:05}-of-00040.safetensors", bytes([i]))
    running = [
        subprocess.Popen([sys.executable, "-c", HASHES, str(f)], stdout=subprocess.DEVNULL)
        for f in folders
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    lines = (home / "model-hashes.jsonl").read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert [hash_files(folder) for folder in folders] == [plain(folder) for folder in folders]


def test_links_as_in_a_hubs_cache_lead_to_blobs_that_two_snapshots_share(
    tmp_path: Path, model: Path, reads: list[str]
) -> None:
    blobs = tmp_path / "blobs"
    model.rename(blobs)
    for revision in ("a", "b"):
        snapshot = tmp_path / "snapshots" / revision
        snapshot.mkdir(parents=True)
        for blob in blobs.iterdir():
            (snapshot / blob.name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
    first = hash_files(tmp_path / "snapshots" / "a")
    assert first == plain(blobs)
    reads.clear()
    assert hash_files(tmp_path / "snapshots" / "b") == first
    assert reads == []


def test_a_link_to_nothing_is_refused(model: Path) -> None:
    (model / "tokenizer.json").symlink_to(model / "gone")
    with pytest.raises(ConfigError, match=r"tokenizer\.json: cannot be read: No such file"):
        hash_files(model)


@pytest.mark.parametrize("index", [True, False])
def test_a_missing_shard_is_found_before_anything_is_read(
    model: Path, reads: list[str], index: bool
) -> None:
    (model / "model-00002-of-00003.safetensors").unlink()
    if not index:
        (model / "model.safetensors.index.json").unlink()
    with pytest.raises(
        ConfigError, match=r"1 of 3 weight files are missing: model-00002-of-00003\.safetensors"
    ):
        hash_files(model)
    assert reads == []


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (["model-00001-of-000012", "model-00012-of-000012"], "model-00002-of-000012"),
        (["model-1-of-12", "model-12-of-12"], "model-10-of-12"),
        (["model-10-of-12"], "model-1-of-12"),
    ],
)
def test_shards_are_counted_however_their_numbers_are_written(
    tmp_path: Path, there: list[str], missing: str
) -> None:
    (tmp_path / "config.json").write_text("{}")
    for name in there:
        write_weights(tmp_path / f"{name}.safetensors", b"x")
    message = rf"{12 - len(there)} of 12 weight files are missing: {missing}\.safetensors"
    with pytest.raises(ConfigError, match=message):
        require_model(tmp_path)
    total = there[0].rpartition("-")[2]
    for number in range(1, 13):
        digits = f"{number:05}" if "00001" in there[0] else str(number)
        write_weights(tmp_path / f"model-{digits}-of-{total}.safetensors", b"x")
    require_model(tmp_path)


def test_a_shard_that_is_a_link_to_nothing_is_missing(model: Path) -> None:
    shard = model / "model-00003-of-00003.safetensors"
    shard.unlink()
    shard.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="1 of 3 weight files are missing"):
        require_model(model)


def test_a_shard_that_is_cut_short_is_found_before_anything_is_read(
    model: Path, reads: list[str]
) -> None:
    shard = model / "model-00003-of-00003.safetensors"
    whole = shard.stat().st_size
    for length in (whole - 1, 60, 9, 3, 0):
        os.truncate(shard, length)
        with pytest.raises(ConfigError, match=rf"is cut short: {length} bytes"):
            hash_files(model)
    assert reads == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n" * 4, "is not a safetensors file"),
        ((2).to_bytes(8, "little") + b"[]", "its header is not that of"),
        ((3).to_bytes(8, "little") + b"\xff{}", "its header is not that of"),
        ((2).to_bytes(8, "little") + b"{}x", "is too long"),
    ],
)
def test_a_file_that_is_no_safetensors_is_refused(
    model: Path, content: bytes, message: str
) -> None:
    (model / "model-00001-of-00003.safetensors").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        hash_files(model)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"weight_map": 3}', '{"metadata": {}}', '{"weight_map": ["a"]}']
)
def test_an_index_that_is_none_is_refused(model: Path, text: str) -> None:
    (model / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ConfigError, match="is not an index"):
        hash_files(model)


def test_a_shard_in_a_subfolder_counts_where_the_index_names_it_and_outside_never(
    model: Path, tmp_path: Path
) -> None:
    (model / "part").mkdir()
    for name in ("part/a.safetensors", "part/b.safetensors"):
        write_weights(model / name, b"x")
    index = model / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"w": "part/a.safetensors"}}')
    assert "part/a.safetensors" in hash_files(model)
    assert "part/b.safetensors" not in hash_files(model)
    write_weights(tmp_path / "c.safetensors", b"x")
    for outside in ("../c.safetensors", str(tmp_path / "c.safetensors")):
        index.write_text(json.dumps({"weight_map": {"w": outside}}))
        with pytest.raises(ConfigError, match="which is not in the folder"):
            hash_files(model)


def test_a_small_file_that_differs_is_told_before_the_weights_are_read(
    model: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = pins.load("tiny-moe/vllm-cpu", [f"model.path={model}"])
    (model / "config.json").write_text("{} ")
    reads.clear()
    monkeypatch.setattr(hash_cache, "opened", lambda: HashCache(model.parent / "another"))
    with pytest.raises(ConfigError, match=r"config\.json has sha256"):
        pins.verify_model(loaded)
    assert sorted(reads) == ["config.json", "model.safetensors.index.json"]


def test_a_file_that_is_not_pinned_is_told_without_reading_the_others(
    model: Path, reads: list[str]
) -> None:
    loaded = pins.load("tiny-moe/vllm-cpu", [f"model.path={model}"])
    reads.clear()
    (model / "modeling.py").write_text("code")
    with pytest.raises(ConfigError, match=r"modeling\.py can change outputs and is not pinned"):
        pins.verify_model(loaded)
    assert reads == ["modeling.py"]


def test_a_name_that_is_not_utf_8_is_hashed_like_any_other(model: Path) -> None:
    odd = os.fsdecode(b"odd\xff.json")
    (model / odd).write_text("1")
    assert hash_files(model)[odd] == hash_files(model)[odd]
    assert model_files.names(model).count(odd) == 1
