"""What happens is written in its order, once, whatever the disk does meanwhile."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from harness.runs import journal, writer
from harness.runs.journal import Journal, NoRoomError
from harness.runs.writer import TICK_S, Writer

AGAIN_S = 0.02


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "AGAIN_S", AGAIN_S)


@contextmanager
def full(path: Path, more: int) -> Generator[None]:
    """A limit of the file's size stands for the disk: so many bytes fit still."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, kept)


async def ended(running: asyncio.Task[None]) -> None:
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def until_paused(made: Writer) -> None:
    async with asyncio.timeout(5):
        while made.has_room:
            await asyncio.sleep(0.005)


def heart(path: Path) -> list[tuple[Any, ...]]:
    """The lines, as far as they matter here."""
    return [
        (line["kind"], [n for n, _ in line["parts"]] if "parts" in line else line["n"])
        for line in journal.read(path)
    ]


def test_parts_between_two_lines_are_one_line_and_keep_their_order(tmp_path: Path) -> None:
    async def write(opened: Journal) -> None:
        made = Writer(opened, lambda: 1.5, print)
        running = asyncio.create_task(made.run())
        made.line("sent", n=1)
        made.part(1, {"content": "a"})
        made.part(2, {"content": "b"})
        made.part(1, {"content": "c"})
        made.line("ended", n=1)
        made.part(2, {"content": "d"})
        await asyncio.sleep(4 * TICK_S)
        assert heart(opened.path)[-1] == ("parts", [2])  # nothing waits for the end
        made.part(2, {"content": "e"})
        await asyncio.sleep(4 * TICK_S)
        await ended(running)

    path = tmp_path / "j.jsonl"
    with Journal(path) as opened:
        asyncio.run(write(opened))
    assert heart(path) == [
        ("sent", 1),
        ("parts", [1, 2, 1]),
        ("ended", 1),
        ("parts", [2]),
        ("parts", [2]),
    ]
    assert {line["at"] for line in journal.read(path)} == {1.5}


def test_what_is_left_is_written_when_it_is_cancelled(tmp_path: Path) -> None:
    async def write(opened: Journal) -> None:
        made = Writer(opened, lambda: 0.0, print)
        running = asyncio.create_task(made.run())
        await asyncio.sleep(0)
        made.line("sent", n=1)
        made.part(1, {"content": "a"})
        await ended(running)

    path = tmp_path / "j.jsonl"
    with Journal(path) as opened:
        asyncio.run(write(opened))
    assert heart(path) == [("sent", 1), ("parts", [1])]


def test_a_full_disk_is_waited_for_and_nothing_is_lost_or_stands_twice(tmp_path: Path) -> None:
    path, told = tmp_path / "j.jsonl", list[str]()
    paused: list[float] = []

    async def write(opened: Journal) -> None:
        made = Writer(opened, lambda: 0.0, told.append)
        running = asyncio.create_task(made.run())
        now = time.monotonic
        began = now()
        made.line("before", n=0)
        await asyncio.sleep(4 * TICK_S)
        with full(path, 100):
            made.line("long", n=1, text="x" * 1000)
            await until_paused(made)
            made.line("short", n=2)  # fits, and does not overtake
            made.part(3, {"content": "a"})
            waiting = asyncio.create_task(made.room())
            await asyncio.sleep(5 * AGAIN_S)
            assert not waiting.done()
            assert len(told) == 1 and "no room" in told[0] and "waits" in told[0]
            assert heart(path) == [("before", 0)]
            paused.append(made.paused_since(began))
        await asyncio.wait_for(waiting, 5)
        made.line("after", n=4)
        await asyncio.sleep(4 * TICK_S)
        paused.append(made.paused_since(began))
        await asyncio.sleep(4 * TICK_S)
        paused.append(made.paused_since(began))
        assert made.paused_since(now()) == 0.0
        await ended(running)

    with Journal(path) as opened:
        asyncio.run(write(opened))
    assert heart(path) == [("before", 0), ("long", 1), ("short", 2), ("parts", [3]), ("after", 4)]
    assert len(told) == 2 and "there is room again" in told[1]
    assert 5 * AGAIN_S <= paused[0] <= paused[1] == paused[2]


def test_it_may_be_full_twice(tmp_path: Path) -> None:
    path, told = tmp_path / "j.jsonl", list[str]()

    async def write(opened: Journal) -> None:
        made = Writer(opened, lambda: 0.0, told.append)
        running = asyncio.create_task(made.run())
        for n in range(2):
            with full(path, 10):
                made.line("long", n=n)
                await until_paused(made)
            await asyncio.wait_for(made.room(), 5)
        await ended(running)

    with Journal(path) as opened:
        asyncio.run(write(opened))
    assert heart(path) == [("long", 0), ("long", 1)]
    assert len(told) == 4


def test_what_does_not_fit_at_the_end_is_an_error_and_leaves_a_whole_journal(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j.jsonl"

    async def write(opened: Journal) -> None:
        made = Writer(opened, lambda: 0.0, lambda _: None)
        running = asyncio.create_task(made.run())
        made.line("before", n=0)
        await asyncio.sleep(4 * TICK_S)
        with full(path, 10):
            made.line("long", n=1)
            await until_paused(made)
            running.cancel()
            with pytest.raises(NoRoomError, match=r"j\.jsonl"):
                await running

    with Journal(path) as opened:
        asyncio.run(write(opened))
    assert heart(path) == [("before", 0)]
