"""The seam between a run and the wire: a request goes out, an answer comes in pieces.

    UnansweredError    there is no answer, or none to its end; with the kind of failure that it is

Two implementations: `wire` (aiohttp), and `sdk` (the openai package), which is what users have.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from harness.runs.retry import Failure

SAID_BYTES = 500  # of an answer that is none, for its message


class UnansweredError(Exception):
    """Why a request has no answer, or no more of it."""

    def __init__(self, kind: Failure, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.kind = kind
        self.retry_after_s = retry_after_s  # what the server asks for; None: nothing


class Transport(Protocol):
    """One endpoint's connections. Nothing is sent twice here: that is the run's to decide."""

    def stream(self, path: str, body: bytes) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The answer to a POST, in the pieces in which it comes. Raises UnansweredError, before the
        first piece or after any. What is not read is not taken from the server either."""
        ...

    async def close(self) -> None: ...
