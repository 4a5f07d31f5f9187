"""An engine's HTTP side on a real socket, for what a healthy engine cannot show on demand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came in."""

    line: str
    headers: list[tuple[str, str]]  # names in lower case
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


Respond = Callable[[Received, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class FakeEngine:
    """Where it listens, and what it was asked."""

    url: str = ""
    received: list[Received] = field(default_factory=list[Received])


@contextmanager
def fake_engine(respond: Respond) -> Generator[FakeEngine]:
    """Answers every request with `respond`, then closes the connection."""
    engine = FakeEngine()
    loop = asyncio.new_event_loop()
    stop, ready = asyncio.Event(), threading.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            engine.received.append(request)
            await respond(request, reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=512)
        engine.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        server.close()

    def thread() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())

    worker = threading.Thread(target=thread)
    worker.start()
    ready.wait()
    try:
        yield engine
    finally:
        loop.call_soon_threadsafe(stop.set)
        worker.join()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    pairs = [line.split(": ", 1) for line in head[1:] if line]
    headers = [(name.lower(), value) for name, value in pairs]
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Received(line=head[0], headers=headers, body=await reader.readexactly(length))


def whole(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """An answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(number: int) -> bytes:
    """A token as an engine streams it."""
    return b'data: {"choices":[{"delta":{"content":"token %d \xc3\xa9"}}]}\n\n' % number
