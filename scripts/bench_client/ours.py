"""The run engine as it stands: journal, retries, times, metrics, and all that is looked at.

Beside what the raw clients do it writes every piece of every answer to a journal on disk. The
answers are read from that journal at the end, which is not timed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import orjson
import uvloop

from harness.base.case import Chat
from harness.base.suite import Suite, Task
from harness.runs import journal
from harness.runs.asking import Asking
from harness.runs.attempt import Attempts
from harness.runs.engine import Engine
from harness.runs.feed import Listed
from harness.runs.gate import Gate
from harness.runs.journal import Journal
from harness.runs.lateness import Lateness
from harness.runs.life import End, live
from harness.runs.pace import Pace
from harness.runs.plan import Request
from harness.runs.spec import LimitsTable
from harness.runs.story import ANSWERED, Story, told
from harness.runs.watch import Watch
from harness.runs.wire import Wire
from harness.runs.writer import Writer
from launchers.openai_api import CHAT
from launchers.vllm import VllmDialect
from scripts.bench_client.load import MODEL, QUARTERS, Load, Measured, body, peak_mib, rss_mib

TASK = Task(id="word", chat=Chat(messages=(), tools=None, thinking=None), expected="")
SUITE = Suite(
    name="bench",
    fingerprint="",
    tasks=(TASK,),
    raw=False,
    score=lambda _task, _reply: 0.0,
    tokens=lambda _task: 0.0,
)


class Timed(Journal):
    """A journal that measures its syncs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.sync_ms: list[float] = []

    def sync(self) -> None:
        began = time.monotonic()
        super().sync()
        self.sync_ms.append(1e3 * (time.monotonic() - began))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    for name in ("streams", "tokens", "requests"):
        parser.add_argument(name, type=int)
    load = Load(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.jsonl"
        opened = Timed(path)
        with opened:
            measured = uvloop.run(_measured(load, opened))
        began_s = time.monotonic()
        _require_all(path, load)
        read_s = time.monotonic() - began_s
        kept = {"seconds": _seconds(path), "read_s": read_s, "sync_ms": opened.sync_ms}
    print(orjson.dumps({**asdict(measured), **kept}).decode())


async def _measured(load: Load, opened: Journal) -> Measured:
    looks: list[float] = []
    asking = _asking(load, opened)
    began_cpu_s = time.process_time()
    end = await live(asking, Listed(_requests(load, looks)), asyncio.Event())
    cpu_s = time.process_time() - began_cpu_s
    await asking.attempts.transport.close()
    if end is not End.DONE:
        raise ValueError(f"the engine {end}")
    looks.append(rss_mib())
    return Measured(
        tokens=load.tokens * load.requests,
        seconds=0.0,  # of the journal, when it is read
        cpu_s=cpu_s,
        rss_mib_peak=peak_mib(looks),
        rss_mib=looks,
    )


def _asking(load: Load, opened: Journal) -> Asking:
    limits = LimitsTable(
        in_flight=load.streams, attempts=1, retries=0, idle_s=60.0, total_s=600.0, restarts=0
    )
    engine = Engine(
        dialect=VllmDialect(model=MODEL),
        ends_with_done=True,
        supervised=False,
        alive=lambda: True,
        reachable=_yes,
        key_refused=_yes,
    )
    attempts = Attempts(
        engine=engine,
        transport=Wire(load.url, key="", most=load.streams),
        writer=Writer(opened, time.time, print),
        limits=limits,
        watch=Watch(engine="bench", total=load.requests),
    )
    return Asking(
        attempts=attempts,
        engine=engine,
        writer=attempts.writer,
        story=Story(),
        gate=Gate(Pace(load.streams)),
        limits=limits,
        watch=attempts.watch,
        lateness=Lateness(),
        rng=random.Random(0),
    )


async def _yes() -> bool:
    """Nothing goes wrong here, and so nothing is asked."""
    return True


def _requests(load: Load, looks: list[float]) -> Iterator[Request]:
    """Memory is looked at when a quarter of them has been handed out."""
    asked = orjson.loads(body(load))
    quarters = {round(share * load.requests) for share in QUARTERS}
    for n in range(load.requests):
        if n in quarters:
            looks.append(rss_mib())
        yield Request(
            n=n,
            id=f"{n:016x}",
            suite=SUITE,
            task=TASK,
            epoch=n,
            path=CHAT,
            body=asked,
            continues=False,
        )


def _require_all(path: Path, load: Load) -> None:
    """Raises ValueError where the journal does not hold every answer, whole."""
    ends = told(journal.read(path))
    whole = sum(one.outcome == ANSWERED and one.end["chunks"] > load.tokens for one in ends)
    if whole != load.requests:
        raise ValueError(f"{whole} of {load.requests} answers stand in the journal")


def _seconds(path: Path) -> float:
    """From the first piece to the last, by the journal."""
    at_s = [line["at"] for line in journal.read(path) if line["kind"] == "parts"]
    return at_s[-1] - at_s[0]


if __name__ == "__main__":
    main()
