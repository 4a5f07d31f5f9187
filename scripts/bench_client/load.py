"""The load that every client is put under, and what is measured of it.

    python -m scripts.bench_client.CLIENT URL STREAMS TOKENS REQUESTS

A client is a module that opens itself once and then answers `Ask`s, one a request; `main` keeps
STREAMS of them under way until REQUESTS are done and prints one line of JSON, a `Measured`. One
request goes before, and counts for nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

MODEL = "tiny-moe"
QUARTERS = (0.25, 0.5, 0.75, 1.0)  # of the requests: when memory is looked at
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked for."""

    url: str
    streams: int  # at once
    tokens: int  # of each request
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a client prints of its run."""

    tokens: int
    seconds: float  # from the first token to the last
    cpu_s: float  # of this process, all threads, from before the first request to after the last
    rss_mib_peak: float  # the kernel counts it now and then: a look may be above it
    rss_mib: list[float]  # at each of QUARTERS
    read_s: float = 0.0  # of such a client, its journal from beginning to end
    sync_ms: list[float] = field(default_factory=list[float])  # of a client that keeps a journal


@dataclass(slots=True)
class Answer:
    """One stream: its pieces of text, and the monotonic clock when each came."""

    texts: list[str] = field(default_factory=list[str])
    at_s: list[float] = field(default_factory=list[float])


Ask = Callable[[], Awaitable[Answer]]
Client = Callable[[Load], AbstractAsyncContextManager[Ask]]


def body(load: Load) -> bytes:
    """A chat request, as the clients without a library of their own send it."""
    messages = [{"role": "user", "content": "Say a word."}]
    asked = {"model": MODEL, "messages": messages, "max_tokens": load.tokens, "stream": True}
    return orjson.dumps({**asked, "stream_options": {"include_usage": True}})


def main(client: Client) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    for name in ("streams", "tokens", "requests"):
        parser.add_argument(name, type=int)
    load = Load(**vars(parser.parse_args()))
    print(orjson.dumps(asdict(asyncio.run(measured(client, load)))).decode())


async def measured(client: Client, load: Load) -> Measured:
    """Raises what a request raises, and ValueError where an answer has not the tokens asked for."""
    async with client(load) as ask:
        await ask()
        began_cpu_s = time.process_time()
        run = Run(load, ask)
        async with asyncio.TaskGroup() as lanes:
            for _ in range(load.streams):
                lanes.create_task(run.lane())
        cpu_s = time.process_time() - began_cpu_s
    return Measured(
        tokens=run.tokens,
        seconds=run.last_s - run.first_s,
        cpu_s=cpu_s,
        rss_mib_peak=peak_mib(run.rss_mib),
        rss_mib=run.rss_mib,
    )


class Run:
    """What is left to ask, and what came."""

    def __init__(self, load: Load, ask: Ask) -> None:
        self._load, self._ask = load, ask
        self._left, self._done = load.requests, 0
        self._looks = {max(1, round(share * load.requests)) for share in QUARTERS}
        self.tokens, self.first_s, self.last_s = 0, float("inf"), 0.0
        self.rss_mib: list[float] = []

    async def lane(self) -> None:
        """One request after the other, until none is left."""
        while self._left:
            self._left -= 1
            self._count(await self._ask())

    def _count(self, answer: Answer) -> None:
        if len(answer.texts) != self._load.tokens:
            raise ValueError(f"{len(answer.texts)} tokens came, {self._load.tokens} were asked for")
        self.tokens += len(answer.texts)
        self.first_s = min(self.first_s, answer.at_s[0])
        self.last_s = max(self.last_s, answer.at_s[-1])
        self._done += 1
        if self._done in self._looks:
            self.rss_mib.append(rss_mib())


def rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / MIB


def peak_mib(looks: Sequence[float]) -> float:
    """Of this process so far; `looks` may be above what the kernel has counted."""
    return max(*looks, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
