"""Writes a journal from the event loop: a line for what happens, and one every few milliseconds
for all that came in between.

What an answer was added to is on disk, as far as the kernel goes, within `TICK_S`: that much of it
is lost when this process is killed. `SYNC_S` is how much a power cut loses. Where the disk is full,
nobody reads on (`room`), so no token is paid for that could not be kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from harness.runs.journal import Journal, NoRoomError

TICK_S = 0.01
SYNC_S = 5.0
AGAIN_S = 1.0  # until a full disk is tried again


class Writer:
    """One journal's only writer. `run` has to be running."""

    def __init__(
        self, journal: Journal, now: Callable[[], float], announce: Callable[[str], None]
    ) -> None:
        """`now`: seconds since the epoch, for the lines."""
        self._journal = journal
        self._now = now
        self.announce = announce
        self._lines: list[Mapping[str, Any]] = []
        self._parts: list[tuple[int, Mapping[str, Any]]] = []
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._pauses: list[tuple[float, float]] = []  # by time.monotonic, from and to

    def line(self, kind: str, **fields: Any) -> None:
        """What has happened, behind all that came before."""
        self._end_parts()
        self._lines.append({"kind": kind, "at": self._now(), **fields})
        self._work.set()

    def part(self, n: int, part: Mapping[str, Any]) -> None:
        """What a request's answer was added to."""
        self._parts.append((n, part))
        self._work.set()

    @property
    def has_room(self) -> bool:
        return self._room.is_set()

    async def room(self) -> None:
        """Waits until there is room on the disk."""
        await self._room.wait()

    async def written(self) -> None:
        """Waits until nothing is left to be written."""
        while self._lines or self._parts:
            await asyncio.sleep(TICK_S)

    def paused_since(self, began: float) -> float:
        """For how many seconds after `began` there was no room."""
        now = time.monotonic()
        return sum(max(0.0, min(end, now) - max(start, began)) for start, end in self._pauses)

    async def run(self) -> None:
        """Writes until it is cancelled, and then what is left.

        Raises NoRoomError where that does not fit: this process knows more then than its journal.
        """
        synced, syncing = time.monotonic(), asyncio.create_task(asyncio.sleep(0))
        try:
            while True:
                await self._work.wait()
                await asyncio.sleep(TICK_S)
                await self._written()
                if time.monotonic() - synced >= SYNC_S and syncing.done():
                    syncing.result()
                    syncing = asyncio.create_task(asyncio.to_thread(self._journal.sync))
                    synced = time.monotonic()
        finally:
            await asyncio.wait({syncing})
            self._end_parts()
            self._journal.write(self._lines)
            self._lines.clear()
            self._journal.sync()

    async def _written(self) -> None:
        self._work.clear()
        self._end_parts()
        try:
            self._journal.write(self._lines)
        except NoRoomError as error:
            await self._without_room(error)
        else:
            self._lines.clear()

    async def _without_room(self, error: NoRoomError) -> None:
        """Holds all requests until what is to be written can be."""
        now = time.monotonic
        self._room.clear()
        self.announce(f"{error}; the run waits until there is")
        self._pauses.append((now(), float("inf")))
        while not self.has_room:
            await asyncio.sleep(AGAIN_S)
            self._end_parts()
            with suppress(NoRoomError):
                self._journal.write(self._lines)
                self._lines.clear()
                self._pauses[-1] = self._pauses[-1][0], now()
                self._room.set()
        self.announce("there is room again; the run goes on")

    def _end_parts(self) -> None:
        if self._parts:
            self._lines.append({"kind": "parts", "at": self._now(), "parts": self._parts})
            self._parts = []
