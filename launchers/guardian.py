"""The parent of one engine, so that the engine never outlives us. Runs alone: stdlib only.

`python -IS guardian.py`, its stderr being the engine's log. First line of stdin: JSON with `argv`,
`env`, `keeper` (our process) and `grace_s`. It then holds stdin open: end of file, another parent
than `keeper` (a fork of ours may keep the pipe open) or SIGTERM means stop. Lines on stdout:
`started PID` or `refused REASON`, then `ended CODE` as soon as the engine's main process has ended
(a negative code is a signal). It exits when no descendant is left, with the engine's code, or
128 + signal.

As a subreaper it inherits every orphan below it, also those that forked away or called setsid; so
"no child left" means that no descendant is left. Had it to be killed itself, the engine's main
process gets SIGKILL from the kernel, and only what that one had started could remain.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.05

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Starts the engine, waits for its end or for the order to stop it, leaves nothing behind."""
    request: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    orders: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: orders.append(number))
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        engine = _start(request["argv"], request["env"])
    except OSError as error:
        _tell(f"refused {error.strerror}: {error.filename}")
        return 127
    _tell(f"started {engine.pid}")
    code = 0
    while not orders and os.getppid() == request["keeper"]:
        ended = _reap()
        if engine.pid in ended:
            code = ended[engine.pid]
            _tell(f"ended {code}")
            break
        if select.select([sys.stdin], [], [], POLL_S)[0]:
            break
    _end_descendants(request["grace_s"])
    return code if code >= 0 else 128 - code


def _start(argv: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    guardian = os.getpid()

    def die_with_guardian() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guardian:
            os._exit(1)

    log = sys.stderr.fileno()
    return subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=die_with_guardian,
    )


def _end_descendants(grace_s: float) -> None:
    """SIGTERM to each descendant once, SIGKILL after `grace_s`; returns when none is left."""
    deadline = time.monotonic() + grace_s
    asked: set[int] = set()
    while _children_left():
        overdue = time.monotonic() >= deadline
        for pid in _descendants():
            if overdue or pid not in asked:
                asked.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if overdue else signal.SIGTERM)
        time.sleep(POLL_S)


def _reap() -> dict[int, int]:
    """Exit codes of the children, born or adopted, that have ended since the last call."""
    ended: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = os.waitstatus_to_exitcode(found[1])
    return ended


def _children_left() -> bool:
    _reap()
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _descendants() -> list[int]:
    parents = _parents()
    found = [os.getpid()]
    for ancestor in found:  # grows while it is walked
        found += [pid for pid, parent in parents.items() if parent == ancestor]
    return found[1:]


def _parents() -> dict[int, int]:
    """Every process of this machine, with its parent."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                stat = (entry / "stat").read_bytes()
                parents[int(entry.name)] = int(stat.rpartition(b")")[2].split()[1])
    return parents


def _tell(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody is left to listen: the work goes on
        print(line, flush=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


if __name__ == "__main__":
    sys.exit(main())
