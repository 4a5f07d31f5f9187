"""The official SDK as its documentation shows it, with no retry."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from openai import AsyncOpenAI

from scripts.bench_client.load import MODEL, Answer, Ask, Load, main


@asynccontextmanager
async def client(load: Load) -> AsyncGenerator[Ask]:
    async def ask() -> Answer:
        answer = Answer()
        chunks = await sdk.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Say a word."}],
            max_tokens=load.tokens,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in chunks:
            if chunk.choices and (text := chunk.choices[0].delta.content):
                answer.texts.append(text)
                answer.at_s.append(time.monotonic())
        return answer

    async with AsyncOpenAI(base_url=f"{load.url}/v1", api_key="none", max_retries=0) as sdk:
        yield ask


if __name__ == "__main__":
    main(client)
