"""Real processes throughout: the guardian's promise is about the kernel, and cannot be imitated."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.base.errors import LaunchError
from launchers import process
from launchers.process import Command, free_port, running

ROOT = Path(__file__).parents[2]

# Forks a daemon into a session of its own that ignores SIGTERM, orphaned at once; its process id
# goes into the file named by the first argument. Then sleeps.
LEAVES_A_DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGINT, lambda *_: print("the engine got SIGINT", flush=True))
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(sys.argv[1] + ".partial", "w").write(str(os.getpid()))
        os.rename(sys.argv[1] + ".partial", sys.argv[1])
        time.sleep(600)
    os._exit(0)
os.wait()
while True:
    time.sleep(1)
"""

# Our side of the tests in which we are killed: the engine above, held until the end.
HOLDS_AN_ENGINE = """
import signal, sys, time
from pathlib import Path
from launchers.process import Command, running
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
folder, code = Path(sys.argv[1]), sys.argv[2]
command = Command(argv=(sys.executable, "-c", code, str(folder / "daemon")), env={})
with running(command, log=folder / "log", ready=(folder / "daemon").exists, deadline_s=30,
             announce=print, grace_s=0.3) as engine:
    (folder / "partial").write_text(str(engine.pid))
    (folder / "partial").rename(folder / "engine")
    time.sleep(600)
"""


def python(code: str, *arguments: str) -> Command:
    return Command(argv=(sys.executable, "-c", code, *arguments), env={})


def no_announcement(line: str) -> None:
    raise AssertionError(line)


def exists(pid: int) -> bool:
    """Whether it runs; what has ended and waits to be reaped by init does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def eventually(condition: Callable[[], bool], within_s: float = 15) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def launch_error(
    command: Command, log: Path, ready: Callable[[], bool], *, deadline_s: float = 30
) -> str:
    with (
        pytest.raises(LaunchError) as raised,
        running(command, log=log, ready=ready, deadline_s=deadline_s, announce=no_announcement),
    ):
        pytest.fail("it became ready")
    return str(raised.value)


@contextmanager
def somebody_who_holds_an_engine(
    folder: Path,
) -> Generator[tuple[subprocess.Popen[bytes], int, int]]:
    """That process, the engine's and the daemon's process ids."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_AN_ENGINE, str(folder), LEAVES_A_DAEMON],
        env={"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as holder:
        try:
            assert eventually((folder / "engine").exists)
            pids = [int((folder / name).read_text()) for name in ("engine", "daemon")]
            assert all(exists(pid) for pid in pids)
            yield holder, pids[0], pids[1]
        finally:
            holder.kill()


def test_an_engine_that_is_ready_at_once_is_yielded_alive_and_stopped_after_the_block(
    tmp_path: Path,
) -> None:
    command = python("import time; time.sleep(600)")
    with running(
        command, log=tmp_path / "log", ready=lambda: True, deadline_s=5, announce=no_announcement
    ) as engine:
        engine.require_alive()
        assert engine.alive()
        assert exists(engine.pid)
        assert os.getsid(engine.pid) == engine.pid
    assert not engine.alive()
    assert not exists(engine.pid)


def test_the_environment_is_the_given_one_and_nothing_else(tmp_path: Path) -> None:
    command = Command(argv=("/usr/bin/env",), env={"ONLY": "this"})
    message = launch_error(command, tmp_path / "log", lambda: False)
    assert (tmp_path / "log").read_text() == "ONLY=this\n"
    assert "ended with exit code 0" in message


def test_an_engine_that_dies_while_loading_is_quoted_with_this_run_s_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("what an earlier run wrote\n")
    code = "import sys; print('loading'); sys.exit('no such model: \\udcff')"
    message = launch_error(python(code), log, lambda: False)
    assert "The engine ended with exit code 1" in message
    assert "loading" in message
    assert "no such model" in message
    assert str(log) in message
    assert sys.executable in message
    assert "earlier run" not in message
    assert log.read_text().startswith("what an earlier run wrote\n")


def test_the_signal_that_killed_an_engine_is_named(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    assert "killed by signal SIGSEGV" in launch_error(python(code), tmp_path / "log", lambda: False)


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    command = Command(argv=("/no/such/engine",), env={})
    message = launch_error(command, tmp_path / "log", lambda: False)
    assert "could not be started: No such file or directory: /no/such/engine" in message


def test_an_answer_in_the_place_of_a_dead_engine_is_not_readiness(tmp_path: Path) -> None:
    go, pid_file = tmp_path / "go", tmp_path / "pid"
    code = (
        "import os, pathlib, sys, time\n"
        "go, pid_file = map(pathlib.Path, sys.argv[1:])\n"
        "while not go.exists(): time.sleep(0.01)\n"
        "pid_file.write_text(f'{os.getpid()} ')"
    )

    def answers_although_the_engine_ends_meanwhile() -> bool:
        go.touch()
        assert eventually(lambda: pid_file.exists() and pid_file.read_text().endswith(" "))
        assert eventually(lambda: not exists(int(pid_file.read_text())))
        return True

    command = python(code, str(go), str(pid_file))
    message = launch_error(command, tmp_path / "log", answers_although_the_engine_ends_meanwhile)
    assert "ended with exit code 0" in message


def test_an_engine_that_hangs_is_announced_and_stopped_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "ANNOUNCE_S", 1.0)
    announced: list[str] = []
    begun = time.monotonic()
    code = "import os, time; print('shard 1 of 9', os.getpid(), flush=True); time.sleep(600)"
    with (
        pytest.raises(LaunchError, match=r"did not become ready within 5 s"),
        running(
            python(code),
            log=tmp_path / "log",
            ready=lambda: False,
            deadline_s=5,
            announce=announced.append,
        ),
    ):
        pytest.fail("it became ready")
    assert time.monotonic() - begun < 60  # far from the 600 s that it would take
    assert 1 <= len(announced) <= 5
    assert re.fullmatch(r"still loading, [1-5] s, last log line: shard 1 of 9 \d+", announced[-1])
    assert not exists(int(announced[-1].split()[-1]))


def test_a_flood_of_log_neither_blocks_the_engine_nor_fills_our_memory(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import sys, time\n"
        "for _ in range(50): sys.stdout.buffer.write(b'\\xff' * 999_999 + b'\\n')\n"
        "sys.stdout.flush(); sys.exit(9)"
    )
    tracemalloc.start()
    try:
        message = launch_error(python(code), log, lambda: False)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "exit code 9" in message
    assert log.stat().st_size == 50_000_000
    assert len(message) < 2_000
    assert peak_bytes < 2_000_000


def test_at_most_twenty_lines_of_the_log_are_quoted(tmp_path: Path) -> None:
    code = "for i in range(100_000): print('line', i)"
    message = launch_error(python(code), tmp_path / "log", lambda: False)
    quoted = [line.strip() for line in message.splitlines() if line.startswith("  line")]
    assert quoted == [f"line {i}" for i in range(99_980, 100_000)]


def test_a_daemon_of_the_engine_is_gone_after_the_block(tmp_path: Path) -> None:
    pid_file = tmp_path / "daemon"
    with running(
        python(LEAVES_A_DAEMON, str(pid_file)),
        log=tmp_path / "log",
        ready=pid_file.exists,
        deadline_s=30,
        announce=no_announcement,
        grace_s=0.3,
    ) as engine:
        daemon = int(pid_file.read_text())
        assert os.getsid(daemon) != engine.pid
    assert not exists(engine.pid)
    assert not exists(daemon)


def test_a_daemon_is_gone_after_its_engine_died_by_itself(tmp_path: Path) -> None:
    pid_file = tmp_path / "daemon"
    with running(
        python(LEAVES_A_DAEMON, str(pid_file)),
        log=tmp_path / "log",
        ready=pid_file.exists,
        deadline_s=30,
        announce=no_announcement,
        grace_s=0.3,
    ) as engine:
        daemon = int(pid_file.read_text())
        os.kill(engine.pid, signal.SIGKILL)
        assert eventually(lambda: not engine.alive())
        with pytest.raises(LaunchError, match=r"killed by signal SIGKILL \(out of memory\?\)"):
            engine.require_alive()
        assert eventually(lambda: not exists(daemon))


def test_nothing_survives_when_we_are_killed(tmp_path: Path) -> None:
    with somebody_who_holds_an_engine(tmp_path) as (holder, engine, daemon):
        holder.kill()
        assert eventually(lambda: not exists(engine) and not exists(daemon))


def test_ctrl_c_reaches_us_alone_and_nothing_survives(tmp_path: Path) -> None:
    with somebody_who_holds_an_engine(tmp_path) as (holder, engine, daemon):
        os.killpg(holder.pid, signal.SIGINT)  # as a terminal does
        assert holder.wait(60) == -signal.SIGINT
        assert not exists(engine)
        assert not exists(daemon)
    assert "the engine got SIGINT" not in (tmp_path / "log").read_text()


def test_the_engine_dies_even_with_its_guardian(tmp_path: Path) -> None:
    with running(
        python("import time; time.sleep(600)"),
        log=tmp_path / "log",
        ready=lambda: True,
        deadline_s=5,
        announce=no_announcement,
    ) as engine:
        stat = Path(f"/proc/{engine.pid}/stat").read_text()
        os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
        assert eventually(lambda: not engine.alive())
        assert eventually(lambda: not exists(engine.pid))


def test_secrets_are_not_shown() -> None:
    command = Command(
        argv=("serve", "a model", "--api-key", "s1", "--hf-token=s2", "--tokenizer", "mine"),
        env={"HF_TOKEN": "s3", "my_password": "s4", "TOKENIZERS_PARALLELISM": "false", "A": "x y"},
    )
    assert command.shown() == (
        "HF_TOKEN=*** my_password=*** TOKENIZERS_PARALLELISM=false A='x y' "
        "serve 'a model' --api-key *** --hf-token=*** --tokenizer mine"
    )
    own = Command(argv=("serve",), env={"DATABASE_URL": "postgres://me:s5@host"}, inherited=True)
    assert own.shown() == "serve"


def test_a_free_port_is_none_that_an_outgoing_connection_is_given() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(1024 < free_port() < lowest for _ in range(50))
