"""`enginediff run` on real engines that are killed, by a driver that is killed: the same command
again answers every case once, and says what it found."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.runs import journal
from tests.engines.command_line import CLI
from tests.engines.test_serve import engine_of
from tests.specs import ALL, spec_text

SUITES = {"tiny-tasks": 60, "tiny-tasks-raw": ALL}  # of 60 and 120 cases
EPOCHS = 3
REQUESTS = EPOCHS * (60 + 120)
RAW = range(EPOCHS * 60, REQUESTS)
TRIES = 100


def begun(spec: Path, folder: Path, told: Path) -> subprocess.Popen[str]:
    with told.open("w") as stderr:
        return subprocess.Popen(
            [CLI, "run", spec, "--run", folder], stdout=subprocess.PIPE, stderr=stderr, text=True
        )


def done(folder: Path) -> int:
    status = folder / "status.json"
    if not status.exists():
        return 0
    return sum(one["done"] for one in json.loads(status.read_bytes())["engines"])


def mid_answer(folder: Path, name: str) -> int:
    """Raw requests of which a few tokens have been noted, and more are to come."""
    tokens = Counter[int]()
    for line in journal.read(folder / "records" / name / "local.jsonl"):
        if line["kind"] == "parts":
            tokens.update(n for n, part in line["parts"] if part.get("token_ids"))
        elif line["kind"] in ("sent", "ended"):
            tokens.pop(line["n"], None)
    return sum(n in RAW and count > 2 for n, count in tokens.items())


def kill_mid_answer(pid: int, folder: Path, name: str) -> None:
    """With no grace, when it holds some raw answers up: it is stopped to be looked at."""
    for _ in range(TRIES):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.1)  # for what it has sent
        if mid_answer(folder, name) > 2:
            os.kill(pid, signal.SIGKILL)
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError(f"no raw answers are under way in {folder}")


def until(true: Callable[[], bool], driver: subprocess.Popen[str], told: Path) -> None:
    deadline = time.monotonic() + 240
    while not true():
        assert driver.poll() is None, told.read_text()
        assert time.monotonic() < deadline, told.read_text()
        time.sleep(0.05)


def answers(folder: Path) -> list[dict[str, Any]]:
    (path,) = (folder / "answers").iterdir()
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.engines
@pytest.mark.parametrize("pin", ["tiny-moe/vllm-cpu", "tiny-moe/sglang-cpu"])
def test_every_case_is_answered_once_though_engine_and_driver_are_killed(
    pin: str, tmp_path: Path
) -> None:
    spec, folder, told = tmp_path / "run.toml", tmp_path / "run", tmp_path / "told"
    text = spec_text([(pin, ())], SUITES, epochs=EPOCHS, limits={"in_flight": 16})
    spec.write_text(text, "utf-8")
    driver = begun(spec, folder, told)
    name = f"1-{pin.replace('/', '-')}"
    until(lambda: done(folder) > 0, driver, told)

    engine, _ = engine_of(driver)
    kill_mid_answer(engine, folder, name)
    until(lambda: "starting it again" in told.read_text(), driver, told)
    second = subprocess.run(
        [CLI, "run", spec, "--run", folder], capture_output=True, text=True, check=False
    )
    assert second.returncode == 2 and f"process {driver.pid}" in second.stderr
    shown = subprocess.run([CLI, "status", folder], capture_output=True, text=True, check=True)
    assert f"process {driver.pid}" in shown.stdout and f"of {REQUESTS} done" in shown.stdout
    before = done(folder)
    until(lambda: done(folder) > before + 50, driver, told)
    kill_mid_answer(driver.pid, folder, name)
    driver.communicate()
    assert done(folder) < REQUESTS

    last = begun(spec, folder, told)
    out, _ = last.communicate(timeout=240)
    assert last.returncode == 0, told.read_text()
    found = re.search(rf"found of .*: (\d+) of {REQUESTS} answered, 0 failed", told.read_text())
    assert found and int(found[1]) > before + 50
    assert f"{REQUESTS} of {REQUESTS} answered" in out

    given = answers(folder)
    assert sorted(one["n"] for one in given) == list(range(REQUESTS))
    assert {one["outcome"] for one in given} == {"answered"}
    lines = list(journal.read(folder / "records" / name / "local.jsonl"))
    assert sum(line["kind"] == "opened" for line in lines) == 3
    assert [line["end"] for line in lines if line["kind"] == "engine"] == ["died"]
    assert any(line.get("outcome") == "engine" for line in lines)
    final = [line["n"] for line in lines if line["kind"] == "ended" and line["final"]]
    assert sorted(final) == list(range(REQUESTS))
    # Raw answers are gone on with, and come to as much as any other.
    continued = [one for one in given if one["continued"]]
    assert continued and all(one["suite"] == "tiny-tasks-raw" for one in continued)
