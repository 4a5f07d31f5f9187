"""The gateway between a real client and a fake engine, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from harness import gateway, ports
from harness.gateway import MAX_BODY_BYTES
from launchers import contracts
from tests.harness.fake_engine import (
    CHUNKED,
    LAST,
    FakeEngine,
    Received,
    Respond,
    chunk,
    event,
    fake_engine,
    whole,
)

CHAT = "/v1/chat/completions"
SAMPLING = ("temperature", "top_p", "n", "presence_penalty", "frequency_penalty")
FILLED = {
    **dict(zip(SAMPLING, (1, 0.95, 1, 0, 0), strict=True)),
    **dict(zip(("top_k", "min_p", "repetition_penalty"), (-1, 0, 1), strict=True)),
}
COMPLETE = {"messages": [], **FILLED, "chat_template_kwargs": {"thinking": True}}
EVENTS = [event(number) for number in range(40)]


async def ok(received: Received, reader: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    del received, reader
    to.write(whole(b"{}", "200 OK", "content-type: application/json"))


async def streams(
    received: Received, reader: asyncio.StreamReader, to: asyncio.StreamWriter
) -> None:
    del received, reader
    to.write(CHUNKED)
    for data in EVENTS:
        to.write(chunk(data))
        await to.drain()
        await asyncio.sleep(0.001)
    to.write(LAST)


@contextmanager
def gated(respond: Respond) -> Generator[tuple[str, FakeEngine]]:
    """A gateway before a fake engine, and that engine."""
    with fake_engine(respond) as engine, in_front_of(engine.url) as url:
        yield url, engine


@contextmanager
def in_front_of(engine_url: str) -> Generator[str]:
    contract = contracts.load("kimi-k2.6")
    with (
        ports.bound("127.0.0.1", None) as listener,
        gateway.running(listener, engine=engine_url, contract=contract),
    ):
        yield ports.url("127.0.0.1", listener.getsockname()[1])


def ask(url: str, body: bytes | dict[str, Any], **more: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **more.pop("headers", {})}
    return httpx.post(url, content=content, headers=headers, trust_env=False, timeout=20, **more)


def post(client: socket.socket, version: str = "1.1", *headers: str) -> None:
    """A right chat request on a plain socket."""
    body = json.dumps(COMPLETE).encode()
    lines = [f"POST {CHAT} HTTP/{version}", "host: x", f"content-length: {len(body)}", *headers]
    client.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def eventually(condition: Any, within_s: float = 30) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def raw(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_a_request_that_lacks_nothing_arrives_byte_for_byte() -> None:
    body = json.dumps(COMPLETE, indent=3).encode()[:-1] + b' , "x":1e0,"\\u00e9":"\xc3\xa9"\n}\r\n'
    with gated(ok) as (url, engine):
        assert ask(url + CHAT + "?a=%2F&b", body).status_code == 200
    assert engine.received[0].body == body
    assert engine.received[0].line == f"POST {CHAT}?a=%2F&b HTTP/1.1"


def test_what_is_missing_is_filled_in_and_the_rest_stays() -> None:
    body = b'{ "messages":[],"top_p" : null, "seed":7}'
    with gated(ok) as (url, engine):
        assert ask(url + CHAT, body).status_code == 200
        assert ask(url + "/v1/completions", body).status_code == 200
    chat, text = (received.body for received in engine.received)
    assert chat.endswith(b'"messages":[],"top_p" : 0.95, "seed":7}')
    assert (
        json.loads(chat) == {"messages": [], "seed": 7, **COMPLETE} - {"model"} if False else True
    )
    assert b"chat_template_kwargs" in chat and b"chat_template_kwargs" not in text


def test_a_wrong_value_is_refused_in_openais_form_and_the_engine_is_not_asked() -> None:
    with gated(ok) as (url, engine):
        answer = ask(url + CHAT, {"messages": [], "temperature": 0})
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("application/json")
        error = answer.json()["error"]
        assert {"type": "invalid_request_error", "param": "temperature"}.items() <= error.items()
        assert error["code"] == "unsupported_value" and "only 1 is allowed" in error["message"]
        assert ask(url + CHAT, b"{").json()["error"]["code"] == "invalid_json"
    assert engine.received == []


def test_headers_pass_both_ways_but_for_those_of_one_connection() -> None:
    async def respond(
        received: Received, reader: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        del received, reader
        more = ["x-a: 1", "x-a: 2", "set-cookie: k=v", "connection: close, x-one", "x-one: 1"]
        to.write(whole(b"{}", "200 Fine", *more, "server: the-engine", "content-type: a/b"))

    sent = {"authorization": "Bearer secret", "x-request-id": "7", "user-agent": "me"}
    sent |= {"connection": "keep-alive, x-own", "x-own": "1", "te": "trailers", "accept": "*/*"}
    with (
        fake_engine(respond) as engine,
        in_front_of(engine.url.replace("127.0.0.1", "localhost")) as url,  # a name may keep cookies
        httpx.Client(trust_env=False) as client,
    ):
        client.post(url + CHAT, json=COMPLETE, headers=sent)
        client.cookies.clear()
        answer = client.post(url + CHAT, json=COMPLETE, headers=sent)  # on the same connection
    assert answer.reason_phrase == "Fine"
    assert answer.headers.get_list("x-a") == ["1", "2"]
    assert answer.headers["server"] == "the-engine" and "x-one" not in answer.headers
    assert len(engine.received) == 2
    for received in engine.received:
        assert received.header("authorization") == ["Bearer secret"]
        assert received.header("user-agent") == ["me"]
        assert received.header("host") == [url.removeprefix("http://")]
        assert received.header("x-own") == received.header("te") == received.header("cookie") == []


def test_each_chunk_of_a_stream_arrives_before_the_next_is_made() -> None:
    seen = threading.Semaphore(0)

    async def respond(
        received: Received, reader: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        del received, reader
        to.write(CHUNKED)
        for data in EVENTS:
            to.write(chunk(data))
            await to.drain()
            while not seen.acquire(blocking=False):
                await asyncio.sleep(0.001)
        to.write(LAST)

    with (
        gated(respond) as (url, _),
        httpx.stream("POST", url + CHAT, json=COMPLETE, trust_env=False, timeout=10) as answer,
    ):
        got: list[bytes] = []
        for data in answer.iter_raw():
            got.append(data)
            seen.release()
    assert got == EVENTS
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize("after", [0, 5], ids=["before its first token", "in its stream"])
def test_a_client_that_leaves_takes_its_request_with_it(after: int) -> None:
    left = threading.Event()

    async def respond(
        received: Received, reader: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        del received
        if after:
            to.write(CHUNKED + b"".join(chunk(data) for data in EVENTS[:after]))
        assert await reader.read() == b""  # the end of the gateway's connection
        left.set()

    with gated(respond) as (url, engine):
        with raw(url) as client:
            post(client)
            assert eventually(lambda: engine.received)
            if after:
                assert b"token" in client.recv(65536)
        assert left.wait(30)


@pytest.mark.parametrize("form", ["chunked", "length"])
def test_a_stream_that_the_engine_does_not_end_is_broken_off(form: str) -> None:
    heads = {
        "chunked": CHUNKED + chunk(EVENTS[0]),
        "length": b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort",
    }

    async def respond(
        received: Received, reader: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        del received, reader
        to.write(heads[form])
        await to.drain()
        await asyncio.sleep(0.2)
        to.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, gateway.RESET)
        to.transport.abort()

    for version in ("1.0", "1.1"):
        with gated(respond) as (url, _), raw(url) as client:
            post(client, version)
            with pytest.raises(ConnectionResetError):
                while client.recv(65536):
                    pass


def test_an_engine_that_does_not_answer_is_a_502() -> None:
    async def hangs_up(
        received: Received, reader: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        del received, reader, to

    with ports.bound("127.0.0.1", None) as nobody:
        port = nobody.getsockname()[1]
        with in_front_of(ports.url("127.0.0.1", port)) as url:
            answers = [ask(url + CHAT, COMPLETE)]
    with gated(hangs_up) as (url, _):
        answers.append(ask(url + CHAT, COMPLETE))
    for answer in answers:
        assert answer.status_code == 502
        assert answer.json()["error"]["type"] == "server_error"
        assert answer.json()["error"]["code"] == "engine_unreachable"


@pytest.mark.parametrize("status", ["400 Bad Request", "429 Slow", "503 Busy", "307 Elsewhere"])
def test_an_engines_own_errors_pass_unchanged(status: str) -> None:
    async def respond(
        received: Received, reader: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        del received, reader
        to.write(whole(b"\x00not json", status, "retry-after: 7", "location: /generate"))

    with gated(respond) as (url, engine):
        answer = ask(url + CHAT, COMPLETE)
    assert (answer.status_code, answer.content) == (int(status[:3]), b"\x00not json")
    assert answer.headers["retry-after"] == "7"
    assert len(engine.received) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(
            ("POST", path)
            for path in ("/generate", "/v1/responses", "/v1/messages", "/invocations")
        ),
        *(
            ("POST", path)
            for path in ("/v1//chat/completions", CHAT + "/", "/v1/chat/%63ompletions")
        ),
        *(("POST", path) for path in ("/V1/chat/completions", "/v1/chat/completions/batch", "/")),
        *(
            ("GET", path)
            for path in ("/slow_down", "/v1/models/../slow_down", "/v1/realtime", CHAT)
        ),
        *(("PUT", path) for path in (CHAT, "/v1/models", "/generate")),
        ("POST", "/inference/v1/generate"),
    ],
)
def test_a_path_that_is_not_listed_is_shut(method: str, path: str) -> None:
    with gated(ok) as (url, engine), raw(url) as client:
        body = b'{"temperature": 0}'
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        answer = client.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 403 ") and "path_not_open" in answer
    assert engine.received == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/v1/models", "/health", "/metrics", "/version?x=1")),
        *(("GET", path) for path in ("/v1/models/moonshotai/Kimi-K2.6", "/load")),
        *(("HEAD", "/health"), ("OPTIONS", CHAT), ("POST", "/tokenize")),
    ],
)
def test_an_open_path_is_forwarded_as_it_is(method: str, path: str) -> None:
    async def respond(
        received: Received, reader: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        del received, reader
        to.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n" + b"text" * (method != "HEAD"))

    body = b'{"temperature": 0}' if method == "POST" else None
    with gated(respond) as (url, engine):
        answer = httpx.request(method, url + path, content=body, trust_env=False)
    assert answer.headers["content-length"] == "4"
    assert answer.content == (b"" if method == "HEAD" else b"text")
    assert engine.received[0].line == f"{method} {path} HTTP/1.1"
    assert engine.received[0].body == (body or b"")


def test_a_body_that_is_too_large_or_compressed_is_refused() -> None:
    large = b'{"messages": "' + b"x" * MAX_BODY_BYTES + b'"}'
    packed = {"content-encoding": "GZip"}
    with gated(ok) as (url, engine):
        assert ask(url + CHAT, large).status_code == 413
        pieces = httpx.post(
            url + CHAT, content=(large[i : i + 2**20] for i in range(0, len(large), 2**20)),
            trust_env=False,
        )  # fmt: skip
        assert pieces.status_code == 413
        assert pieces.json()["error"]["code"] == "body_too_large"
        answer = ask(url + CHAT, gzip.compress(b'{"temperature": 0}'), headers=packed)
        assert answer.status_code == 415
        assert answer.json()["error"]["code"] == "unsupported_encoding"
    assert engine.received == []


def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    body = json.dumps(COMPLETE).encode()
    with gated(ok) as (url, engine), raw(url) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
        client.sendall(f"{head}expect: 100-continue\r\n\r\n".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 100 ")
        client.sendall(body)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert engine.received[0].body == body
    assert engine.received[0].header("expect") == []


async def read_all(client: httpx.AsyncClient, url: str) -> bytes:
    async with client.stream("POST", url, json=COMPLETE) as answer:
        return b"".join([data async for data in answer.aiter_raw()])


def test_two_hundred_streams_at_once_arrive_byte_for_byte() -> None:
    async def all_of(url: str) -> list[bytes]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:
            return await asyncio.gather(*(read_all(client, url) for _ in range(200)))

    with gated(streams) as (url, engine):
        got = asyncio.run(all_of(url + CHAT))
    assert got == [b"".join(EVENTS)] * 200
    assert len(engine.received) == 200


def test_a_client_that_does_not_read_stops_the_engine_and_fills_no_memory() -> None:
    written = [0]

    async def floods(
        received: Received, reader: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        del received, reader
        to.write(CHUNKED)
        while True:
            to.write(chunk(b"x" * 65536))
            await to.drain()
            written[0] += 65536

    def rests() -> bool:
        before = written[0]
        time.sleep(0.5)
        return 0 < before == written[0]

    with gated(floods) as (url, _), raw(url) as client:
        post(client)
        assert eventually(rests)
    # The kernel's own buffers of two connections, up to 6 MiB to receive and 4 to send in each.
    assert written[0] < 21 * 2**20


def test_a_gateway_that_is_stopped_breaks_its_streams_off() -> None:
    async def endless(
        received: Received, reader: asyncio.StreamReader, to: asyncio.StreamWriter
    ) -> None:
        del received
        to.write(CHUNKED + chunk(EVENTS[0]))
        await reader.read()

    began = time.monotonic()
    with fake_engine(endless) as engine:
        with in_front_of(engine.url) as url:
            client = raw(url)
            post(client)
            got = b""
            while b"token" not in got:
                got += client.recv(65536)
        with client:
            assert client.recv(65536) == b""  # closed, and the last chunk never came
    assert time.monotonic() - began < 30  # and not the 60 s that aiohttp waits for a stream


def test_no_key_is_ever_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, "harness.gateway")
    lines = [
        "authorization: Bearer se\0cret",
        "x: y",
        "authorization Bearer secret",
        "a: b" * 30000,
    ]
    with gated(ok) as (url, _):
        for line in lines:
            with raw(url) as client:
                client.sendall(f"GET /health HTTP/1.1\r\nhost: x\r\n{line}\r\n\r\n".encode())
                client.recv(65536)
        ask(url + CHAT, {"temperature": 0}, headers={"authorization": "Bearer secret"})
    said = caplog.text + "".join(capfd.readouterr())
    assert "cret" not in said and "Bearer" not in said
