"""The main job with a real vLLM: healthy, wrongly set, broken as released, dead, interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from harness import candidate
from harness.candidate import Opened
from launchers.pins import MODELS
from tests.engines.command_line import CLI, run, shown_right, verdict_of

ROPE = 'args.hf-overrides.rope_parameters={"rope_type": "default", "rope_theta": 20000.0}'
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
    contract = " ".join(levels["L0"]["reasons"])
    assert "57 further chats (thinking, tools, turns, odd content) become the same" in contract
    assert "8 of 8 chats say the same streamed and unstreamed" in contract
    run_folder = Path(verdict["run"])
    assert (run_folder / "report.html").read_text().count("EQUIVALENT") > 1
    assert (run_folder / "tokens" / "evidence.parquet").stat().st_size > 1000


def test_a_doubled_rope_base_is_different(trace: Path) -> None:
    verdict, code = verdict_of(PIN, "--set", ROPE, "--against", trace)
    assert (verdict["verdict"], verdict["level"], code) == ("DIFFERENT", "L2", 1)
    assert verdict["worst_segment"]["tokens"]


def test_list_content_as_a_python_list_and_another_temperature_are_each_named(
    trace: Path, tmp_path: Path
) -> None:
    """A lost generation prompt: test_attached.py."""
    template = tmp_path / "template.jinja"
    right = (MODELS / "tiny-moe" / "chat_template.jinja").read_text()
    text_of_parts = "{{- part.text -}}{%- endfor -%}"
    assert text_of_parts in right
    template.write_text(right.replace(text_of_parts, "{%- endfor -%}{{- message.content -}}"))
    changes = [
        f"args.chat-template={template}",
        'args.override-generation-config={"temperature" = 0.6}',
    ]
    loaded = candidate.prepared(PIN, changes)
    with candidate.opened(PIN, loaded, log=tmp_path / "log", announce=lambda _: None) as wrong:
        assert wrong.running is not None
        assert [str(difference) for difference in wrong.running.differences] == [
            "sampling.temperature of a request that sends none: the pin says 1.0, the engine "
            "runs 0.6"
        ]
        verdict, code = verdict_of(wrong.url, "--against", trace)
    assert (verdict["verdict"], verdict["level"], code) == ("DIFFERENT", "L0", 1)
    assert "rendered otherwise" in verdict["reasons"][0]
    candidates = verdict["reasons"][0].partition(", candidate ")[2]
    assert "type" in candidates, "of [{'type': 'text', ..."


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
