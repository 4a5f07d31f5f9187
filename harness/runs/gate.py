"""How many requests may be in flight, kept: who comes when it is full waits in line."""

from __future__ import annotations

import asyncio
from collections import deque

from harness.runs.pace import Pace


class Gate:
    """`async with gate:` is one request in flight."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self.inside < self.pace.allowed and not self._waiting:
            self.inside += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                await self.__aexit__()  # it had been let in
            raise

    async def __aexit__(self, *_: object) -> None:
        self.inside -= 1
        self._let_in()

    def _let_in(self) -> None:
        """Those who have waited longest; who is let in is inside from here on."""
        while self._waiting and self.inside < self.pace.allowed:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self.inside += 1
