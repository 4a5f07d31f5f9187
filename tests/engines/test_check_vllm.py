"""The main job with a real vLLM: healthy, dead, interrupted. Faults are the zoo's: test_zoo.py."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from harness.candidate import Opened
from tests.engines.command_line import CLI, run, shown_right, verdict_of

PIN = "tiny-moe/vllm-cpu"


def engines(marker: str) -> list[int]:
    """The vLLM processes that have `marker` on their command line."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if "vllm.entrypoints" in line and marker in line:
            found.append(int(folder.name))
    return found


def test_a_healthy_server_is_equivalent(vllm: Opened, trace: Path) -> None:
    verdict, code = verdict_of(vllm.url, "--against", trace)
    shown_right(verdict, code)
    assert {"verdict", "level", "tokens", "seconds", "statistics", "tolerances"} <= set(verdict)
    levels = {level["level"]: level for level in verdict["levels"]}
    assert {levels[name]["word"] for name in ("L0", "L2", "L1")} == {"EQUIVALENT"}
    contract, answers = (" ".join(levels[name]["reasons"]) for name in ("L0", "L0b"))
    assert "57 further chats (thinking, tools, turns, odd content) become the same" in contract
    assert "8 of 8 chats say the same streamed and unstreamed" in answers
    assert "usage.prompt_tokens is right" in answers
    run_folder = Path(verdict["run"])
    assert (run_folder / "report.html").read_text().count("EQUIVALENT") > 1
    assert (run_folder / "tokens" / "evidence.parquet").stat().st_size > 1000


def test_an_engine_that_dies_while_loading_is_told_with_its_log(trace: Path) -> None:
    done = run("check", PIN, "--set", "args.block-size=banana", "--against", trace)
    assert done.returncode == 4
    assert "banana" in done.stderr
    assert "vllm.entrypoints" in done.stderr
    assert "Traceback" not in done.stderr.split("log:")[0]


def test_an_engine_that_is_killed_while_it_answers_is_no_verdict(trace: Path) -> None:
    check = subprocess.Popen(
        [CLI, "check", PIN, "--set", "args.seed=4242", "--against", str(trace), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert check.stderr is not None
    for line in check.stderr:
        if line.startswith("L2"):
            break
    pids = engines("--seed 4242")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    output, errors = check.communicate(timeout=120)
    assert pids
    assert (check.returncode, output) == (4, ""), errors


def test_ctrl_c_during_the_launch_leaves_no_engine(trace: Path) -> None:
    check = subprocess.Popen(
        [CLI, "check", PIN, "--set", "args.seed=4343", "--against", str(trace)],
        stderr=subprocess.PIPE,
        text=True,
    )
    began = time.monotonic()
    while not engines("--seed 4343") and time.monotonic() - began < 60:
        time.sleep(0.2)
    check.send_signal(signal.SIGINT)
    _, errors = check.communicate(timeout=120)
    assert check.returncode == 130
    assert "interrupted" in errors
    assert engines("--seed 4343") == []


def test_a_trace_of_another_model_is_refused(trace: Path) -> None:
    done = run("check", "tiny-k2/vllm-cpu", "--against", trace)
    assert done.returncode == 2
    assert "tiny-k2" in done.stderr and "tiny-moe" in done.stderr
