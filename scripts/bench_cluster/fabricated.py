"""What stands in for a node's worker: it asks no engine, and writes what one would have written.

A spec says what: `in_flight` streams, each of `max_tokens` tokens in `total_s` seconds, of answers
that have 1 to `max_tokens` tokens. There is a line for each tick in which some came, as a writer
makes them; ten ticks are written at once, for this machine has many nodes to be.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.base.home import home
from harness.nodes import attendant
from harness.nodes.attendant import Attendant
from harness.nodes.worker import Worker
from harness.runs.journal import SCHEMA
from harness.runs.life import End
from harness.runs.story import ANSWERED
from harness.runs.writer import TICK_S

TICKS = 10
STEP_S = TICKS * TICK_S
PART = {"reasoning": "word "}


@dataclass(slots=True, kw_only=True)
class Stream:
    """One request that is under way."""

    n: int
    began: float
    tokens: int  # of the whole answer
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Streams:
    """As many as may be at once."""

    under_way: dict[int, Stream] = field(default_factory=dict[int, Stream])
    free: asyncio.Queue[float] = field(default_factory=asyncio.Queue[float])  # since when each is


class FabricatingAttendant(Attendant):
    """With a folder of its own: all nodes are on one server."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._folder = tempfile.TemporaryDirectory(dir=home())
        os.environ["ENGINEDIFF_HOME"] = self._folder.name
        attendant.Worker = Fabricating


class Fabricating(Worker):
    """A worker whose engine is there at once, and never late."""

    def _work(self) -> None:
        try:
            self._end = asyncio.run(self._asked())
        except Exception:  # noqa: BLE001 - the edge of a node, as the real one's
            self._bug = traceback.format_exc()
            self._end = End.GONE
        finally:
            self._journal.close()

    async def _asked(self) -> End:
        limits, watch, streams = self._errand.spec.limits, self._watch, Streams()
        watch.state, watch.began, watch.allowed = "running", time.monotonic(), limits.in_flight
        self._journal.write([self._opened()])
        told = time.monotonic()
        for place in range(limits.in_flight):
            streams.free.put_nowait(told + STEP_S * place / limits.in_flight)
        with self._feed.bound() as stop:
            taking = asyncio.create_task(self._taken(streams))
            while not (stop.is_set() or (taking.done() and not streams.under_way)):
                await asyncio.sleep(max(0.0, told + STEP_S - time.monotonic()))
                for _ in range(TICKS):
                    told += TICK_S
                    self._journal.write([*self._came(streams, told)])
            taking.cancel()
        watch.state = End.STOPPED if stop.is_set() else End.DONE
        return End(watch.state)

    async def _taken(self, streams: Streams) -> None:
        """Begins what the feed holds, each when one before it has ended."""
        most = self._errand.spec.sampling.max_tokens
        while True:
            free_since = await streams.free.get()
            if (n := await self._feed.next()) is None:
                return
            began = max(free_since, time.monotonic() - 2 * STEP_S)
            self._watch.asked(began)
            self._watch.in_flight += 1
            tokens = random.Random(n).randint(1, most)
            streams.under_way[n] = Stream(n=n, began=began, tokens=tokens)
            self._journal.write([_line("sent", n=n, id=f"{n:016x}", attempt=1, **{"from": 0})])

    def _came(self, streams: Streams, now: float) -> Iterator[Mapping[str, Any]]:
        """What came in one tick, and what ended."""
        limits = self._errand.spec.limits
        rate = self._errand.spec.sampling.max_tokens / limits.total_s
        parts: list[tuple[int, Mapping[str, str]]] = []
        for stream in streams.under_way.values():
            due = min(stream.tokens, int((now - stream.began) * rate))
            for _ in range(stream.sent, due):
                parts.append((stream.n, PART))
                self._watch.between_tokens_s.add(1 / rate)
            stream.sent = max(due, stream.sent)
        self._watch.tokens += len(parts)
        if parts:
            yield _line("parts", parts=parts)
        for stream in [one for one in streams.under_way.values() if one.sent == one.tokens]:
            del streams.under_way[stream.n]
            streams.free.put_nowait(stream.began + stream.tokens / rate)
            yield self._ended(stream, now)

    def _ended(self, stream: Stream, now: float) -> Mapping[str, Any]:
        self._watch.ended(ANSWERED, stream.began, now)
        self._watch.in_flight -= 1
        self._story.over[stream.n] = ANSWERED
        return _line(
            "ended",
            n=stream.n,
            attempt=1,
            outcome=ANSWERED,
            final=True,
            whole_s=now - stream.began,
            longest_gap_s=0.016807,
            first_token_s=0.03055,
            tokens=stream.tokens,
            chunks=stream.tokens + 1,
            usage={"prompt_tokens": 100, "completion_tokens": stream.tokens},
        )

    def _opened(self) -> Mapping[str, Any]:
        return _line(
            "opened",
            schema=SCHEMA,
            spec=self._errand.spec.hash,
            engine="bench",
            title="bench",
            identity={"engine": "bench"},
            url="",
        )


def _line(kind: str, **fields: Any) -> Mapping[str, Any]:
    return {"kind": kind, "at": time.time(), **fields}
