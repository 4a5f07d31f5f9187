"""What the two raw clients share: a session of aiohttp that does no more than it must."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp

from scripts.bench_client.load import Answer, Ask, Client, Load, body

HEADERS = {"content-type": "application/json"}


def client(read: Callable[[aiohttp.ClientResponse], Awaitable[Answer]]) -> Client:
    """A client that has `read` take the events of a response."""

    @asynccontextmanager
    async def opened(load: Load) -> AsyncGenerator[Ask]:
        url, asked = f"{load.url}/v1/chat/completions", body(load)

        async def ask() -> Answer:
            async with session.post(url, data=asked, headers=HEADERS) as response:
                response.raise_for_status()
                return await read(response)

        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
        ) as session:
            yield ask

    return opened
