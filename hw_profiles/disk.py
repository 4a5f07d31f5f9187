"""Reads the disk that a model's folder is on: room, and how fast a large file comes from it.

The file is read past the page cache (O_DIRECT), a few hundred megabytes or a few seconds of it,
whichever ends first. Trade-offs accepted: nothing is written, so that a folder without a large
file has no measured speed; the cache of a storage server or of a virtual machine's host is not
passed; and one reader at a time measures less than a disk gives to many.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

from hw_profiles.reading import Disk, Maybe, Unknown

READ_BYTES = 256 * 2**20
READ_S = 3.0
BLOCK_BYTES = 16 * 2**20
SMALLEST_BYTES = 64 * 2**20  # below, starting to read counts for more than reading


def read(folder: Path) -> Disk:
    """The disk of a folder that is there, or of the nearest one above where it will be."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
    sizes = _sizes(folder) if there == folder.absolute() else {}
    return Disk(
        folder=str(folder),
        free_gb=_free_gb(there),
        present_gb=sum(sizes.values()) / 1e9,
        read_mb_per_s=_speed(sizes),
    )


def _sizes(folder: Path) -> dict[Path, int]:
    """The files of a folder and of those in it, links followed: a hub's cache holds links."""
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def _free_gb(folder: Path) -> Maybe[float]:
    try:
        room = os.statvfs(folder)
    except OSError as error:
        return Unknown(reason=f"{folder}: {error.strerror}")
    return room.f_bavail * room.f_frsize / 1e9


def _speed(sizes: dict[Path, int]) -> Maybe[float]:
    largest = max(sizes, key=sizes.__getitem__, default=None)
    if largest is None or sizes[largest] < SMALLEST_BYTES:
        return Unknown(reason=f"no file of {SMALLEST_BYTES // 2**20} MiB is there to be read")
    try:
        return read_mb_per_s(largest)
    except OSError as error:
        return Unknown(reason=f"{largest} cannot be read past the page cache: {error.strerror}")


def read_mb_per_s(path: Path) -> float:
    """How fast a file is read past the page cache. Raises OSError, also where that is refused."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, BLOCK_BYTES) as block:  # aligned to pages, as O_DIRECT demands
            began = time.monotonic()
            total = seconds = 0.0
            while total < READ_BYTES and seconds < READ_S:
                count = os.readv(descriptor, [block])
                seconds = time.monotonic() - began
                if count == 0:
                    break
                total += count
            return total / seconds / 1e6
    finally:
        os.close(descriptor)
