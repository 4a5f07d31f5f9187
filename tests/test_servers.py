"""Servers of a test: what reaches whom, what Ray makes of it, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Servers, can_make_namespaces, pid_of, servers

pytestmark = pytest.mark.skipif(
    not can_make_namespaces(), reason="may not make network namespaces here: needs root and Linux"
)
ROOT = Path(__file__).parents[1]
NOTICED_S = 20.0  # 6 s on an idle machine

# Reads one word a line, answers in one line of JSON: what came of it, or the name of the error.
# Ray tells of a dead node on stdout, log_to_driver or not: it is given stderr in its place.
DRIVER = """
import json, os, socket, sys, ray

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
ray.init(address="auto", log_to_driver=False, logging_level="ERROR")

@ray.remote(num_cpus=0)
class Actor:
    def where(self):
        return [socket.gethostname(), os.environ["ENGINEDIFF_HOME"], os.environ["EXTRA"]]

def nodes():
    return sorted(n["Labels"]["enginediff-node"] for n in ray.nodes() if n["Alive"])

def place():
    global actor
    actor = Actor.options(label_selector={"enginediff-node": "b"}).remote()
    return call()

def call():
    return ray.get(actor.where.remote(), timeout=60)

for line in sys.stdin:
    try:
        answer = {"nodes": nodes, "place": place, "call": call}[line.strip()]()
    except ray.exceptions.RayError as error:
        answer = type(error).__name__
    print(json.dumps(answer), file=answers, flush=True)
"""
LISTENER = """
import socket
listening = socket.create_server(("0.0.0.0", 7000))
print("up", flush=True)
while True:
    kept = listening.accept()
"""
# Ends as soon as its connection does.
TALKER = """
import socket, sys
with socket.create_connection((sys.argv[1], 7000)) as connection:
    print("up", flush=True)
    connection.recv(1)
"""
MAKER = """
import sys, time
from pathlib import Path
from tests.servers import servers
with servers(Path(sys.argv[1]), ["a", "b"]) as made:
    made.run("b", ["setsid", "--fork", "sleep", "600"]).wait()
    made.run("a", ["sleep", "600"])
    print("up", flush=True)
    time.sleep(600)
"""


def say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def started(made: Servers, name: str, text: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python program that has said that it is up."""
    program = made.run(name, [sys.executable, "-c", text, *arguments], stdout=subprocess.PIPE)
    assert heard(program) == "up"
    return program


def until(true: Callable[[], bool], *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.1)


def output(made: Servers, name: str, command: Sequence[str]) -> str:
    return made.run(name, command, stdout=subprocess.PIPE).communicate()[0].strip()


def with_word(word: str) -> list[str]:
    """The processes of this machine whose environment holds it."""
    found: list[str] = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        # It ended meanwhile, or is not ours to read.
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if word.encode() in file.read_bytes():
                found.append(file.parent.name)
    return found


def test_each_server_has_name_address_home_and_processes_of_its_own(tmp_path: Path) -> None:
    with servers(tmp_path, ["a", "b", "c"]) as made:
        for name in made.names:
            assert output(made, name, ["uname", "-n"]) == name
            assert made.address(name) in output(made, name, ["ip", "address", "show", "eth0"])
            assert output(made, name, ["printenv", "ENGINEDIFF_HOME"]) == str(tmp_path / name)
            assert output(made, name, ["cat", "/proc/1/comm"]) == "sleep"
            assert output(made, name, ["ls", "/tmp/ray"]) == ""
        assert output(made, "a", ["pwd"]) == str(Path.cwd())


def test_a_signal_reaches_what_runs_on_a_server(tmp_path: Path) -> None:
    waiting = "import time; print('up', flush=True); time.sleep(600)"
    with servers(tmp_path, ["a"]) as made:
        program = started(made, "a", waiting)
        os.kill(pid_of(program), signal.SIGTERM)
        assert program.wait() == -signal.SIGTERM
        program = started(made, "a", waiting)
        inner = Path(f"/proc/{pid_of(program)}")
        program.kill()
        until(lambda: not inner.exists(), within_s=10.0)


def test_peers_hear_of_a_kill_and_not_of_a_loss_of_power(tmp_path: Path) -> None:
    with servers(tmp_path, ["a", "b"]) as made:
        started(made, "b", LISTENER)
        talker = started(made, "a", TALKER, made.address("b"))
        made.kill("b")
        talker.wait(timeout=10)
        made.start("b")
        started(made, "b", LISTENER)
        talker = started(made, "a", TALKER, made.address("b"))
        made.power_off("b")
        with pytest.raises(subprocess.TimeoutExpired):
            talker.wait(timeout=2)


def test_ray_survives_a_cut_notices_a_kill_and_uses_the_server_again(tmp_path: Path) -> None:
    there = ["b", str(tmp_path / "b"), "x"]
    with servers(tmp_path, ["a", "b"]) as made:
        made.start_ray("a")
        made.start_ray("b", env={"EXTRA": "x"})
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        driver = made.run("a", [sys.executable, "-c", DRIVER], **pipes)

        def told(word: str) -> Any:
            say(driver, word)
            return json.loads(heard(driver))

        until(lambda: told("nodes") == ["a", "b"], within_s=NOTICED_S)
        assert told("place") == there

        made.cut("b")
        say(driver, "call")
        time.sleep(3)
        made.mend("b")
        assert json.loads(heard(driver)) == there
        assert told("nodes") == ["a", "b"]

        made.kill("b")
        assert told("call") in ("ActorUnavailableError", "ActorDiedError")
        until(lambda: told("nodes") == ["a"], within_s=NOTICED_S)
        assert told("call") == "ActorDiedError"

        made.start("b")
        made.start_ray("b", env={"EXTRA": "x"})
        until(lambda: told("nodes") == ["a", "b"], within_s=NOTICED_S)
        assert told("place") == there


def test_nothing_is_left_of_servers_whose_maker_was_killed(tmp_path: Path) -> None:
    word = f"MADE_BY={tmp_path}"
    command = [sys.executable, "-c", MAKER, str(tmp_path)]
    env = {**os.environ, "MADE_BY": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as maker:
        try:
            assert heard(maker) == "up"
            # The maker; the network (2), each server (3); a daemon, a command in its nsenter.
            until(lambda: len(with_word(word)) == 12, within_s=10.0)
        finally:
            maker.kill()
    until(lambda: with_word(word) == [], within_s=10.0)
