"""Against a real server in a thread: what fails is an error, and no error holds the key."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import ConfigError, EnginediffError, RequestError
from harness.client import (
    BUSY,
    IDLE_S,
    LONGEST_WAIT_S,
    Asker,
    Endpoint,
    flatten,
    in_parallel,
    parts,
)
from launchers.dialect import Request
from launchers.pins import GREEDY
from launchers.vllm import VllmDialect
from tests.building import answer, serving

KEY = "sk-very-secret"
ASK = Request(path="/v1/x", body={"a": 1})


@pytest.fixture
def nobody() -> str:
    """A URL where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def send(url: str, request: Request = ASK) -> bytes:
    with Endpoint(url) as endpoint:
        return endpoint.send(request)


def test_a_request_reaches_the_server_as_json_and_its_answer_comes_back_whole() -> None:
    def echo(handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        kind = handler.headers.get("content-type", "")
        answer(handler, 200, f"{handler.command} {handler.path} {kind} ".encode() + body)

    with serving(echo) as url:
        assert send(url + "/") == b'POST /v1/x application/json {"a":1}'
        assert send(url, Request(path="/version", body=None)) == b"GET /version  "


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_any_status_but_200_is_an_error_with_what_the_server_said(status: int) -> None:
    with serving(lambda handler: answer(handler, status, b"because")) as url:
        with pytest.raises(RequestError, match=rf"/v1/x: answered {status}: 'because'"):
            send(url)
        with Endpoint(url) as endpoint:
            assert endpoint.get("/version") is None


@pytest.mark.parametrize("header", ["0", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_rate_limit_is_waited_for_as_long_as_it_says(
    monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    asked: list[str] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        if len(asked) > 2:
            answer(handler, 200, b"at last")
            return
        handler.send_response(429)
        handler.send_header("retry-after", header)
        handler.send_header("content-length", "0")
        handler.end_headers()

    with serving(respond) as url, Endpoint(url, retries=2) as endpoint:
        assert endpoint.get("/v1/models") == b"at last"
        assert waited == ([0.0, 0.0] if header == "0" else [1.0, 2.0])
        asked.clear()
        with Endpoint(url, retries=1) as impatient:
            assert impatient.ask(ASK).status == 429


def test_no_server_is_waited_for_longer_than_20_s(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(429)
        handler.send_header("retry-after", "86400")
        handler.send_header("content-length", "0")
        handler.end_headers()

    with serving(respond) as url, Endpoint(url, retries=3) as endpoint:
        assert endpoint.ask(ASK).status == 429
    assert waited == [LONGEST_WAIT_S] * 3


def test_a_silent_server_is_no_reply_and_says_so() -> None:
    may_end = threading.Event()

    def silent(handler: BaseHTTPRequestHandler) -> None:
        assert may_end.wait(10)
        answer(handler, 200, b"")

    with serving(silent) as url:
        with Endpoint(url) as endpoint:
            reply = endpoint.ask(ASK, timeout_s=0.2)
        may_end.set()
    assert reply.status is None
    assert "timed out" in str(reply.problem)


def test_a_server_without_tls_is_told_apart_from_none() -> None:
    with serving(lambda handler: answer(handler, 200, b"")) as url:
        secure = url.replace("http://", "https://")
        with Endpoint(secure) as endpoint, pytest.raises(ConfigError, match="no TLS connection"):
            endpoint.get("/version")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE is .*authority\.pem: it cannot be read"):
        Endpoint("http://127.0.0.1:1")


def test_no_answer_that_is_handed_on_holds_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINEDIFF_API_KEY", KEY)
    with serving(lambda handler: answer(handler, 200, KEY.encode())) as url:
        assert send(url) == b"***"
        with Endpoint(url) as endpoint:
            assert endpoint.get("/version") == b"***"


def test_a_request_says_how_long_its_answer_may_take() -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.4)
        answer(handler, 200, b"late")

    with serving(slow) as url:
        assert send(url, Request(path="/x", body={}, timeout_s=30)) == b"late"
        with pytest.raises(RequestError, match="timed out"):
            send(url, Request(path="/x", body={}, timeout_s=0.05))


def test_a_long_error_page_is_shown_in_part() -> None:
    with serving(lambda handler: answer(handler, 500, b"x" * 10_000)) as url:
        with pytest.raises(RequestError) as caught:
            send(url)
        assert len(str(caught.value)) < 700


def test_where_nobody_listens_is_an_error_that_names_the_url(nobody: str) -> None:
    with pytest.raises(RequestError, match=nobody):
        send(nobody)
    with pytest.raises(ConfigError, match=f"{nobody}: no HTTP server"), Endpoint(nobody) as it:
        it.get("/version")
    with pytest.raises(ConfigError, match="must begin with http"), Endpoint("ftp://x") as it:
        it.get("/version")


def test_a_body_cut_short_is_an_error() -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"half":')
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)

    with serving(cut) as url, pytest.raises(RequestError, match="the request failed"):
        send(url)


def test_a_connection_is_used_again_but_not_once_the_server_may_be_closing_it() -> None:
    ports: list[int] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"  # it keeps the connection
        handler.close_connection = False
        handler.rfile.read(int(handler.headers.get("content-length", 0)))
        ports.append(handler.client_address[1])
        answer(handler, 200, b"yes")

    with serving(respond) as url, Endpoint(url) as endpoint:
        endpoint.send(ASK)
        endpoint.send(ASK)
        time.sleep(IDLE_S + 0.2)
        endpoint.send(ASK)
    assert ports[0] == ports[1] != ports[2]


def test_garbage_instead_of_http_is_an_error() -> None:
    def garbage(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)

    with serving(garbage) as url:
        with pytest.raises(RequestError):
            send(url)
        with pytest.raises(ConfigError), Endpoint(url) as endpoint:
            endpoint.get("/version")


def test_garbage_instead_of_json_is_an_error() -> None:
    with serving(lambda handler: answer(handler, 200, b"<html>")) as url, Endpoint(url) as endpoint:
        asker = Asker(endpoint, VllmDialect(model="m"))
        with pytest.raises(RequestError, match="has no choices"):
            asker.score([(1, 2, 3)], 2, at_once=1)


def test_the_key_is_sent_and_stands_in_no_message(
    monkeypatch: pytest.MonkeyPatch, nobody: str
) -> None:
    monkeypatch.setenv("ENGINEDIFF_API_KEY", KEY)
    seen: list[str | None] = []

    def refuse(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers.get("authorization"))
        answer(handler, 401, b"unauthorised")

    with serving(refuse) as url:
        for where in (url, nobody):
            with pytest.raises(EnginediffError) as caught:
                send(where)
            assert KEY not in str(caught.value)
            assert KEY not in repr(caught.value)
        assert seen == [f"Bearer {KEY}"]
        monkeypatch.delenv("ENGINEDIFF_API_KEY")
        with pytest.raises(RequestError):
            send(url)
        assert seen[-1] is None


def test_answers_keep_the_order_of_the_questions() -> None:
    """The first question is answered last."""
    first_may_go = threading.Event()

    def respond(handler: BaseHTTPRequestHandler) -> None:
        table = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        number = int(table["prompt"])
        if number == 0:
            assert first_may_go.wait(10)
        if number == 5:
            first_may_go.set()
        answer(handler, 200, json.dumps({"tokens": [number]}).encode())

    with serving(respond) as url, Endpoint(url) as endpoint:
        asker = Asker(endpoint, VllmDialect(model="m"))
        found = asker.render([str(i) for i in range(20)])
    assert found == [(i,) for i in range(20)]


def test_so_many_requests_are_in_flight_and_no_more() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def ask(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    in_parallel(ask, range(3 * BUSY), 4)
    assert most == 4


def test_the_first_failure_is_raised_and_cancels_what_has_not_begun() -> None:
    begun: list[int] = []

    def ask(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise RequestError("the first")
        time.sleep(0.05)

    with pytest.raises(RequestError, match="the first"):
        in_parallel(ask, range(100), 2)
    assert len(begun) < 10


def test_parts_and_flatten_undo_each_other() -> None:
    items = list(range(10))
    assert [len(part) for part in parts(items, 4)] == [4, 4, 2]
    assert flatten(parts(items, 4)) == items
    nothing: list[Any] = []
    assert parts(nothing, 4) == []


def test_a_key_with_a_newline_is_used_without_it_and_stands_in_no_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENGINEDIFF_API_KEY", KEY + "\n")

    def echo(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, 401, b"Incorrect API key: " + handler.headers["authorization"].encode())

    with serving(echo) as url, pytest.raises(RequestError) as caught:
        send(url)
    assert "Bearer ***" in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_key_that_no_header_can_carry_is_the_users_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENGINEDIFF_API_KEY", "sk-é")
    with pytest.raises(ConfigError, match="ENGINEDIFF_API_KEY"):
        Endpoint("http://127.0.0.1:1")


@pytest.mark.parametrize("url", ["http://[::1", "http://a..b", "http://☃.☃"])
def test_a_url_that_is_none_is_the_users_error(url: str) -> None:
    with Endpoint(url) as endpoint, pytest.raises(ConfigError):
        endpoint.get("/x")


def test_a_body_that_cannot_be_decoded_is_a_failed_request() -> None:
    def gzip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-encoding", "gzip")
        handler.end_headers()
        handler.wfile.write(b"garbage")

    with serving(gzip) as url, pytest.raises(RequestError):
        send(url, Request(path="/x", body=None))


def test_a_failure_cancels_also_while_an_earlier_question_is_still_open() -> None:
    begun: list[int] = []

    def ask(number: int) -> None:
        begun.append(number)
        if number == 0:
            time.sleep(1)
        if number == 1:
            raise RequestError("x")
        time.sleep(0.1)

    with pytest.raises(RequestError):
        in_parallel(ask, range(200), 2)
    assert len(begun) < 10


def test_fewer_generations_than_prompts_are_refused() -> None:
    with serving(lambda handler: answer(handler, 200, b'{"choices": []}')) as url:
        asker = Asker(Endpoint(url), VllmDialect(model="m"))
        with pytest.raises(RequestError, match="0 generations came for 1"):
            asker.generate(
                [(1, 2)], max_new_tokens=1, sampling=GREEDY, seeds=[0], top_k=2, at_once=1
            )
