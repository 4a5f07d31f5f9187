"""One engine process: started, waited for, and surely stopped.

The engine's parent is `guardian.py`, which stops it and all that it started as soon as we ask, or
are no more. The engine has a session of its own, so Ctrl-C reaches us alone and we decide; its
output goes straight to a file, so a flood of it blocks nothing and fills no memory.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.base.errors import LaunchError
from launchers.command import Command

GUARDIAN = Path(__file__).with_name("guardian.py")
GRACE_S = 10.0  # between SIGTERM and SIGKILL
KILL_S = 60.0  # a process that holds a GPU can take long to die; beyond this we say so
POLL_S = 0.1
PORTS = range(20000, 32768)
ANNOUNCE_S = 5.0
TAIL_BYTES = 64 * 1024
TAIL_LINES = 20
TAIL_COLUMNS = 400

ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class RunningProcess:
    """An engine that was started; made and stopped by `started`, for the length of its block."""

    def __init__(self, *, command: Command, log: Path, guardian: subprocess.Popen[bytes]) -> None:
        assert guardian.stdout is not None
        self.pid = 0
        self.log = log
        self._command = command
        self._log_start = log.stat().st_size
        self._guardian = guardian
        # Unbuffered: a line taken into a buffer would be one that `alive` does not see.
        self._reports = io.FileIO(guardian.stdout.fileno(), closefd=False)
        self._exit_code: int | None = None

    def alive(self) -> bool:
        """Whether the engine's main process runs."""
        if self._exit_code is not None:
            return False
        reports = select.poll()
        reports.register(self._reports, select.POLLIN)
        return not reports.poll(0) and _runs(self.pid)

    def exit_code(self) -> int:
        """The main process's, negative for a signal; waits for its end."""
        if self._exit_code is None:
            report = self._reports.readline().decode().split()
            # No report: its guardian is gone, and the engine was killed with it.
            self._exit_code = int(report[1]) if report else -signal.SIGKILL
        return self._exit_code

    def require_alive(self) -> None:
        """Raises LaunchError, with the end of the log, where the main process has ended."""
        if not self.alive():
            raise LaunchError(self._told(_described(self.exit_code())))

    def wait_until_ready(
        self, ready: Callable[[], bool], deadline_s: float, announce: Callable[[str], None]
    ) -> None:
        """Returns when `ready()` is true and the engine alive; raises LaunchError otherwise."""
        begun = announced = time.monotonic()
        while True:
            now = time.monotonic()
            if now - begun > deadline_s:
                raise LaunchError(self._told(f"did not become ready within {deadline_s:g} s"))
            self.require_alive()
            if ready():
                self.require_alive()  # another program may have answered in its place
                return
            if now - announced >= ANNOUNCE_S:
                announced = now
                last = self.end_of_log()[-1:] or ["(none)"]
                announce(f"still loading, {now - begun:.0f} s, last log line: {last[0][:100]}")
            time.sleep(POLL_S)

    def lines(self) -> Iterator[str]:
        """What it writes, line by line, until its main process has ended."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            pending = b""
            while True:
                alive = self.alive()  # asked first: what it wrote before its end is then read
                written = log.read(TAIL_BYTES)
                *lines, pending = (pending + written).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
                if not written and not alive:
                    return
                if not written:
                    time.sleep(POLL_S)

    def end_of_log(self) -> list[str]:
        """The last lines that this process wrote."""
        return end_of_log(self.log, start=self._log_start)

    def begin(self, grace_s: float) -> None:
        """Has the guardian start the engine; LaunchError where it cannot be executed."""
        assert self._guardian.stdin is not None
        request = {
            "argv": self._command.argv,
            "env": dict(self._command.env),
            "keeper": os.getpid(),
            "grace_s": grace_s,
        }
        self._guardian.stdin.write(json.dumps(request).encode() + b"\n")
        self._guardian.stdin.flush()
        kind, _, detail = self._reports.readline().decode().strip().partition(" ")
        if kind != "started":
            raise LaunchError(self._told(f"could not be started: {detail or 'see the log'}"))
        self.pid = int(detail)

    def stop(self, timeout_s: float) -> None:
        """Returns when nothing is left of the engine; LaunchError where that takes too long."""
        assert self._guardian.stdin is not None
        assert self._guardian.stdout is not None
        self._guardian.stdin.close()  # the order to stop
        try:
            self._guardian.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            what = f"could not be stopped within {timeout_s:g} s (process {self.pid})"
            raise LaunchError(self._told(what)) from error
        self.exit_code()
        self._guardian.stdout.close()

    def _told(self, what: str) -> str:
        lines = "\n".join(f"  {line}" for line in self.end_of_log())
        return (
            f"The engine {what}.\ncommand: {self._command.shown()}\n"
            f"log: {self.log}, which ends:\n{lines or '  (nothing was written)'}"
        )


@contextmanager
def started(
    command: Command, *, log: Path, grace_s: float = GRACE_S, held: tuple[int, ...] = ()
) -> Generator[RunningProcess]:
    """Runs `command`, its output appended to `log`; stops it and all that it started at the end.

    The file descriptors `held` stay open until nothing is left of it, even if we are killed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        guardian = subprocess.Popen(
            [sys.executable, "-IS", str(GUARDIAN)],
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
            pass_fds=held,
        )
    process = RunningProcess(command=command, log=log, guardian=guardian)
    try:
        process.begin(grace_s)
        yield process
    finally:
        process.stop(grace_s + KILL_S)


@contextmanager
def running(
    command: Command,
    *,
    log: Path,
    ready: Callable[[], bool],
    deadline_s: float,
    announce: Callable[[str], None],
    grace_s: float = GRACE_S,
    held: tuple[int, ...] = (),
) -> Generator[RunningProcess]:
    """Yields the engine when `ready()` is true; nothing of it is left after the block.

    `held` as in `started`.

    `ready` is False while the engine loads, and may raise EnginediffError to end the wait.
    """
    with started(command, log=log, grace_s=grace_s, held=held) as process:
        process.wait_until_ready(ready, deadline_s, announce)
        yield process


def free_port() -> int:
    """A loopback port that nothing listens on now, and that no outgoing connection will be given.

    Linux gives those 32768 and above. One that asks whether an engine answers there yet could be
    given that very port, and so be connected to itself: it hangs, and the engine cannot bind.
    """
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise LaunchError(f"no port of {PORTS.start} to {PORTS.stop - 1} is free on 127.0.0.1")


def end_of_log(log: Path, *, start: int = 0) -> list[str]:
    """The last lines written at byte `start` or after; reads 64 KiB at most, however long it is."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - TAIL_BYTES))
        text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    lines = [ESCAPE_SEQUENCE.sub("", line).rstrip() for line in text.splitlines()]
    return [
        line if len(line) <= TAIL_COLUMNS else line[:TAIL_COLUMNS] + " ..."
        for line in lines
        if line
    ][-TAIL_LINES:]


def _runs(pid: int) -> bool:
    """False for what has ended, also while its parent has not yet noticed."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _described(exit_code: int) -> str:
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    hint = " (out of memory?)" if name == "SIGKILL" else ""
    return f"was killed by signal {name}{hint}"
