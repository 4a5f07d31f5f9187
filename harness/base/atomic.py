"""A file is either the old one, the new one, or not there: never half of one.

Trade-offs accepted: the temporary file lies beside its target (a rename must not cross file
systems), and is left behind by a power cut, under a name that nothing reads.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Yields a temporary path; when the block ends well it becomes `path`, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `path` whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
