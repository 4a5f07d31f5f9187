"""What is known of the engine that is asked, while it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from launchers.dialect import Dialect

DYING_S = 0.5
KEYS_REFUSED = 5  # 401 in a row, and no answer between them: the key is refused, not a request


@dataclass(slots=True, kw_only=True)
class Engine:
    """One life of it."""

    dialect: Dialect
    supervised: bool  # it is ours to start again
    alive: Callable[[], bool]  # whether its process runs; of a URL always
    reachable: Callable[[], Awaitable[bool]]  # whether anything answers there
    key_refused: Callable[[], Awaitable[bool]]  # whether another question is answered by 401 too
    ends_with_done: bool  # every stream of it has to end with [DONE]; of a stranger it is learnt
    heard_at: float = 0.0  # when a piece of any answer came last, by time.monotonic
    stalls: int = 0  # attempts that stalled since then
    keys_refused: int = 0  # 401 since the last answer
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # it does not answer any more
    why_gone: str = ""

    def heard(self, now: float) -> None:
        self.heard_at = now
        self.stalls = 0

    async def is_dead(self) -> bool:
        """To be asked when a connection broke: that is seen before the kernel marks a process of
        ours as dead."""
        if self.supervised and self.alive():
            await asyncio.sleep(DYING_S)
        return not self.alive()

    async def is_gone(self, why: str, *, status: int | None, unheard: bool) -> bool:
        """Whether it is not one request that failed, but all that would come after it would too.

        `unheard`: nothing answered at all.
        """
        if status == 401:
            self.keys_refused += 1
            gone = self.keys_refused >= KEYS_REFUSED or await self.key_refused()
        else:
            gone = unheard and not await self.reachable()
        if gone:
            self.why_gone = why
            self.gone.set()
        return gone
