"""aiohttp and orjson, and nothing between: what came, whatever it is, split here into events.

No timeout, no retry, no check of an event beyond what is read of it: what others are held against.
"""

from __future__ import annotations

import time

import aiohttp
import orjson

from scripts.bench_client import load, raw
from scripts.bench_client.load import Answer


async def read(response: aiohttp.ClientResponse) -> Answer:
    answer, rest = Answer(), b""
    async for piece in response.content.iter_any():
        now_s = time.monotonic()
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            if event == b"data: [DONE]":
                continue
            choices = orjson.loads(event[6:])["choices"]
            if choices and (text := choices[0]["delta"]["content"]):
                answer.texts.append(text)
                answer.at_s.append(now_s)
    return answer


if __name__ == "__main__":
    load.main(raw.client(read))
