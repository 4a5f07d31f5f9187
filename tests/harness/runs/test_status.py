"""What a run says of itself is read by another process, while it lives and when it is dead."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from harness.runs import folder, spec, status
from harness.runs.retry import Failure
from harness.runs.watch import Watch
from tests.harness.runs.made_up import TOML

RUN = """
import sys, time
from pathlib import Path
from harness.runs import folder, spec, status
from harness.runs.watch import Watch
path = Path(sys.argv[2])
watch = Watch(engine="e", total=9, state="running")
with folder.held(Path(sys.argv[1]), path, spec.load(path)):
    with status.told(Path(sys.argv[1]), lambda: [watch], "http://there/metrics", lambda _: None):
        print("told", flush=True)
        time.sleep(600)
"""


def test_a_live_run_is_read_with_its_process_and_a_dead_one_as_it_was(tmp_path: Path) -> None:
    path, run = tmp_path / "run.toml", tmp_path / "r"
    path.write_text(TOML, "utf-8")
    command = [sys.executable, "-c", RUN, str(run), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"told\n"
            alive, who = status.read(run)
            assert who == process.pid
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    dead, nobody = status.read(run)
    assert nobody is None
    assert asdict(dead)["engines"] == asdict(alive)["engines"]
    assert (alive.metrics, alive.engines[0].state) == ("http://there/metrics", "running")
    assert abs(time.time() - alive.written) < 60


def test_it_is_renewed_and_says_at_its_end_what_it_came_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "EVERY_S", 0.01)
    path = tmp_path / "run.toml"
    path.write_text(TOML, "utf-8")
    run = tmp_path / "r"
    watches, shown = [Watch(engine="a", total=9)], list[int]()
    with folder.held(run, path, spec.load(path)):
        with status.told(run, lambda: watches, "u", lambda given: shown.append(len(given))):
            watches.append(Watch(engine="b", total=4))
            deadline = time.monotonic() + 10
            while len(status.read(run)[0].engines) < 2 and time.monotonic() < deadline:
                time.sleep(0.005)
            assert [one.engine for one in status.read(run)[0].engines] == ["a", "b"]
            watches[0].asked(0.0)
            watches[0].ended("answered", 0.0, 1.0)
        assert status.read(run)[0].engines[0].done == 1
    assert shown and set(shown) <= {1, 2}
    assert not list(run.glob(".*"))


def test_what_is_told_of_an_engine_is_what_its_watch_has() -> None:
    watch = Watch(
        engine="e",
        total=10,
        state="running",
        in_flight=2,
        allowed=3,
        tokens=500,
        restarts=1,
        began=100.0,
        failures=Counter({Failure.STALLED: 2, Failure.SERVER: 1}),
        nodes={"b": Watch(engine="e", total=10, state="no word for 7 s", tokens=40, began=102.0)},
    )
    for outcome in ("answered", "answered", "answered", "answered", "refused"):
        watch.asked(0.0)
        watch.ended(outcome, 0.0, 4.0)
    told = status.of(watch, 110.0)
    assert asdict(told) == {
        "engine": "e",
        "state": "running",
        "total": 10,
        "done": 5,
        "failed": 1,
        "in_flight": 2,
        "allowed": 3,
        "tokens": 500,
        "tokens_per_s": 50.0,
        "attempts_failed": 3,
        "restarts": 1,
        "left_s": told.left_s,
        "nodes": (
            {
                "node": "b",
                "state": "no word for 7 s",
                "done": 0,
                "in_flight": 0,
                "tokens_per_s": 5.0,
                "restarts": 0,
            },
        ),
    }
    assert told.left_s == ()  # five, and two at once: too little is known
    watch.paused = True
    assert status.of(watch, 110.0).state == "waits for room on the disk"
    assert status.of(Watch(engine="e", total=1, began=0.0), 1.0).left_s == ()


def test_a_folder_where_no_run_has_said_anything_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        status.read(tmp_path)
    (tmp_path / folder.LOCK).touch()
    with pytest.raises(ConfigError, match="no run has said anything"):
        status.read(tmp_path)
