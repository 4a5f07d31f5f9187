"""What the gateway adds to each streamed token: `measure_gateway.py`, or with `--pin PIN`.

Without a pin the engine is a process that stamps each event with the machine's monotonic clock as
it sends it, so that a delay is a difference of two readings of one clock. Each stream is asked for
twice at once, directly and through the gateway, and their tokens are compared pairwise: what else
the machine does strikes both. Source, gateway and reader are processes of their own.

With a pin the real engine is started, and the same requests (same seeds) go directly and through
the gateway in turn: the ratio of the times per token is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from harness import candidate, gateway, ports
from launchers import contracts

FAMILY = "kimi-k2.6"
WARM_UP = 5  # tokens at the start of each stream that do not count
CHAT = "/v1/chat/completions"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is streamed."""

    streams: int  # this many directly and as many through the gateway, all at once
    tokens: int  # of each stream
    tokens_per_s: float


async def source() -> None:
    """Streams as many stamped events as a request asks for, at its rate."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        asked = json.loads(await reader.readexactly(length))
        writer.write(HEAD)
        due = asyncio.get_running_loop().time()
        for _ in range(asked["tokens"]):
            due += 1 / asked["tokens_per_s"]
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            event = b'data: {"sent": %d, "choices": [{"delta": {"content": "token"}}]}\n\n' % (
                time.monotonic_ns()
            )
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(ports.url("127.0.0.1", server.sockets[0].getsockname()[1]), flush=True)
    await server.serve_forever()


def front(engine: str) -> None:
    """The gateway as `serve --enforce` runs it."""
    with (
        ports.bound("127.0.0.1", None) as listener,
        gateway.running(listener, engine=engine, contract=contracts.load(FAMILY)),
    ):
        print(ports.url("127.0.0.1", listener.getsockname()[1]), flush=True)
        while True:
            time.sleep(0.2)


@contextlib.contextmanager
def role(*arguments: str) -> Generator[str]:
    """This script as another process; its URL."""
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


async def delays_ns(url: str, load: Load) -> list[int]:
    """From sending to reading, for each token of one stream."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({"tokens": load.tokens, "tokens_per_s": load.tokens_per_s}).encode()
    writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode())
    writer.write(body)
    delays: list[int] = []
    while len(delays) < load.tokens:
        line = await reader.readline()
        if line.startswith(b"data: "):
            delays.append(time.monotonic_ns() - json.loads(line[6:])["sent"])
    writer.close()
    return delays[WARM_UP:]


async def pairs_ns(direct: str, through: str, load: Load) -> list[tuple[int, int]]:
    """(direct, through the gateway) for each token of each stream."""
    urls = [url for _ in range(load.streams) for url in (direct, through)]
    found = await asyncio.gather(*(delays_ns(url, load) for url in urls))
    streams = zip(found[::2], found[1::2], strict=True)
    return [pair for one, other in streams for pair in zip(one, other, strict=True)]


def percentile(values: list[int], share: float) -> float:
    return sorted(values)[round(share * (len(values) - 1))] / 1e3


def report(load: Load, pairs: list[tuple[int, int]]) -> None:
    """Microseconds."""
    direct, through = [one for one, _ in pairs], [other for _, other in pairs]
    added = [other - one for one, other in pairs]
    print(
        f"{load.streams:4} streams x {load.tokens_per_s:g} tokens/s, {len(pairs)} pairs, in us: "
        f"direct {percentile(direct, 0.5):.0f} (99 %: {percentile(direct, 0.99):.0f}), gateway "
        f"{percentile(through, 0.5):.0f} ({percentile(through, 0.99):.0f}); difference of a pair: "
        f"median {percentile(added, 0.5):+.0f}, 99 % {percentile(added, 0.99):+.0f}; "
        f"difference of the 99 %: {percentile(through, 0.99) - percentile(direct, 0.99):+.0f}"
    )


async def ms_per_token(url: str, model: str, seed: int) -> float:
    """Of one stream, from its first event to its last."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    asked = {"model": model, "prompt": "The", "max_tokens": 128, "stream": True, "seed": seed}
    body = json.dumps({**asked, "temperature": 1, "top_p": 0.95}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
    writer.write(f"{head}content-type: application/json\r\n\r\n".encode() + body)
    times: list[float] = []
    while True:
        line = await reader.readline()
        if line.startswith(b"data: [DONE]"):
            break
        if line.startswith(b"data: "):
            times.append(time.monotonic())
    writer.close()
    return 1e3 * (times[-1] - times[0]) / max(1, len(times) - 1)


def with_engine(pin: str, rounds: int) -> None:
    """The same seeds, directly and through the gateway in turn."""
    loaded = candidate.prepared(pin, ())
    assert loaded is not None
    with (
        tempfile.TemporaryDirectory() as folder,
        candidate.launched(loaded, log=Path(folder) / "log", announce=print) as engine,
        role("--front", engine.endpoint.url) as through,
    ):
        urls, name = (engine.endpoint.url, through), loaded.pin.model.name
        for url in urls:
            asyncio.run(ms_per_token(url, name, 0))
        rows = [
            [asyncio.run(ms_per_token(url, name, seed)) for url in urls] for seed in range(rounds)
        ]
    ratios = [other / one for one, other in rows if one]
    print(
        f"{pin}: {statistics.median(one for one, _ in rows):.3f} ms per token directly; through "
        f"the gateway times {statistics.median(ratios):.4f} (median of {len(ratios)} pairs, "
        f"quartiles {' to '.join(f'{q:.4f}' for q in statistics.quantiles(ratios, n=4)[::2])})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pin")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 50, 200])
    parser.add_argument("--tokens", type=int, default=105)
    parser.add_argument("--rate", type=float, default=10.0, help="tokens/s of each stream")
    parser.add_argument("--source", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--front", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.source:
        asyncio.run(source())
    elif options.front:
        front(options.front)
    elif options.pin:
        with_engine(options.pin, options.rounds)
    else:
        with role("--source") as direct, role("--front", direct) as through:
            for count in options.streams:
                load = Load(streams=count, tokens=options.tokens, tokens_per_s=options.rate)
                report(load, asyncio.run(pairs_ns(direct, through, load)))


if __name__ == "__main__":
    main()
