"""Fetches the data from outside that `suites/outside.py` reads, each file by commit and hash.

python -m scripts.fetch_data FOLDER

A file that is there already, as it is pinned, is kept; nothing is written that is not as pinned.
Then ENGINEDIFF_DATA=FOLDER. The data is not ours: its licences come with it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from harness.base import atomic, strict_toml
from harness.base.errors import EnginediffError

PINS = Path(__file__).parent / "data-pins.toml"
TIMEOUT_S = 30.0


class FetchError(EnginediffError):
    """A file could not be had as it is pinned."""

    exit_code = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    path: str  # in the repository
    to: str  # in the source's folder
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    name: str  # of its folder
    commit: str
    url: str  # of the repository's files, {commit} where the commit stands
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    schema: int
    sources: tuple[Source, ...]


def read(path: Path) -> Pins:
    return strict_toml.convert(Pins, strict_toml.load(path), str(path))


def fetch(pins: Pins, folder: Path) -> int:
    """Writes what is missing below `folder`; how many files that were.

    FetchError: a file could not be had, or is not as it is pinned. Those before it are written.
    """
    written = 0
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=True) as client:
        for source in pins.sources:
            for file in source.files:
                target = folder / source.name / file.to
                if not target.is_file() or _sha256(target.read_bytes()) != file.sha256:
                    atomic.write_bytes(target, _content(client, source, file))
                    written += 1
    return written


def _content(client: httpx.Client, source: Source, file: File) -> bytes:
    url = f"{source.url.format(commit=source.commit)}/{file.path}"
    try:
        answer = client.get(url).raise_for_status()
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise FetchError(f"{url}: the server answered {status}; the file must be there") from error
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise FetchError(f"{url}: it cannot be fetched from here: {why}") from error
    if (found := _sha256(answer.content)) != file.sha256:
        raise FetchError(f"{url}: its sha256 is {found}; it must be {file.sha256}")
    return answer.content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetches the data from outside, as pinned.")
    parser.add_argument("folder", type=Path, help="where the data is to lie")
    folder = parser.parse_args().folder
    try:
        pins = read(PINS)
        written = fetch(pins, folder)
    except EnginediffError as error:
        print(f"fetch_data: {error}", file=sys.stderr)
        return error.exit_code
    count = sum(len(source.files) for source in pins.sources)
    print(f"{folder}: {count} files, {written} of them fetched now")
    return 0


if __name__ == "__main__":
    sys.exit(main())
