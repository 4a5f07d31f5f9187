"""aiohttp and orjson, and nothing between: events found by aiohttp's own lines.

No timeout, no retry, no check of an event beyond what is read of it: what others are held against.
"""

from __future__ import annotations

import time

import aiohttp
import orjson

from scripts.bench_client import load, raw
from scripts.bench_client.load import Answer


async def read(response: aiohttp.ClientResponse) -> Answer:
    answer = Answer()
    async for line in response.content:
        if line.startswith(b"data: {"):
            now_s = time.monotonic()
            choices = orjson.loads(line[6:])["choices"]
            if choices and (text := choices[0]["delta"]["content"]):
                answer.texts.append(text)
                answer.at_s.append(now_s)
    return answer


if __name__ == "__main__":
    load.main(raw.client(read))
