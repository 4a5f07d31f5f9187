"""What happened in a run, line by line: JSON, append-only, each line chained to the one before.

    {"kind":"opened","schema":1,...,"chain":"5f0c…"}

A line's `chain` is BLAKE2b (16 bytes) over the chain of the line before it and the line's own bytes
up to it: a line that was changed, dropped or moved breaks every chain behind it.

What a `write` has handed to the kernel survives the death of this process; `sync` makes it survive
the machine's. A line without its newline was never written: the torn end that a killed process
leaves is cut off when the journal is opened again. A full disk leaves the journal as it was.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from harness.base.errors import ConfigError, EnginediffError

SCHEMA = 1
CHAIN_BYTES = 16
TAIL = b',"chain":"'
TAIL_BYTES = len(TAIL) + 2 * CHAIN_BYTES + len(b'"}\n')
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
READ_BYTES = 1 << 20


class NoRoomError(EnginediffError):
    """The disk is full; nothing of what was to be written is there, and it may be tried again."""

    exit_code = 4


Full = Callable[[NoRoomError], None]


class Journal:
    """One file, open for appending; not thread-safe. `close` it, or use it in a `with`."""

    def __init__(
        self,
        path: Path,
        tell: Callable[[dict[str, Any]], object] | None = None,
        full: Full | None = None,
    ) -> None:
        """Creates the file or goes on behind its last whole line; `tell` gets what stands there.

        `full`: called where there is no room; when it returns, it is tried again. None: it raises.
        Raises ConfigError where a chain is broken: what follows cannot be trusted.
        """
        self.path, self._full = path, full
        self._chain, self._end = _whole(path, tell)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._fd, self._end)  # a torn last line

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Bytes of whole lines; what is behind them may be half written."""
        return self._end

    @property
    def chain(self) -> bytes:
        """Of the last line."""
        return self._chain

    def append(self, lines: bytes) -> list[bytes]:
        """Whole lines of a journal of which this one is the beginning; each without its chain.

        Raises ConfigError where they do not follow, and writes none.
        """
        chain, bodies = self._chain, list[bytes]()
        for line in lines.splitlines(keepends=True):
            chain, body = _checked(chain, line, str(self.path))
            bodies.append(body)
        self._write(lines, chain)
        return bodies

    def write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Appends all of them or, with NoRoomError, none."""
        chain, content = self._chain, []
        for line in lines:
            body = orjson.dumps(line)[:-1]
            chain = _chained(chain, body)
            content.append(body + TAIL + chain.hex().encode() + b'"}\n')
        self._write(b"".join(content), chain)

    def _write(self, data: bytes, chain: bytes) -> None:
        while not self._written(data):
            pass
        self._chain, self._end = chain, self._end + len(data)

    def _written(self, data: bytes) -> bool:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as error:
            os.ftruncate(self._fd, self._end)
            if error.errno not in NO_ROOM:
                raise
            full = NoRoomError(f"{self.path}: no room for more: {error.strerror}")
            if self._full is None:
                raise full from error
            self._full(full)
            return False
        return True

    def sync(self) -> None:
        """What was written survives a power cut."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read(path: Path) -> Generator[dict[str, Any]]:
    """Every whole line, in order, without its chain; a torn last one is left out.

    Raises ConfigError at the first line whose chain is broken.
    """
    for body, _ in _bodies(path):
        yield orjson.loads(body + b"}")


def _whole(path: Path, tell: Callable[[dict[str, Any]], object] | None) -> tuple[bytes, int]:
    """The last chain, and the bytes of all whole lines."""
    last, end = bytes(CHAIN_BYTES), 0
    if path.exists():
        for body, chain in _bodies(path):
            last, end = chain, end + len(body) + TAIL_BYTES
            if tell is not None:
                _told(tell, orjson.loads(body + b"}"), path)
    return last, end


def _told(tell: Callable[[dict[str, Any]], object], line: dict[str, Any], path: Path) -> None:
    try:
        tell(line)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: {line!r:.200} does not follow from the lines before it: {error!r}"
        ) from error


def chain_at(path: Path, end: int) -> bytes:
    """Of the line that ends there; nothing where none does."""
    if end == 0:
        return bytes(CHAIN_BYTES)
    with path.open("rb") as file:
        file.seek(max(0, end - TAIL_BYTES))
        tail = file.read(TAIL_BYTES)
    if len(tail) < TAIL_BYTES or not tail.startswith(TAIL) or not tail.endswith(b'"}\n'):
        return b""
    return bytes.fromhex(tail[len(TAIL) : -3].decode())


def bodies(path: Path, start: int, end: int) -> Generator[bytes]:
    """Whole lines between two places where one begins, without their chains, which are believed."""
    with path.open("rb", buffering=READ_BYTES) as file:
        file.seek(start)
        while start < end and (line := file.readline()):
            start += len(line)
            yield line[:-TAIL_BYTES] + b"}"


def _bodies(path: Path) -> Generator[tuple[bytes, bytes]]:
    """Each whole line up to its chain, and the chain."""
    chain = bytes(CHAIN_BYTES)
    try:
        file = path.open("rb", buffering=READ_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    with file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # torn
            chain, body = _checked(chain, line, f"{path}: line {number}")
            yield body, chain


def _checked(chain: bytes, line: bytes, where: str) -> tuple[bytes, bytes]:
    """The chain behind a line, and the line up to it."""
    body = line[:-TAIL_BYTES]
    chain = _chained(chain, body)
    if line[-TAIL_BYTES:] != TAIL + chain.hex().encode() + b'"}\n':
        raise ConfigError(
            f"{where} is not what was written there, or one before it is missing: its chain is "
            "broken"
        )
    return chain, body


def _chained(chain: bytes, body: bytes) -> bytes:
    return blake2b(chain + body, digest_size=CHAIN_BYTES).digest()
