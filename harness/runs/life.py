"""One life of an engine: it is asked until all requests are over, it ends, or we are stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from enum import StrEnum
from typing import Any

from harness.runs.asking import Asking
from harness.runs.engine import Engine
from harness.runs.journal import NoRoomError
from harness.runs.plan import Request
from harness.runs.writer import Writer

LOOK_S = 0.25  # between two looks at the engine
STALLS = 3  # attempts that stalled, and nothing was heard meanwhile: no single request's fault


class End(StrEnum):
    """Why a life is over."""

    DONE = "done"  # no request is left
    STOPPED = "stopped"  # by the user
    DIED = "died"
    HUNG = "hung"  # its process runs, and nothing comes from it
    GONE = "gone"  # nobody answers there any more, or the key is refused


async def live(asking: Asking, requests: AsyncIterator[Request], stop: asyncio.Event) -> End:
    """Asks all `requests`, as many at a time as the gate lets in.

    What was under way when it ends is left begun in the story, and can be asked again in another
    life. Everything is written when it returns. Raises what a part of it raised.
    """
    writing = asyncio.create_task(asking.writer.run())
    measuring = asyncio.create_task(asking.lateness.run())
    try:
        end = await _asked(asking, requests, stop, writing)
        if end not in (End.DONE, End.STOPPED):
            asking.writer.line("engine", end=end)
        return await _kept(end, asking.writer, stop)
    finally:
        measuring.cancel()
        writing.cancel()
        try:
            await writing
        except asyncio.CancelledError:
            pass
        except NoRoomError as error:  # we were stopped while there was none
            asking.writer.announce(f"{error}; what came since then will be asked for again")


async def _kept(end: End, writer: Writer, stop: asyncio.Event) -> End:
    """The same, once all is written; STOPPED where there was no room for it until then."""
    written = asyncio.create_task(writer.written())
    stopped = asyncio.create_task(stop.wait())
    if end is not End.STOPPED:
        await asyncio.wait({written, stopped}, return_when=asyncio.FIRST_COMPLETED)
    kept = written.done()
    for one in (written, stopped):
        one.cancel()
    return end if kept or end is End.STOPPED else End.STOPPED


async def _asked(
    asking: Asking,
    requests: AsyncIterator[Request],
    stop: asyncio.Event,
    writing: asyncio.Task[None],
) -> End:
    working = [asyncio.create_task(_work(asking, requests)) for _ in range(asking.limits.in_flight)]
    all_done = asyncio.gather(*working)
    watched: dict[asyncio.Future[Any], End | None] = {
        all_done: End.DONE,
        asyncio.create_task(stop.wait()): End.STOPPED,
        asyncio.create_task(_minded(asking)): None,
        writing: None,
    }
    try:
        done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        first = next(one for one in watched if one in done)
        found = first.result()  # raises what it raised
        return watched[first] or found
    finally:
        for one in (*working, *watched):
            if one is not writing:
                one.cancel()
        await asyncio.gather(*working, *(set(watched) - {writing}), return_exceptions=True)


async def _work(asking: Asking, requests: AsyncIterator[Request]) -> None:
    async for request in requests:
        await asking.ask(request)


async def _minded(asking: Asking) -> End:
    """Returns when the engine has died, hangs, or is gone."""
    engine, looked = asking.engine, time.monotonic()
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await engine.gone.wait()
        now = time.monotonic()
        asking.attempts.end_stalled(max(0.0, now - looked - 2 * LOOK_S))
        looked = now
        asking.watch.late_worst_s = max(asking.watch.late_worst_s, asking.lateness.worst_s)
        if not engine.alive():
            return End.DIED
        if engine.gone.is_set():
            return End.HUNG if engine.supervised else End.GONE
        if not asking.writer.has_room or (not asking.gate.inside and not engine.stalls):
            engine.heard_at = now
        silent = now - engine.heard_at > asking.limits.idle_s
        if engine.supervised and engine.stalls and silent and await _hangs(engine):
            return End.HUNG


async def _hangs(engine: Engine) -> bool:
    """Whether an engine from which nothing comes is to blame, and not a request that stalls it."""
    return engine.stalls >= STALLS or not await engine.reachable()
