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
        while self.inside >= self.pace.allowed:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._let_in()  # the turn may have been given to us
                raise
        self.inside += 1

    async def __aexit__(self, *_: object) -> None:
        self.inside -= 1
        self._let_in()

    def _let_in(self) -> None:
        free = self.pace.allowed - self.inside
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
