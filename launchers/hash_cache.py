"""Hashes of files that were read once, so that 600 GB are not read again for each command.

One append-only file for all models, a JSON line for each hash, written as soon as it is known: an
interrupted run goes on where it stopped. A hash belongs to one state of one file: real path, size,
inode, time of modification and of change. Whatever in the file is not a whole, well-formed line is
dropped, never believed, and the file is written anew. Small files are not remembered: reading them
is as quick, and surer.

Trade-offs accepted: a `chmod` changes a file's time of change and costs a second reading, for
without it an edit that sets the time of modification back would pass unseen; and what one process
appends while another rewrites the file may be lost, and is then read again.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.base import atomic, strict_toml
from harness.base.errors import ConfigError
from harness.base.home import home

HEADER = '{"schema":1}'
SHA256_DIGITS = 64
# Within the clock's and the file system's resolution an edit may leave every time as it was.
SETTLED_NS = 2_000_000_000
SMALL_BYTES = 16 * 2**20  # 10 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """Which content of which file is meant, as far as can be told without reading it."""

    path: str  # with symbolic links resolved: a blob of a hub's cache has many names
    size_bytes: int
    inode: int
    mtime_ns: int
    ctime_ns: int

    def memorable(self, now_ns: int) -> bool:
        """Whether it is large, and a change after `now_ns` is bound to give another state.

        The time of change tells that, which follows the clock; that of modification may be set.
        """
        return self.size_bytes >= SMALL_BYTES and self.ctime_ns < now_ns - SETTLED_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    state: FileState
    sha256: str


def state_of(path: Path, stat: os.stat_result) -> FileState:
    """The state of a file, given what `stat` said of it."""
    return FileState(
        path=os.path.realpath(path),
        size_bytes=stat.st_size,
        inode=stat.st_ino,
        mtime_ns=stat.st_mtime_ns,
        ctime_ns=stat.st_ctime_ns,
    )


class HashCache:
    """The hashes known on this machine. `put` may be called from several threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._writing = threading.Lock()
        self._known: dict[str, _Line] = {}
        if file.is_file():
            self._read(file.read_text("utf-8", errors="replace").split("\n"))

    def get(self, state: FileState) -> str | None:
        """The hash of exactly this state of the file; None: it must be read."""
        line = self._known.get(state.path)
        return line.sha256 if line is not None and line.state == state else None

    def put(self, state: FileState, sha256: str) -> None:
        """Remembers the hash of a state, on the disk too before it returns."""
        line = _Line(state=state, sha256=sha256)
        with self._writing:
            self._known[state.path] = line
            if not self._file.exists():
                self._rewrite()
                return
            with self._file.open("a", encoding="utf-8") as file:
                file.write(_written(line) + "\n")  # one write: lines of two processes do not mix

    def _read(self, lines: list[str]) -> None:
        whole = lines[0] == HEADER and lines[-1] == ""  # a torn last line lacks its end
        read = [_parsed(line) for line in lines[1:-1]] if lines[0] == HEADER else []
        self._known = {line.state.path: line for line in read if line is not None}
        if not whole or None in read or len(read) > 2 * len(self._known):
            self._rewrite()

    def _rewrite(self) -> None:
        lines = [HEADER, *(_written(line) for line in self._known.values())]
        atomic.write_bytes(self._file, "".join(f"{line}\n" for line in lines).encode())


def opened() -> HashCache:
    """The cache of this user; a damaged one is written anew, and none before there is a hash."""
    return HashCache(home() / "model-hashes.jsonl")


def _written(line: _Line) -> str:
    return json.dumps(asdict(line), separators=(",", ":"))


def _parsed(text: str) -> _Line | None:
    """A line as it was written; None for anything else."""
    try:
        line = strict_toml.convert(_Line, json.loads(text), "line")
    except (ValueError, ConfigError):
        return None
    digits = line.sha256
    return line if len(digits) == SHA256_DIGITS and set(digits) <= set("0123456789abcdef") else None
