"""Requests over aiohttp: connections are kept, pieces are handed on as they come.

Trade-offs accepted: a connection that was idle for a second is not used again, for the server may
be closing it (uvicorn does after 5 s). A redirect is not followed: it would be answered by somebody
else. The environment's proxies are left out, as everywhere here.
"""

from __future__ import annotations

import asyncio
import time
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
    stalled,
)

END_S = 0.05  # for the end of an answer that is whole: then its connection can be kept
BUFFER_BYTES = 1 << 16  # of one answer that is not read: then the server has to wait


class Wire:
    """One base URL."""

    def __init__(self, url: str, *, key: str, idle_s: float, total_s: float, most: int) -> None:
        """`idle_s`: without a byte; `total_s`: for a whole answer; `most`: connections."""
        self._url = url.rstrip("/")
        self._key = key
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=most, keepalive_timeout=IDLE_CONNECTION_S, ssl=certificates()
            ),
            timeout=aiohttp.ClientTimeout(
                total=total_s, sock_connect=CONNECT_S, sock_read=idle_s, ceil_threshold=float("inf")
            ),
            headers={"authorization": f"Bearer {key}"} if key else {},
            read_bufsize=BUFFER_BYTES,
        )
        self._idle_s, self._total_s = idle_s, total_s

    async def close(self) -> None:
        await self._session.close()

    @asynccontextmanager
    async def stream(self, path: str, body: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        began, broken = time.monotonic(), Failure.CONNECT
        try:
            async with self._session.post(
                f"{self._url}{path}",
                data=body,
                headers={"content-type": "application/json"},
                allow_redirects=False,
            ) as response:
                if (kind := retry.of_status(response.status)) is not None:
                    said = await response.content.read(SAID_BYTES)
                    after = response.headers.get("retry-after", "")
                    raise refused(kind, response.status, said, after, self._key)
                broken = Failure.TRUNCATED
                yield response.content.iter_any()
                with suppress(TimeoutError):
                    async with asyncio.timeout(END_S):
                        await response.content.readany()
        except TimeoutError as error:
            raise stalled(time.monotonic() - began, self._idle_s, self._total_s) from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnansweredError(broken, str(error) or type(error).__name__) from error
