"""The main job with a real SGLang: healthy, not as pinned, killed. tiny-k2: test_candidates.py."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import orjson

from harness.candidate import Opened
from launchers.pins import GREEDY
from tests.engines.command_line import CLI, verdict_of

PIN = "tiny-moe/sglang-cpu"


def engines(marker: str) -> list[int]:
    """The main processes of SGLang that have `marker` on their command line."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if "sglang.launch_server" in line and "multiprocessing" not in line and marker in line:
            found.append(int(folder.name))
    return found


def test_a_healthy_server_runs_as_pinned(sglang: Opened) -> None:
    """That it is EQUIVALENT: test_zoo.py."""
    assert sglang.running is not None
    assert (sglang.running.differences, sglang.running.unreported) == ((), ())


def test_a_healthy_vllm_runs_as_pinned(vllm: Opened) -> None:
    assert vllm.running is not None
    assert vllm.running.differences == ()
    assert {"engine.version", "dtype (numerics fp32)"} <= set(vllm.running.equal)


def test_a_score_is_computed_afresh_although_its_prompt_is_in_the_cache(sglang: Opened) -> None:
    asker = sglang.asker
    prompt = (764, 327, 266, 361, 481, 13, 330, 361, 439, 431, 266, 361, 504)
    first = asker.score([prompt], 20, at_once=1)[0]
    ask = asker.dialect.generate([prompt], max_new_tokens=1, sampling=GREEDY, seeds=[0], top_k=2)
    meta = orjson.loads(asker.endpoint.send(ask))[0]["meta_info"]
    assert meta["cached_tokens"] == len(prompt) - 1  # so there is a cache that a score could use
    again = asker.score([prompt], 20, at_once=1)[0]  # raises where any token is from the cache
    assert np.array_equal(first.logprobs, again.logprobs)


def test_the_answer_holds_the_token_that_ended_it(sglang: Opened) -> None:
    asker = sglang.asker
    prompt = (1632, 1630, 302, 1633, 1062, 1000, 266, 881, 371, 1365, 13, 1629, 1631, 298, 1633)
    (made,) = asker.generate(
        [prompt], max_new_tokens=100, sampling=GREEDY, seeds=[0], top_k=2, at_once=1
    )
    assert (made.finish_reason, made.token_ids[-1]) == ("stop", 1629)
    assert len(made.scores.logprobs) == len(made.token_ids)


def test_a_dtype_left_open_is_reported_before_any_statistic(trace_short: Path) -> None:
    verdict, code = verdict_of(PIN, "--set", "args.dtype=auto", "--against", trace_short)
    assert (verdict["verdict"], verdict["level"], code) == ("DIFFERENT", "pin", 1)
    assert verdict["reasons"][0] == (
        "dtype (numerics fp32): the pin says float32, the engine runs bfloat16"
    )
    assert (verdict["tokens"], verdict["statistics"]) == (0, [])
    assert "does not run as its pin says" in (Path(verdict["run"]) / "report.html").read_text()


def test_an_engine_that_is_killed_while_it_loads_is_told_with_its_log(trace_short: Path) -> None:
    check = subprocess.Popen(
        [CLI, "check", PIN, "--set", "args.random-seed=5151", "--against", trace_short, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    began = time.monotonic()
    while not engines("--random-seed 5151") and time.monotonic() - began < 60:
        time.sleep(0.2)
    time.sleep(4)  # of more than 10 that it loads
    pids = engines("--random-seed 5151")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    output, errors = check.communicate(timeout=120)
    assert pids
    assert engines("--random-seed 5151") == []
    assert (check.returncode, output) == (4, ""), errors
    assert "was killed by signal SIGKILL" in errors
    assert "sglang.launch_server" in errors and "log:" in errors
