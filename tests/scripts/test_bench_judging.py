"""The bench: real-shaped evidence, all of it judged, in memory that does not grow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from harness import evidence
from scripts import bench_judging

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench_judging.py"


def test_evidence_has_the_tokens_asked_for_and_every_prompt_is_judged(tmp_path: Path) -> None:
    path = tmp_path / "evidence.parquet"
    bench_judging.made(path, 400_000, 150)
    rows = pq.read_metadata(path).num_rows
    assert 130 < 400_000 / rows < 170
    lengths = np.concatenate(
        [np.diff(found.bounds) for _, found in evidence.distances(path, level="L2")]
    )
    assert (len(lengths), lengths.sum()) == (rows, 400_000)
    assert np.quantile(lengths, 0.05) < 20 < 300 < np.quantile(lengths, 0.95)
    judge = bench_judging.judged(path)
    assert sum(judge.drawn(stratum) for stratum in bench_judging.STRATA) == rows
    assert judge.settled("chat")  # and still all were judged


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, "--repeats", "1", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_three_times_the_tokens_take_no_more_memory() -> None:
    """Held, the columns of two million tokens more would take 42 MiB, and FLAT_MIB are allowed."""
    done = run("--tokens", "1000000", "3000000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("M tokens a second") == 2


def test_too_slow_is_an_exit_code() -> None:
    done = run("--tokens", "20000", "--floor", "1e12")
    assert done.returncode == 1
    assert "below the floor" in done.stdout
