"""Starts servers and drivers, and kills drivers and engines: by process id, its own alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.runs import ledger
from harness.runs.spec import LOCAL
from launchers.process import free_port

ROOT = Path(__file__).parents[2]
SERVER = Path(__file__).with_name("server.py")
INSIDE = Path(__file__).with_name("inside")
CLI = Path(sys.executable).with_name("enginediff")
SUITE = """\
[[suites]]
name = "{name}"
"""
LONGEST_S = 300.0  # of one driver
LONGEST_WAIT_S = 2.5  # before it is disturbed
TOKEN_S = 0.01
SPEC = """\
schema = 1
seed = 0
epochs = {epochs}
transport = "aiohttp"
nodes = {nodes}

{suites}
[[engines]]
name = "{engine}"
changes = {changes}

[sampling]
max_tokens = 300
seeded = false
thinking = {{ temperature = 1.0, top_p = 0.95 }}
instant = {{ temperature = 0.6, top_p = 0.95 }}

[limits]
in_flight = 16
attempts = 40
retries = 100000
idle_s = 2.0
total_s = 60.0
restarts = 40
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What a spec names."""

    name: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One kind of disturbance: an undisturbed run and a disturbed one, side by side."""

    name: str
    folder: Path
    rng: random.Random

    def run_folder(self, name: str) -> Path:
        return self.folder / name / "run"

    def ledger(self, name: str) -> Path:
        return self.folder / f"{name}.ledger"

    @contextmanager
    def server(self, name: str, *, faults: Mapping[str, float]) -> Generator[Engine]:
        """A fake engine that is reached by its URL."""
        port = free_port()
        env = {**os.environ, "CHAOS_PLAN": str(self._plan(name, faults))}
        command = [sys.executable, str(SERVER), "--port", str(port)]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                yield Engine(name=f"http://127.0.0.1:{port}")
            finally:
                process.terminate()

    @contextmanager
    def launched(
        self, name: str, *, faults: Mapping[str, float], token_s: float = TOKEN_S
    ) -> Generator[Engine]:
        """A fake engine that the driver starts, and minds: it stands where vLLM stands."""
        plan = self._plan(name, faults, token_s)
        yield Engine(
            name="tiny-moe/vllm-cpu",
            changes=(f"env.PYTHONPATH={INSIDE}", f"env.CHAOS_PLAN={plan}"),
        )

    def run(self, name: str, engine: Engine, suite: str, epochs: int) -> None:
        """To its end. RuntimeError where it does not come to it."""
        driver = self.begun(name, engine, suite, epochs)
        if driver.wait(LONGEST_S):
            raise RuntimeError(f"{self.name}: {name}: see {self.said(name)}")

    def run_and_kill(
        self,
        name: str,
        engine: Engine,
        suite: str,
        epochs: int,
        *,
        kills: int,
        engines: bool = False,
    ) -> int:
        """To its end, after `kills` of the driver, and of its engine too in turn (`engines`)."""
        killed = 0
        driver = self.begun(name, engine, suite, epochs)
        while True:
            victim_is_engine = engines and killed % 2 == 0
            if killed < kills and self.worked(driver, name):
                pid = engine_of(driver.pid) if victim_is_engine else driver.pid
                if pid is not None and driver.poll() is None:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            elif driver.wait(LONGEST_S) == 0:
                return killed
            if victim_is_engine and driver.poll() is None:
                continue
            driver.wait(LONGEST_S)
            driver = self.begun(name, engine, suite, epochs)

    def begun(self, name: str, engine: Engine, suite: str, epochs: int) -> subprocess.Popen[bytes]:
        """The same command each time."""
        command = self.command(name, engine, [suite], epochs)
        with self.said(name).open("ab") as said:
            return subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)

    def command(
        self,
        name: str,
        engine: Engine,
        suites: Sequence[str],
        epochs: int,
        nodes: Sequence[str] = (LOCAL,),
    ) -> list[str]:
        """Its spec is written down."""
        spec = self.folder / f"{name}.toml"
        text = SPEC.format(
            epochs=epochs,
            nodes=json.dumps(nodes),
            suites="\n".join(SUITE.format(name=suite) for suite in suites),
            engine=engine.name,
            changes=json.dumps(engine.changes),
        )
        spec.write_text(text, "utf-8")
        return [str(CLI), "run", str(spec), "--run", str(self.run_folder(name))]

    def said(self, name: str) -> Path:
        """All that its drivers say."""
        return self.folder / f"{name}.err"

    def worked(
        self, driver: subprocess.Popen[Any], name: str, *, most_s: float = LONGEST_WAIT_S
    ) -> bool:
        """Waits until a driver has been asking for a while; False where it has ended before."""
        journals = self.run_folder(name) / "records"
        before = _bytes(journals)
        while _bytes(journals) <= before:
            if driver.poll() is not None:
                return False
            time.sleep(0.02)
        time.sleep(self.rng.uniform(0.1, most_s))
        return driver.poll() is None

    def _plan(self, name: str, faults: Mapping[str, float], token_s: float = TOKEN_S) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.plan.json"
        table = {
            "seed": self.rng.randrange(1 << 30),
            "token_s": token_s,
            "ledger": str(self.ledger(name)),
            "faults": dict(faults),
            "storm": {"requests": 5, "within_s": 0.5},
            "stall_s": 4.0,
        }
        path.write_text(json.dumps(table), "utf-8")
        return path


def engine_of(driver: int) -> int | None:
    """The engine that a driver has started: its guardian's child."""
    for guardian in _children(driver):
        for engine in _children(guardian):
            return engine
    return None


def _children(pid: int) -> list[int]:
    """Of all its threads: the one that works for a node starts the engine there."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, file.read_text().split())
    return found


def _bytes(folder: Path) -> int:
    """Of what came; that something was given to a node is no work yet."""
    journals = (path for path in folder.rglob("*.jsonl") if path.name != ledger.NAME)
    return sum(path.stat().st_size for path in journals)
