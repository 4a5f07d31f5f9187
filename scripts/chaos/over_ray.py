"""The same run over two servers of a Ray cluster, made of namespaces on this machine.

Each disturbance is made when something has come since the one before. A server that was killed is
away while the next one is made, and so may one be that was cut off. The driver is begun when all
servers are there: it refuses a run of which one is not.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from scripts.chaos import judging
from scripts.chaos.driving import LONGEST_S, ROOT, Engine, Scene
from scripts.chaos.judging import Found
from tests.servers import Servers, can_make_namespaces, pid_of, servers

HEAD, OTHER = NODES = ("a", "b")  # the driver is on the first, which stays
SUITES, EPOCHS = ("tiny-tasks", "tiny-tasks-raw"), 4
QUICK_S, SLOW_S = 0.002, 0.02  # between two tokens, where nothing is disturbed, and where it is
CUT_S = (3.0, 8.0)
LONGEST_WAIT_S = 5.0  # between two disturbances, when something has come
LEFT_S = 10.0  # for engines to be gone when a run is over
WORKER, ENGINE = b"ray::Attendant", b"vllm.entrypoints"  # in their command lines


def two_servers(scene: Scene) -> Found:
    if not can_make_namespaces():
        return Found(name=scene.name, note="not run: no right to make network namespaces")
    if find_spec("ray") is None:
        return Found(name=scene.name, note="not run: ray is not installed")
    with servers(scene.folder / "servers", NODES) as cluster:
        for node in NODES:
            cluster.start_ray(node)
        with scene.launched("undisturbed", faults={}, token_s=QUICK_S) as engine:
            Run(scene=scene, servers=cluster, engine=engine, name="undisturbed").finish()
        with scene.launched("disturbed", faults={}, token_s=SLOW_S) as engine:
            run = Run(scene=scene, servers=cluster, engine=engine, name="disturbed")
            problems = run.disturb(drawn(scene.rng))
            run.finish()
            problems += run.left_behind()
    found = judging.judged(scene, made=run.made, counted=False)
    found.again = judging.received_again(scene)
    found.problems += [f"{scene.name}: {problem}" for problem in problems]
    return found


@dataclass(slots=True, kw_only=True)
class Run:
    """One run, and what is done to it."""

    scene: Scene
    servers: Servers
    engine: Engine
    name: str
    made: Counter[str] = field(default_factory=Counter[str])
    driver: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """The same command each time."""
        command = self.scene.command(self.name, self.engine, SUITES, EPOCHS, NODES)
        with self.scene.said(self.name).open("ab") as said:
            self.driver = self.servers.run(HEAD, command, cwd=ROOT, stdout=said, stderr=said)

    def finish(self) -> None:
        """RuntimeError where it does not come to its end."""
        if self.driver.wait(LONGEST_S):
            raise RuntimeError(f"{self.scene.name}: see {self.scene.said(self.name)}")

    def disturb(self, kinds: Sequence[str]) -> list[str]:
        """What was wrong on the way."""
        left = list(kinds)
        while left and self.scene.worked(self.driver, self.name, most_s=LONGEST_WAIT_S):
            was_away = OTHER not in self.servers.alive
            if DISTURBANCES[left[0]].make(self):
                self.made[left.pop(0)] += 1
                if was_away:
                    self.bring_back()
        self.bring_back()
        return [f"it ended before {len(left)} disturbances were made"] if left else []

    def bring_back(self) -> None:
        """The server that was killed; its Ray too."""
        if OTHER not in self.servers.alive:
            self.servers.start(OTHER)
            self.servers.start_ray(OTHER)

    def processes(self, node: str, word: bytes) -> list[int]:
        """What runs on a server and has the word in its command line."""
        if node not in self.servers.alive:
            return []
        # Its first process is the child of an unshare, which has stayed outside.
        outside = Path(f"/proc/{pid_of(self.servers.alive[node])}")
        inside = (outside / "ns" / "pid_for_children").readlink()
        return [int(process.name) for process in _of_namespace(inside) if word in _command(process)]

    def left_behind(self) -> list[str]:
        """What a run that is over has left on its servers."""
        files = [*self.servers.folder.glob("*/shards/*")]
        problems = [f"files were left behind: {files}"] if files else []
        deadline = time.monotonic() + LEFT_S
        while left := [pid for node in NODES for pid in self.processes(node, ENGINE)]:
            if time.monotonic() > deadline:
                return [*problems, f"engines were left behind: {left}"]
            time.sleep(0.1)
        return problems


def drawn(rng: random.Random) -> list[str]:
    """Every disturbance as often as is said, in any order."""
    kinds = [kind for kind, one in DISTURBANCES.items() for _ in range(one.times)]
    rng.shuffle(kinds)
    return kinds


def _kill_driver(run: Run) -> bool:
    run.bring_back()
    run.driver.kill()
    run.driver.wait()
    run.begin()
    return True


def _kill_server(run: Run) -> bool:
    run.bring_back()
    run.servers.kill(OTHER)
    return True


def _lose_server(run: Run) -> bool:
    """It comes back without anything that this run has written there."""
    _kill_server(run)
    shutil.rmtree(run.servers.home(OTHER) / "shards")
    return True


def _cut_server(run: Run) -> bool:
    run.bring_back()
    run.servers.cut(OTHER)
    mending = threading.Timer(run.scene.rng.uniform(*CUT_S), run.servers.mend, [OTHER])
    mending.start()
    if run.scene.rng.random() < 0.5:
        mending.join()
    return True


def _kill_worker(run: Run) -> bool:
    return _kill_one(run, WORKER)


def _kill_engine(run: Run) -> bool:
    return _kill_one(run, ENGINE)


def _kill_one(run: Run, word: bytes) -> bool:
    """Of both servers together: whether there was any."""
    found = [pid for node in NODES for pid in run.processes(node, word)]
    if found:
        os.kill(run.scene.rng.choice(found), signal.SIGKILL)
    return bool(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """`make` says whether there was something that it could be done to."""

    make: Callable[[Run], bool]
    times: int


DISTURBANCES = {
    "driver killed": Disturbance(make=_kill_driver, times=5),
    "engine killed": Disturbance(make=_kill_engine, times=6),
    "worker killed": Disturbance(make=_kill_worker, times=4),
    "server killed": Disturbance(make=_kill_server, times=3),
    "server lost with its disk": Disturbance(make=_lose_server, times=1),
    "server cut off": Disturbance(make=_cut_server, times=4),
}


def _of_namespace(inside: Path) -> list[Path]:
    """Folders of /proc."""
    found: list[Path] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "ns" / "pid").readlink() == inside:
                found.append(process)
        except OSError:  # it has ended
            continue
    return found


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
