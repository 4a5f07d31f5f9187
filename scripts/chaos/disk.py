"""A disk that is full in the middle of a run, and has room again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from scripts.chaos.driving import LONGEST_S, Engine, Scene

SIZE = 4 << 20  # of the tmpfs
LEFT = 200 << 10  # bytes that the filler leaves, for the run to begin with
FULL_S = 3.0  # how long it stays full


@contextmanager
def small(folder: Path) -> Generator[Path | None]:
    """A tmpfs on `folder`, and a file that fills it but for `LEFT`; None: there is no right to."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "chaos", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        filler = folder / "filler"
        filler.write_bytes(bytes(SIZE - LEFT))
        yield filler
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def run_full(scene: Scene, engine: Engine, filler: Path) -> list[str]:
    """A run that meets the end of the disk; what was wrong about it."""
    driver = scene.begun("disturbed", engine, "tiny-tasks-raw", 3)
    said = scene.said("disturbed")
    deadline = time.monotonic() + LONGEST_S
    while b"no room for more" not in said.read_bytes():
        if driver.poll() is not None or time.monotonic() > deadline:
            driver.kill()
            return [f"full disk: it was never met: {said.read_text()[-500:]}"]
        time.sleep(0.05)
    journal = next(scene.run_folder("disturbed").glob("records/*/local.jsonl"))
    before = journal.read_bytes()
    time.sleep(FULL_S)
    problems: list[str] = []
    if journal.read_bytes() != before:
        problems.append("full disk: the journal changed while there was no room")
    filler.unlink()
    if driver.wait(LONGEST_S):
        problems.append(f"full disk: it did not go on: {said.read_text()[-500:]}")
    return problems
