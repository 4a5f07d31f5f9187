"""`enginediff verify` on a real vLLM and a real SGLang, with and without their contract enforced:
killed twice on the way, the same command comes to one table."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.engines.command_line import CLI

VLLM, SGLANG = "tiny-moe/vllm-cpu", "tiny-moe/sglang-cpu"
NAMES = [VLLM, f"{VLLM}, enforced", SGLANG, f"{SGLANG}, enforced"]
OPTIONS = ("--enforce", "--quick", "--max-tokens", "128", "--json")  # in half the time
SOUND = ("thinking-history", "prompt-tokens", "ending")  # that no engine here is known to break


def begun(trace: Path, folder: Path, told: Path) -> subprocess.Popen[str]:
    with told.open("a") as stderr:
        return subprocess.Popen(
            [CLI, "verify", VLLM, SGLANG, *OPTIONS, "--against", trace, "--run", folder],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )


def killed_when(true: Callable[[], bool], process: subprocess.Popen[str], told: Path) -> None:
    """With no grace; what it has started dies with it."""
    deadline = time.monotonic() + 240
    while not true():
        assert process.poll() is None, told.read_text()
        assert time.monotonic() < deadline, told.read_text()
        time.sleep(0.05)
    process.kill()
    process.communicate()


def done(folder: Path) -> int:
    status = folder / "owed" / "status.json"
    if not status.exists():
        return 0
    return sum(one["done"] for one in json.loads(status.read_bytes())["engines"])


def test_two_engines_with_and_without_enforcement_are_one_table(
    trace_short: Path, tmp_path: Path
) -> None:
    folder, told = tmp_path / "run", tmp_path / "told"
    first = folder / "candidates" / "0" / "verdict.json"
    killed_when(first.exists, begun(trace_short, folder, told), told)
    verdict = first.read_bytes()
    killed_when(lambda: done(folder) > 100, begun(trace_short, folder, told), told)
    before = done(folder)
    last = begun(trace_short, folder, told)
    out, _ = last.communicate(timeout=400)
    assert out, told.read_text()
    found: dict[str, Any] = json.loads(out)

    assert first.read_bytes() == verdict  # not checked again
    assert f"found of {VLLM}: " in told.read_text() and before > 100
    assert last.returncode == found["exit_code"]
    assert [one["name"] for one in found["deployments"]] == NAMES
    for one in found["deployments"]:
        counts = {suite["suite"]: suite["counts"] for suite in one["suites"]}
        for suite in one["suites"]:
            assert sum(suite["counts"].values()) == suite["cases"] > 0
        assert not any({"broken", "unanswered"} & counts[name].keys() for name in SOUND), counts
        lax = counts["parameters"].get("not enforced", 0)
        assert (lax == 0) == one["enforced"], counts["parameters"]
        assert not {"broken", "unanswered"} & counts["parameters"].keys()
        assert one["failed"] is None and one["checked"]["word"] != "DIFFERENT"
        for known in one["known"]:  # no more than that
            assert known["found"] == sum(sum(hows.values()) for hows in known["counts"].values())
        assert one["word"] != "DIFFERENT", one["reasons"]
        assert {arm["way"] for arm in one["applied"]} >= {"sent", "unsent"}

    page = (folder / "report.html").read_text("utf-8")
    differing = [r for r in found["rows"] if len({h["how"] for h in r["held"].values()}) > 1]
    assert any(row["suite"] == "parameters" for row in differing)
    assert all(row["case"] in page for row in differing)
    assert found["not_run"]["tool-schemas-walle"] == "--quick leaves it out"
