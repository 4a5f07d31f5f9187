"""Requests over aiohttp: connections are kept, pieces are handed on as they come.

Trade-offs accepted: a connection that was idle for a second is not used again, for the server may
be closing it (uvicorn does after 5 s). A redirect is not followed: it would be answered by somebody
else. The environment's proxies are left out, as everywhere here.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime

import aiohttp

from harness.runs import retry
from harness.runs.retry import Failure
from harness.runs.transport import SAID_BYTES, UnansweredError

CONNECT_S = 10.0
IDLE_CONNECTION_S = 1.0
BUFFER_BYTES = 1 << 16  # of one answer that is not read: then the server has to wait


class Wire:
    """One base URL."""

    def __init__(self, url: str, *, key: str, idle_s: float, total_s: float, most: int) -> None:
        """`idle_s`: without a byte; `total_s`: for a whole answer; `most`: connections."""
        self._url = url.rstrip("/")
        self._key = key
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=most, keepalive_timeout=IDLE_CONNECTION_S),
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
        began, pieces = time.monotonic(), 0

        async def read(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
            nonlocal pieces
            async for piece in response.content.iter_any():
                pieces += 1
                yield piece

        try:
            async with self._session.post(
                f"{self._url}{path}",
                data=body,
                headers={"content-type": "application/json"},
                allow_redirects=False,
            ) as response:
                if (kind := retry.of_status(response.status)) is not None:
                    raise await self._refused(response, kind)
                yield read(response)
        except TimeoutError as error:
            if time.monotonic() - began >= self._total_s:
                why = f"no whole answer within {self._total_s:g} s"
            else:
                why = f"nothing came for {self._idle_s:g} s"
            raise UnansweredError(Failure.STALLED, why) from error
        except (aiohttp.ClientError, OSError) as error:
            kind = Failure.TRUNCATED if pieces else Failure.CONNECT
            raise UnansweredError(kind, str(error) or type(error).__name__) from error

    async def _refused(self, response: aiohttp.ClientResponse, kind: Failure) -> UnansweredError:
        said = (await response.content.read(SAID_BYTES)).decode(errors="replace")
        if self._key:
            said = said.replace(self._key, "***")  # a server may echo the key that it refuses
        return UnansweredError(
            kind,
            f"answered {response.status}: {' '.join(said.split())}",
            _retry_after_s(response.headers.get("retry-after", "")),
        )


def _retry_after_s(said: str) -> float | None:
    """Seconds, or a date (RFC 9110, section 10.2.3); None where neither is meant."""
    if said.strip().isdigit():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
