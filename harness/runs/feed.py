"""What a node is to ask: numbers come and are taken back while it works. Thread-safe.

Whoever leads the run says again and again all that the node is to keep, in the order of asking, so
that nothing hangs on one message that was lost; what has been begun stays. An engine that was
started again asks first what it had begun.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager

from harness.runs.plan import Request


class Feed:
    """One engine's on one node. Read by one event loop at a time, which `bound` names."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[int] = deque()
        self._begun: dict[int, None] = {}
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._come, self._stop = asyncio.Event(), asyncio.Event()
        self.stopped = threading.Event()

    def keep(self, numbers: Iterable[int], *, closed: bool) -> None:
        """All that is to be kept; `closed`: no more will come."""
        with self._lock:
            self._queue = deque(n for n in numbers if n not in self._begun)
            self._closed = closed
            self._tell(self._come)

    def held(self, over: Collection[int]) -> tuple[list[int], list[int]]:
        """What has not been begun, and what has and is not `over`."""
        with self._lock:
            for n in [n for n in self._begun if n in over]:
                del self._begun[n]
            return list(self._queue), list(self._begun)

    @property
    def drained(self) -> bool:
        """Nothing is left, and no more will come."""
        with self._lock:
            return self._closed and not self._queue and not self._begun

    def stop(self) -> None:
        """Nothing is begun any more, and what is under way is left."""
        self.stopped.set()
        with self._lock:
            self._tell(self._stop)

    @contextmanager
    def bound(self) -> Generator[asyncio.Event]:
        """To the running loop. What was begun before is asked again. Yields what `stop` sets."""
        with self._lock:
            self._queue.extendleft(reversed(self._begun))
            self._begun.clear()
            self._loop = asyncio.get_running_loop()
            self._come, self._stop = asyncio.Event(), asyncio.Event()
            if self.stopped.is_set():
                self._stop.set()
            stop = self._stop
        try:
            yield stop
        finally:
            with self._lock:
                self._loop = None

    async def next(self) -> int | None:
        """The next one, which is begun thereby; None: none is left, and no more will come."""
        while True:
            with self._lock:
                if self._queue:
                    n = self._queue.popleft()
                    self._begun[n] = None
                    return n
                if self._closed:
                    return None
                come = self._come
            come.clear()
            await come.wait()

    def _tell(self, event: asyncio.Event) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(event.set)


class Listed:
    """Requests that are all known, for whoever asks for the next one."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self._requests = iter(requests)

    def __aiter__(self) -> Listed:
        return self

    async def __anext__(self) -> Request:
        for request in self._requests:
            return request
        raise StopAsyncIteration
