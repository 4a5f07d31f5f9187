"""Starts servers and drivers, and kills drivers and engines: by process id, its own alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launchers.process import free_port

ROOT = Path(__file__).parents[2]
SERVER = Path(__file__).with_name("server.py")
INSIDE = Path(__file__).with_name("inside")
CLI = Path(sys.executable).with_name("enginediff")
LONGEST_S = 300.0  # of one driver
TOKEN_S = 0.01
SPEC = """\
schema = 1
seed = 0
epochs = {epochs}
transport = "aiohttp"
nodes = ["local"]

[[suites]]
name = "{suite}"

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
    def launched(self, name: str, *, faults: Mapping[str, float]) -> Generator[Engine]:
        """A fake engine that the driver starts, and minds: it stands where vLLM stands."""
        plan = self._plan(name, faults)
        yield Engine(
            name="tiny-moe/vllm-cpu",
            changes=(f"env.PYTHONPATH={INSIDE}", f"env.CHAOS_PLAN={plan}"),
        )

    def run(self, name: str, engine: Engine, suite: str, epochs: int) -> None:
        """To its end. RuntimeError where it does not come to it."""
        driver = self.begun(name, engine, suite, epochs)
        if driver.wait(LONGEST_S):
            raise RuntimeError(f"{self.name}: {name}: see {self.folder / name}.err")

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
            if killed < kills and self._worked(driver, name):
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
        spec = self.folder / f"{name}.toml"
        changes = json.dumps(list(engine.changes))
        spec.write_text(
            SPEC.format(epochs=epochs, suite=suite, engine=engine.name, changes=changes), "utf-8"
        )
        command = [str(CLI), "run", str(spec), "--run", str(self.run_folder(name))]
        with (self.folder / f"{name}.err").open("ab") as said:
            return subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)

    def _worked(self, driver: subprocess.Popen[bytes], name: str) -> bool:
        """Waits until a driver has been asking for a while; False where it has ended before."""
        journals = self.run_folder(name) / "records"
        before = _bytes(journals)
        while _bytes(journals) <= before:
            if driver.poll() is not None:
                return False
            time.sleep(0.02)
        time.sleep(self.rng.uniform(0.1, 2.5))
        return driver.poll() is None

    def _plan(self, name: str, faults: Mapping[str, float]) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.plan.json"
        table = {
            "seed": self.rng.randrange(1 << 30),
            "token_s": TOKEN_S,
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
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.jsonl"))
