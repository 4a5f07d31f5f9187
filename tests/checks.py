"""A check of one candidate as tests begin it: opened, nothing asked yet."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from harness import session
from harness.candidate import Opened
from harness.check import read_vocabulary
from harness.evidence import written
from harness.levels.state import Check, Settings
from harness.recording import Trace


@contextmanager
def checking(
    candidate: Opened, trace: Trace, folder: Path, live: Opened | None = None
) -> Generator[Check]:
    """Judged as fp32. `folder` takes its evidence."""
    with written(folder / "evidence.parquet") as evidence:
        check = Check(
            opened=candidate,
            trace=trace,
            tolerances=session.tolerances_of(trace, "fp32"),
            settings=Settings(seed=0, alpha=0.005, beta=0.005),
            evidence=evidence,
            announce=lambda _: None,
            live=live,
        )
        read_vocabulary(check)
        yield check
