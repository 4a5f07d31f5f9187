"""Whether the user has stopped a run: Ctrl-C or SIGTERM, and whoever waits is woken."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from harness.runs.journal import NoRoomError

AGAIN_S = 1.0  # until a full disk is tried again
INTERRUPTED = 130


class Stop:
    """One run's. Thread-safe."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._event, self._announce = threading.Event(), announce
        self._full = ""  # what there was no room for last

    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Whether it was stopped within that time."""
        return self._event.wait(seconds)

    def full(self, error: NoRoomError) -> None:
        """Waits until it may be tried again to write; raises it where the user has stopped."""
        if str(error) != self._full:
            self._full = str(error)
            self._announce(f"{error}; the run waits until there is")
        if self.wait(AGAIN_S):
            raise error

    @contextmanager
    def listened(self) -> Generator[None]:
        """For the length of the block, which the main thread is in. A second signal ends this
        process at once, and its guardians the engines."""

        def stopped(signum: int, frame: FrameType | None) -> None:
            del signum, frame
            if self.is_set():
                os._exit(INTERRUPTED)
            self.set()
            self._announce("stopping; what is under way can be gone on with; again to stop at once")

        kept = {name: signal.signal(name, stopped) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in kept.items():
                signal.signal(name, handler)
