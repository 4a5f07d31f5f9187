"""sha256 of many large files at once, with progress, in bounded memory.

Threads suffice: hashlib lets go of the interpreter's lock, and so does reading.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from harness.base.errors import ConfigError
from launchers.hash_cache import FileState, HashCache, state_of

Announce = Callable[[str], None]

BLOCK_BYTES = 4 * 2**20  # of each thread
MOST_THREADS = 8  # a disk that is faster than eight cores hash is not known to us
ANNOUNCED_EACH_S = 2.0


class StoppedError(Exception):
    """Tells a thread of ours to stop; never leaves this module."""


@dataclass(slots=True, kw_only=True)
class Progress:
    """How many bytes of how many were hashed; added to from several threads."""

    total_bytes: int
    done_bytes: int = 0
    began: float = field(default_factory=time.monotonic)
    stop: threading.Event = field(default_factory=threading.Event)
    adding: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count_bytes: int) -> None:
        """Raises StoppedError where the whole is to end early."""
        with self.adding:
            self.done_bytes += count_bytes
        if self.stop.is_set():
            raise StoppedError

    def line(self) -> str:
        """For a reader."""
        speed = self.done_bytes / max(time.monotonic() - self.began, 1e-9)
        left = f", {(self.total_bytes - self.done_bytes) / speed:.0f} s left" if speed else ""
        return (
            f"{self.done_bytes / 1e9:.1f} of {self.total_bytes / 1e9:.1f} GB hashed, "
            f"{speed / 1e6:.0f} MB/s{left}"
        )


def hash_all(
    files: Sequence[Path], cache: HashCache, *, title: str, announce: Announce
) -> dict[Path, str]:
    """sha256 of each file; a large one is in the cache as soon as it is known.

    Raises ConfigError where a file changes while it is read.
    """
    sizes = {path: path.stat().st_size for path in files}
    progress = Progress(total_bytes=sum(sizes.values()))
    pool = ThreadPoolExecutor(_threads(), thread_name_prefix="hash")
    try:
        largest_first = sorted(files, key=lambda path: -sizes[path])
        futures = {p: pool.submit(_hash_one, p, cache, progress) for p in largest_first}
        _await(list(futures.values()), lambda: announce(f"{title}: {progress.line()}"))
        return {path: future.result() for path, future in futures.items()}
    finally:
        progress.stop.set()  # Ctrl-C, or an error in one file: the others end with their block
        pool.shutdown(cancel_futures=True)


def _threads() -> int:
    return min(MOST_THREADS, len(os.sched_getaffinity(0)))


def _await(futures: Sequence[Future[str]], tell: Callable[[], None]) -> None:
    """Until all are done; raises what the first of them raised."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=ANNOUNCED_EACH_S, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        if pending:
            tell()


def _hash_one(path: Path, cache: HashCache, progress: Progress) -> str:
    began_ns = time.time_ns()
    try:
        before, sha256 = _read(path, progress)
        after = state_of(path, path.stat())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if before != after:
        raise ConfigError(
            f"{path} changed while it was read; is it still being downloaded? "
            "Start again when it is whole"
        )
    if before.memorable(began_ns):
        cache.put(before, sha256)
    return sha256


def _read(path: Path, progress: Progress) -> tuple[FileState, str]:
    """The state of the file before it was read, and the sha256 of what was read."""
    digest = hashlib.sha256()
    block = memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        before = state_of(path, os.fstat(file.fileno()))
        while count := file.readinto(block):
            digest.update(block[:count])
            progress.add(count)
    return before, digest.hexdigest()
