"""Requests over aiohttp: connections are kept, pieces are handed on as they come.

Trade-offs accepted: `asking` keeps the time, for a timer of aiohttp's own would be set anew by
every piece. A connection that was idle for a second is not used again, for the server may be
closing it (uvicorn does after 5 s). A redirect is not followed: it would be answered by somebody
else. The environment's proxies are left out, as everywhere here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from harness.client import certificates
from harness.runs import retry
from harness.runs.retry import Failure
from harness.runs.transport import (
    CONNECT_S,
    IDLE_CONNECTION_S,
    SAID_BYTES,
    UnansweredError,
    refused,
)

END_S = 0.05  # for the end of an answer that is whole: then its connection can be kept
BUFFER_BYTES = 1 << 16  # of one answer that is not read: then the server has to wait


class Wire:
    """One base URL."""

    def __init__(self, url: str, *, key: str, most: int) -> None:
        """`most`: connections."""
        self._url = url.rstrip("/")
        self._key = key
        self._open: set[aiohttp.ClientResponse] = set()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=most, keepalive_timeout=IDLE_CONNECTION_S, ssl=certificates()
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            headers={"authorization": f"Bearer {key}"} if key else {},
            read_bufsize=BUFFER_BYTES,
        )

    def end_broken(self) -> None:
        """aiohttp 3.14 leaves a reader waiting whose answer's chunked encoding broke."""
        for response in self._open:
            connection = response.connection
            if connection is not None and connection.transport is None:
                error = aiohttp.ClientPayloadError("what came is no chunked encoding")
                response.content.set_exception(error)

    async def close(self) -> None:
        await self._session.close()

    async def status(self, path: str, within_s: float) -> int | None:
        try:
            async with (
                asyncio.timeout(within_s),
                self._session.get(f"{self._url}{path}", allow_redirects=False) as response,
            ):
                return response.status
        except (aiohttp.ClientError, OSError):  # a TimeoutError is one too
            return None

    @asynccontextmanager
    async def stream(self, path: str, body: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        broken = Failure.CONNECT
        try:
            async with self._session.post(
                f"{self._url}{path}",
                data=body,
                headers={"content-type": "application/json"},
                allow_redirects=False,
            ) as response:
                if (kind := retry.of_status(response.status)) is not None:
                    said = await response.content.read(SAID_BYTES + len(self._key))
                    after = response.headers.get("retry-after", "")
                    raise refused(kind, response.status, said, after, self._key)
                broken = Failure.TRUNCATED
                self._open.add(response)
                try:
                    yield response.content.iter_any()
                finally:
                    self._open.discard(response)
                with suppress(aiohttp.ClientError, OSError):  # all that was to come has come
                    async with asyncio.timeout(END_S):
                        await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise UnansweredError(broken, str(error) or type(error).__name__) from error
