"""A relay of bytes before an engine that keeps what the engine sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Tee:
    """Where it listens, and the engine's side of every connection."""

    url: str = ""
    sent: list[bytearray] = field(default_factory=list[bytearray])

    def bodies(self) -> list[bytes]:
        """The answers' bodies, one to a connection, taken out of their chunks."""
        return [_dechunked(bytes(sent).partition(b"\r\n\r\n")[2]) for sent in self.sent]


@contextmanager
def tee(engine: str) -> Generator[Tee]:
    """Relays connections to the engine at that URL."""
    recorded = Tee()
    host, _, port = engine.removeprefix("http://").partition(":")
    loop = asyncio.new_event_loop()
    stop, ready = asyncio.Event(), threading.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_engine, to_engine = await asyncio.open_connection(host, int(port))
        kept = bytearray()
        recorded.sent.append(kept)
        asking = asyncio.create_task(_relay(reader, to_engine, bytearray()))
        await _relay(from_engine, writer, kept)
        asking.cancel()
        to_engine.close()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=512)
        recorded.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
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
        yield recorded
    finally:
        loop.call_soon_threadsafe(stop.set)
        worker.join()


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray
) -> None:
    while data := await reader.read(65536):
        kept += data
        writer.write(data)
        await writer.drain()


def _dechunked(body: bytes) -> bytes:
    parts: list[bytes] = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(body[:length])
        body = body[length + 2 :]
    return b"".join(parts)
