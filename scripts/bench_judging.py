"""How fast recorded evidence is judged, and in how much memory: `make bench`.

    python scripts/bench_judging.py --tokens 1000000 10000000 --floor 5e6

Evidence of L2 is made up, with lengths like the corpus', and written as a check writes it. A
process of its own, on one core, judges all of it prompt for prompt (A, K, F, S, the e-processes,
the word), in turn with a pass of plain numpy over the same columns of the same file, which knows
nothing of prompts. A second is one of the process's own: what else runs on the core has no part in
it. Exit code 1 below the floor, or where the largest evidence takes more memory than the smallest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness import evidence
from harness.base.record import Distance
from harness.checker.judge import Judge
from harness.checker.tolerance import Tolerance
from harness.levels import forced

STRATA = ("chat", "tools", "thinking", "long", "text", "code")
IN_TURN = 8  # prompts of a stratum, then of the next, as they are drawn
SPREAD = 1.2  # of the logarithm of a length: in the corpus 90 % lie between 10 and 500 tokens
LONGEST = 4096  # tokens of a prompt
NOISE = 0.005  # nats: half of the tolerance
FLAT_MIB = 32  # beyond the smallest evidence: allocators vary by 20, a million tokens have 21
TOLERANCE = Tolerance(
    stratum="any",
    tau_a=0.01,
    tau_k=0.01,
    tau_f=0.1,
    c_token=0.5,
    m0=0.05,
    s0=0.2,
    benign_d_999=0.1,
    benign_mean_d=0.005,
)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def made(path: Path, tokens: int, length: int) -> None:
    """Evidence of that many tokens, in prompts whose mean is `length`."""
    rng = np.random.default_rng(0)
    number = 0
    with evidence.written(path) as file:
        while tokens > 0:
            wanted = rng.lognormal(np.log(length) - SPREAD**2 / 2, SPREAD)
            count = min(max(round(wanted), 1), LONGEST, tokens)
            stratum = STRATA[number // IN_TURN % len(STRATA)]
            file.add("L2", stratum, f"{stratum}-{number}", _distance(rng, count))
            number, tokens = number + 1, tokens - count


def _distance(rng: np.random.Generator, count: int) -> Distance:
    """Of logprobs as engines give them, float32; one token in six is equal to the bit."""
    reference = -rng.exponential(1.0, count).astype(np.float32)
    noise = rng.normal(0, NOISE, count) * (rng.random(count) > 1 / 6)
    d = (reference + noise).astype(np.float32).astype(np.float64) - reference
    margin = rng.exponential(2.0, count)
    return Distance(
        d=d,
        divergence=d**2,
        flip=margin < np.abs(d),
        margin=margin,
        margin_change=np.abs(d),
    )


def judged(path: Path) -> Judge:
    """All prompts, to the last one: nothing is settled before."""
    prompts = pq.read_metadata(path).num_rows
    groups = dict.fromkeys(STRATA, (prompts, TOLERANCE))
    judge = Judge(level="L2", groups=groups, alpha=0.002, beta=0.005)
    forced.rejudge(judge, path)
    judge.word()
    return judge


def plain(path: Path) -> None:
    """What numpy takes for the same columns, without a prompt, a stratum or a bet."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, columns=evidence.JUDGED, use_threads=False)
            d, divergence, flip, margin = (
                table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
                for name in evidence.JUDGED
            )
            np.minimum(np.abs(d), TOLERANCE.c_token).mean()
            divergence.mean()
            (flip & (margin > TOLERANCE.m0)).mean()


def measured(path: Path, repeats: int) -> dict[str, Any]:
    """Of this process: MiB before and after judging, then the seconds of both, in turn."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    before = _peak_mib()
    judge = judged(path)
    after = _peak_mib()
    pairs = [(_seconds(judged, path), _seconds(plain, path)) for _ in range(repeats)]
    prompts = sum(judge.drawn(stratum) for stratum in STRATA)
    return {"before": before, "after": after, "pairs": pairs, "prompts": prompts}


def _seconds(work: Callable[[Path], object], path: Path) -> float:
    began = time.process_time()
    work(path)
    return time.process_time() - began


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(*words: str) -> str:
    """What this script says in a process of its own."""
    command = [sys.executable, __file__, *words]
    environment = {**os.environ, **ONE_THREAD}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return done.stdout


def bench(tokens: int, length: int, repeats: int) -> tuple[float, float]:
    """Tokens a second, and MiB at the peak; says both in a line."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "evidence.parquet"
        alone("--make", str(path), "--tokens", str(tokens), "--length", str(length))
        found = json.loads(alone("--measure", str(path), "--repeats", str(repeats)))
        size = path.stat().st_size / 2**20
    ours, theirs = (
        tokens / statistics.median(seconds) for seconds in zip(*found["pairs"], strict=True)
    )
    ratio = statistics.median(theirs / ours for ours, theirs in found["pairs"])
    print(
        f"{tokens:11,} tokens, {found['prompts']:,} prompts, {size:.0f} MiB: judged "
        f"{ours / 1e6:.1f} M tokens a second, plain numpy {theirs / 1e6:.1f} M, ratio {ratio:.2f} "
        f"(median of {repeats}); at the peak {found['after']:.0f} MiB, "
        f"{found['before']:.0f} before",
        flush=True,
    )
    return ours, found["after"]


def machine() -> str:
    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    load = os.getloadavg()[0]
    return (
        f"judging, on one core of {cpu} ({os.cpu_count()} cores, load {load:.1f}); "
        f"Python {platform.python_version()}, numpy {np.__version__}, pyarrow {pa.__version__}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--length", type=int, default=150, help="mean tokens of a prompt")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--floor", type=float, default=0, help="tokens a second that are too few")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name, least in (("tokens", min(options.tokens)), ("length", options.length)):
        if least < 1:
            parser.error(f"--{name} {least}: must be 1 or more")
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}: must be 1 or more")
    if options.make:
        made(options.make, options.tokens[0], options.length)
        return 0
    if options.measure:
        print(json.dumps(measured(options.measure, options.repeats)))
        return 0
    print(machine(), flush=True)
    found = [bench(tokens, options.length, options.repeats) for tokens in options.tokens]
    slowest, more = min(speed for speed, _ in found), found[-1][1] - found[0][1]
    if slowest < options.floor:
        print(f"below the floor of {options.floor / 1e6:g} M tokens a second")
    if more > FLAT_MIB:
        print(f"memory is not flat: {more:.0f} MiB more, at most {FLAT_MIB} are right")
    return int(slowest < options.floor or more > FLAT_MIB)


if __name__ == "__main__":
    sys.exit(main())
