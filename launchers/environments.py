"""An engine's own virtual environment, built from a lock: exact versions, installed by pip.

`<home>/environments/<name>-<key>` is the environment; beside it lie `.lock`, which its builder
holds, and `.log`, pip's whole output. `complete.json` is written last: a folder without it is what
an interrupted build left, and the next build starts anew. The `.lock` files are never removed, for
another builder may be waiting on one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.base import atomic
from harness.base.errors import BuildError, ConfigError
from harness.base.home import home
from launchers.installation import Installation, install

LOCKS = Path(__file__).with_name("locks")
SCHEMA = 1
COMPLETE = "complete.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An environment that is complete."""

    name: str
    key: str  # SHA-256 of the lock's text and Python's major.minor
    path: Path
    size_bytes: int
    built_at: str  # ISO 8601, UTC

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"


def known(*, locks: Path = LOCKS) -> list[str]:
    """The names that can be built."""
    return sorted(lock.stem for lock in locks.glob("*.txt"))


def find(name: str, *, locks: Path = LOCKS) -> Environment | None:
    """The environment of the present lock and Python, where it is built."""
    return _read(_folder(name, _key(_lock_text(name, locks))))


def require(name: str, *, locks: Path = LOCKS) -> Environment:
    """As `find`; raises ConfigError where it is not built."""
    environment = find(name, locks=locks)
    if environment is None:
        raise ConfigError(f"environment {name} is not built; run: enginediff env build PIN")
    return environment


def build(name: str, *, announce: Callable[[str], None], locks: Path = LOCKS) -> Environment:
    """The environment, built where it is not yet; waits for another process that builds it.

    Raises BuildError, and then leaves nothing but the log.
    """
    text = _lock_text(name, locks)
    folder = _folder(name, _key(text))

    def wait() -> None:
        announce(f"{name}: waiting for another process that builds it")

    try:
        built = _read(folder)
        if built is not None:
            return built
        with _exclusive(folder, busy=wait) as held:
            return _read(folder) or _build(name, text, folder, held, announce)
    except OSError as error:
        raise BuildError(f"{name}: cannot write {folder}: {error.strerror}") from error


def list_built() -> list[Environment]:
    """Every complete environment, also of locks that have changed since."""
    found = (_read(marker.parent) for marker in _root().glob(f"*/{COMPLETE}"))
    return sorted((e for e in found if e is not None), key=lambda e: (e.name, e.built_at))


def remove(name: str, *, locks: Path = LOCKS) -> int:
    """Removes whatever was built under this name, now or earlier; returns the bytes freed."""
    pattern = re.compile(re.escape(name) + r"-[0-9a-f]{12}")
    folders = [f for f in _root().glob("*/") if pattern.fullmatch(f.name)]
    if not folders:
        names = ", ".join(known(locks=locks))
        raise ConfigError(f"environment {name} is not built; the known ones are {names}")

    def refuse() -> None:
        raise ConfigError(f"environment {name} is being built by another process")

    freed_bytes = 0
    for folder in folders:
        with _exclusive(folder, busy=refuse):
            freed_bytes += _size_bytes(folder)
            (folder / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(folder)
            _beside(folder, ".log").unlink(missing_ok=True)
    return freed_bytes


def _build(
    name: str, text: str, folder: Path, held: int, announce: Callable[[str], None]
) -> Environment:
    if folder.exists():
        announce(f"{name}: removing what an interrupted build left")
        shutil.rmtree(folder)
    log = _beside(folder, ".log")
    log.unlink(missing_ok=True)
    plan = Installation(name=name, lock_text=text, folder=folder, log=log, held=held)
    try:
        install(plan, announce)
        return _complete(name, _key(text), folder)
    finally:
        if not (folder / COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)  # if that fails too, the next build does it


def _complete(name: str, key: str, folder: Path) -> Environment:
    """Writes the marker, and with it the environment is there."""
    fields: dict[str, Any] = {
        "name": name,
        "key": key,
        "size_bytes": _size_bytes(folder),
        "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    content = json.dumps({"schema": SCHEMA, **fields}, indent=2) + "\n"
    atomic.write_bytes(folder / COMPLETE, content.encode())
    return Environment(path=folder, **fields)


def _read(folder: Path) -> Environment | None:
    try:
        fields = json.loads((folder / COMPLETE).read_bytes())
    except FileNotFoundError:
        return None
    del fields["schema"]
    return Environment(path=folder, **fields)


@contextmanager
def _exclusive(folder: Path, *, busy: Callable[[], None]) -> Generator[int]:
    """Holds the folder's lock, calling `busy` before it waits; yields the lock's descriptor."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _beside(folder, ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _lock_text(name: str, locks: Path) -> str:
    names = known(locks=locks)
    if name not in names:
        raise ConfigError(
            f"no environment is named {name!r}; the known ones are {', '.join(names)}"
        )
    return (locks / f"{name}.txt").read_text("utf-8")


def _key(text: str) -> str:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256(f"{text}\n{python}".encode()).hexdigest()


def _root() -> Path:
    return home() / "environments"


def _folder(name: str, key: str) -> Path:
    return _root() / f"{name}-{key[:12]}"


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(folder.name + suffix)


def _size_bytes(folder: Path) -> int:
    return sum(entry.lstat().st_size for entry in folder.rglob("*"))
