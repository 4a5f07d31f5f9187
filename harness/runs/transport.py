"""The seam between a run and the wire: a request goes out, an answer comes in pieces.

    UnansweredError    there is no answer, or none to its end; with the kind of failure that it is

Two implementations: `wire` (aiohttp), and `sdk` (the openai package), which is what users have.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from typing import Protocol

from harness.runs.hiding import hidden
from harness.runs.retry import Failure

CONNECT_S = 10.0
IDLE_CONNECTION_S = 1.0  # a connection that was idle for longer may be closing (uvicorn: 5 s)
SAID_BYTES = 500  # of an answer that is none, for its message


class UnansweredError(Exception):
    """Why a request has no answer, or no more of it."""

    def __init__(
        self,
        kind: Failure,
        why: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(why)
        self.kind = kind
        self.status = status  # of HTTP, where it says why; None: there was no answer, or it was 200
        self.retry_after_s = retry_after_s  # what the server asks for; None: nothing


class Transport(Protocol):
    """One endpoint's connections. Nothing is sent twice here: that is the run's to decide."""

    def stream(self, path: str, body: bytes) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The answer to a POST, in the pieces in which it comes. Raises UnansweredError: CONNECT
        where there was no answer, TRUNCATED where it broke off. What is not read is not taken
        from the server either. How long it may take is the caller's to say."""
        ...

    async def status(self, path: str, within_s: float) -> int | None:
        """Of the answer to a GET; None: there is none within that time."""
        ...

    def end_broken(self) -> None:
        """Ends the answers whose connection is gone and that do not notice; to be called now and
        then."""
        ...

    async def close(self) -> None: ...


def refused(
    kind: Failure, status: int, content: bytes, retry_after: str, key: str
) -> UnansweredError:
    """An answer of another status than 200, its key hidden: a server may echo what it refuses."""
    said = hidden(content, key)[:SAID_BYTES].decode(errors="replace")
    said = " ".join(said.split())
    why = f"answered {status}: {said}"
    return UnansweredError(kind, why, status=status, retry_after_s=_retry_after_s(retry_after))


def _retry_after_s(said: str) -> float | None:
    """Seconds, or a date (RFC 9110, section 10.2.3); None where neither is meant."""
    if said.isascii() and said.strip().isdigit():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
