"""On a real socket, by aiohttp and by the openai package: whatever goes wrong has its kind, and
what goes well comes as it was sent."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler

import pytest

from harness.runs.retry import Failure
from harness.runs.sdk import Sdk
from harness.runs.transport import IDLE_CONNECTION_S, UnansweredError
from harness.runs.wire import Wire
from launchers.openai_api import CHAT
from tests.building import answer, serving

KEY = "sk-very-secret"
PATH, BODY = "/v1/completions", b'{"model":"m","prompt":[1],"stream":true,"top_k":0}'
Made = type[Wire] | type[Sdk]
Respond = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(params=[Wire, Sdk])
def made(request: pytest.FixtureRequest) -> Made:
    """Both transports."""
    return request.param


def asked(
    made: Made,
    url: str,
    *,
    times: int = 1,
    pause_s: float = 0.0,
    path: str = PATH,
    body: bytes = BODY,
) -> bytes:
    """The answers to `times` requests of one wire, one after another."""

    async def ask() -> bytes:
        wire = made(url, key=KEY, most=4)
        found = b""
        try:
            for time_ in range(times):
                await asyncio.sleep(pause_s if time_ else 0)
                async with wire.stream(path, body) as pieces:
                    async for piece in pieces:
                        found += piece
        finally:
            await wire.close()
        return found

    return asyncio.run(ask())


def failed(made: Made, respond: Respond) -> UnansweredError:
    with serving(respond) as url, pytest.raises(UnansweredError) as caught:
        asked(made, url)
    return caught.value


def begin(handler: BaseHTTPRequestHandler, content: bytes, length: int) -> None:
    """An answer of `length` bytes, of which `content` comes at once."""
    handler.send_response(200)
    handler.send_header("content-length", str(length))
    handler.end_headers()
    handler.wfile.write(content)
    handler.wfile.flush()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, json.loads(BODY)),
        (PATH, {"model": "m", "prompt": [1], "messages": [], "stream": True}),
        (CHAT, {"model": "m", "messages": [{"role": "user"}], "prompt": "Hi", "stream": False}),
        (CHAT, {"model": "m", "messages": [{"content": [[[1]] * 2]}], "extra_body": {"a": 1}}),
        (CHAT, {"model": "m", "messages": 5, "timeout": 0}),
    ],
)
def test_the_body_goes_out_as_it_is_and_the_answer_comes_back_whole(
    made: Made, path: str, body: dict[str, object]
) -> None:
    def echo(handler: BaseHTTPRequestHandler) -> None:
        came = handler.rfile.read(int(handler.headers["content-length"]))
        named = f"{handler.path} {handler.headers['authorization']} ".encode()
        answer(handler, 200, named + came)

    with serving(echo) as url:
        found = asked(made, f"{url}/", path=path, body=json.dumps(body).encode())
    said, _, came = found.partition(b"{")
    assert said == f"{path} Bearer {KEY} ".encode()
    assert json.loads(b"{" + came) == body


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Failure.REFUSED),
        (401, Failure.REFUSED),
        (429, Failure.RATE_LIMITED),
        (500, Failure.SERVER),
        (503, Failure.SERVER),
        (302, Failure.REFUSED),
    ],
)
def test_a_status_has_its_kind_and_no_message_holds_the_key(
    made: Made, status: int, kind: Failure
) -> None:
    error = failed(made, lambda handler: answer(handler, status, f"not for {KEY}\n<html>".encode()))
    assert error.kind is kind
    assert str(error) == f"answered {status}: not for *** <html>"


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("in a minute", 60.0), ("x", None)])
def test_what_a_server_asks_to_be_waited_is_handed_on(
    made: Made, said: str, seconds: float | None
) -> None:
    def limit(handler: BaseHTTPRequestHandler) -> None:
        date = formatdate(time.time() + 60, usegmt=True)
        handler.send_response(429)
        handler.send_header("retry-after", date if said == "in a minute" else said)
        handler.send_header("content-length", "0")
        handler.end_headers()

    found = failed(made, limit).retry_after_s
    assert (found is None) is (seconds is None)
    assert seconds is None or (found is not None and abs(found - seconds) < 10)


def test_where_nobody_listens_there_is_no_connection(made: Made) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UnansweredError) as caught:
            asked(made, url)
    assert caught.value.kind is Failure.CONNECT


def test_a_connection_that_dies_before_the_answer_is_told_from_one_that_dies_in_it(
    made: Made,
) -> None:
    def reset(handler: BaseHTTPRequestHandler) -> None:
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()

    def cut(handler: BaseHTTPRequestHandler) -> None:
        begin(handler, b"data: {}", 1000)
        handler.connection.shutdown(socket.SHUT_RDWR)

    assert failed(made, reset).kind is Failure.CONNECT
    assert failed(made, cut).kind is Failure.TRUNCATED


def test_a_broken_encoding_in_the_middle_of_an_answer_is_the_end_of_it(made: Made) -> None:
    over = threading.Event()

    def break_off(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\nabc\r\n")
        handler.wfile.flush()
        time.sleep(0.2)
        handler.wfile.write(b"no number\r\n")
        handler.wfile.flush()
        over.wait(20)

    async def ask(url: str) -> None:
        wire = made(url, key="", most=1)
        try:
            async with wire.stream(PATH, BODY) as pieces:
                assert await anext(aiter(pieces)) == b"abc"
                reading = asyncio.ensure_future(anext(aiter(pieces)))
                for _ in range(100):
                    await asyncio.sleep(0.05)
                    wire.end_broken()
                    if reading.done():
                        break
                over.set()
                assert reading.done()
                await reading
        finally:
            await wire.close()

    with serving(break_off) as url, pytest.raises(UnansweredError) as caught:
        asyncio.run(ask(url))
    assert caught.value.kind is Failure.TRUNCATED


def test_a_kept_connection_is_used_again_but_not_once_the_server_may_be_closing_it(
    made: Made,
) -> None:
    ports: list[int] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"  # it keeps the connection
        handler.close_connection = False
        handler.rfile.read(int(handler.headers["content-length"]))
        ports.append(handler.client_address[1])
        answer(handler, 200, b"yes")

    with serving(respond) as url:
        asked(made, url, times=2)
        asked(made, url, times=2, pause_s=IDLE_CONNECTION_S + 0.3)
    assert ports[0] == ports[1] and ports[2] != ports[3]


def test_what_is_not_read_the_server_has_to_keep(made: Made) -> None:
    """Backpressure: of a hundred megabytes a slow reader takes no more than a few."""
    written = [0]

    def flood(handler: BaseHTTPRequestHandler) -> None:
        begin(handler, b"", 100 << 20)
        handler.connection.settimeout(0.5)
        try:
            for _ in range(100):
                handler.wfile.write(b"x" * (1 << 20))
                written[0] += 1
        except TimeoutError:
            pass

    async def read_one(url: str) -> None:
        wire = made(url, key="", most=1)
        async with wire.stream(PATH, BODY) as pieces:
            await anext(aiter(pieces))
            await asyncio.sleep(0.8)
        await wire.close()

    with serving(flood) as url:
        asyncio.run(read_one(url))
    assert written[0] < 20
