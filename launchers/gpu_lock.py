"""The GPUs of this machine, taken by one engine at a time: a second one would die half loaded.

A lock of ours, under the user's own folder: it does not see engines that others started; the audit
of a node tells of processes that hold a GPU.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager

from harness.base.errors import LaunchError
from harness.base.home import home
from launchers.pins import LoadedPin


@contextmanager
def held(loaded: LoadedPin) -> Generator[tuple[int, ...]]:
    """Yields descriptors that the engine keeps open: the lock lasts as long as anything of it.

    Nothing for a pin that asks for no GPU: engines on a CPU run side by side. Raises LaunchError,
    which names the pin that has the GPUs.
    """
    if loaded.pin.deployment is None or loaded.pin.deployment.gpus_per_node == 0:
        yield ()
        return
    path = home() / "gpus.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise LaunchError(
                f"{loaded.title}: the GPUs of this machine are taken by {lock.read() or 'another'}"
                f"; wait for it to end, or stop it (its lock is {path})"
            ) from None
        lock.truncate(0)
        lock.write(f"{loaded.title}, launched by process {os.getpid()}")
        lock.flush()
        yield (lock.fileno(),)
