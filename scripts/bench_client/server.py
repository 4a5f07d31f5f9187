"""The mock server: compiled from `server.c` where it is needed, one process a client."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from harness.base.errors import BuildError, LaunchError

SOURCE = Path(__file__).with_name("server.c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What the server says of itself, since it started."""

    streams: int
    tokens: int
    mean_late_ms: float
    worst_late_ms: float
    cpu_s: float


def compiled(folder: Path) -> Path:
    """The server's program, in `folder`. Raises BuildError where it cannot be made."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise BuildError("the mock server is in C: install a compiler that is called `cc`")
    program = folder / "server"
    command = [compiler, "-O2", "-o", str(program), str(SOURCE)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise BuildError(f"{' '.join(command)}: exit {made.returncode}\n{made.stderr}")
    return program


@contextmanager
def serving(program: Path, *, interval_us: int, arrival: str) -> Generator[str]:
    """Its URL; `arrival`: spread or steps. It is killed at the end, and ends with this process."""
    command = [str(program), str(interval_us), arrival]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise LaunchError(f"{' '.join(command)}: exit {process.wait()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def stats(url: str) -> Stats:
    answered = httpx.get(f"{url}/stats", trust_env=False)
    return Stats(**answered.raise_for_status().json())
