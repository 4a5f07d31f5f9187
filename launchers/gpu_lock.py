"""The GPUs of this machine, taken by one engine at a time: a second one would die half loaded.

A lock of ours, under the user's own folder: it does not see engines that others started; the audit
of a node tells of processes that hold a GPU.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO

from harness.base.errors import LaunchError
from harness.base.home import home
from launchers.pins import LoadedPin

DYING_S = 20.0  # an engine gets 5 to 10 s to stop, and a GPU takes some to let go of it
POLL_S = 0.1


@contextmanager
def held(loaded: LoadedPin) -> Generator[tuple[int, ...]]:
    """Yields descriptors that the engine keeps open: the lock lasts as long as anything of it.

    Nothing for a pin that asks for no GPU: engines on a CPU run side by side. One whose driver was
    killed is waited for while it dies. Raises LaunchError, which names the pin that has the GPUs.
    """
    if loaded.pin.deployment is None or loaded.pin.deployment.gpus_per_node == 0:
        yield ()
        return
    path = home() / f"gpus-{socket.gethostname()}.lock"  # a home may be shared by machines
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as lock:
        if not _taken(lock):
            lock.seek(0)
            raise LaunchError(
                f"{loaded.title}: the GPUs of this machine are taken by {lock.read() or 'another'}"
                f"; wait for it to end, or stop it (its lock is {path})"
            )
        lock.truncate(0)
        lock.write(f"{loaded.title}, launched by process {os.getpid()}")
        lock.flush()
        yield (lock.fileno(),)


def _taken(lock: IO[str]) -> bool:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() - began > DYING_S:
                return False
            time.sleep(POLL_S)
            continue
        return True
