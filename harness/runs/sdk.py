"""Requests by the openai package, which is what users have: its URLs, headers, pools and timeouts.

Its retries are off, and what it would read out of an answer is left to `assembling`: its own
reading hides whether [DONE] came. What is no part of OpenAI's API goes by the wire.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
import orjson

from harness.runs import retry
from harness.runs.retry import Failure
from harness.runs.transport import CONNECT_S, IDLE_CONNECTION_S, UnansweredError, refused
from harness.runs.wire import Wire
from launchers.openai_api import CHAT, COMPLETIONS

OWN = {  # fields that the package names; the others go on as they are
    CHAT: ("model", "messages", "stream"),
    COMPLETIONS: ("model", "prompt", "stream"),
}


class Sdk:
    """One base URL."""

    def __init__(self, url: str, *, key: str, most: int) -> None:
        """As `wire.Wire`."""
        self._key = key
        self._wire = Wire(url, key=key, most=most)
        self._client = openai.AsyncOpenAI(
            base_url=f"{url.rstrip('/')}/v1",
            api_key=key or "none",
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(
                timeout=httpx2.Timeout(None, connect=CONNECT_S),
                limits=httpx2.Limits(
                    max_connections=most,
                    max_keepalive_connections=most,
                    keepalive_expiry=IDLE_CONNECTION_S,
                ),
                trust_env=False,
                follow_redirects=False,
            ),
        )
        made = {CHAT: self._client.chat.completions, COMPLETIONS: self._client.completions}
        self._made: dict[str, Any] = {
            path: api.with_streaming_response.create for path, api in made.items()
        }

    async def close(self) -> None:
        await self._client.close()
        await self._wire.close()

    async def status(self, path: str, within_s: float) -> int | None:
        return await self._wire.status(path, within_s)

    def end_broken(self) -> None:
        self._wire.end_broken()

    @asynccontextmanager
    async def stream(self, path: str, body: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        if path not in self._made:
            async with self._wire.stream(path, body) as pieces:
                yield pieces
            return
        fields: dict[str, Any] = orjson.loads(body)
        own = {name: fields.pop(name) for name in OWN[path] if name in fields}
        if path == CHAT and not isinstance(own.get("messages"), list):
            # The package refuses a chat without; its server is to do so.
            fields |= {"messages": own["messages"]} if "messages" in own else {}
            own["messages"] = openai.omit
        broken = Failure.CONNECT
        try:
            async with self._made[path](**own, extra_body=fields) as response:
                if (kind := retry.of_status(response.status_code)) is not None:
                    raise refused(kind, response.status_code, b"", "", self._key)
                broken = Failure.TRUNCATED
                yield response.iter_bytes()
        except openai.APIStatusError as error:
            raise self._refused(error) from error
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            why = error.__cause__ or error
            raise UnansweredError(broken, str(why) or type(why).__name__) from error

    def _refused(self, error: openai.APIStatusError) -> UnansweredError:
        kind = retry.of_status(error.status_code) or Failure.MALFORMED
        content, headers = error.response.content, error.response.headers
        return refused(kind, error.status_code, content, headers.get("retry-after", ""), self._key)
