"""A thin gateway before an engine that holds its model's sampling contract.

Requests are held to `launchers.contracts` on the paths of `launchers.open_paths`; all else passes
as it is: headers but for those of one connection, statuses, bodies, and streams, forwarded as they
arrive. A stream that the engine does not end is broken off, never ended.

It runs in a thread with an event loop of its own: the main thread watches the engine and gets the
signals. Nothing that a client sends is logged.

Trade-offs accepted: each request has a connection of its own to the engine, since a kept one may be
closed by the engine just as a POST that must not be repeated is sent on it. Bodies are read whole
before they are forwarded, up to 32 MiB each, and reading one holds up all streams. A compressed
request body is refused: what cannot be read cannot be held. An answer without a content type gets
application/octet-stream, as aiohttp has it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from harness import ports
from harness.base.errors import LaunchError
from launchers.contracts import Contract, Refusal, hold
from launchers.open_paths import Access, access, refusal

MAX_BODY_BYTES = 32 * 1024 * 1024  # a million tokens of text are about 5 MB
MAX_HEADER_BYTES = 64 * 1024
CONNECT_S = 10.0
SHUTDOWN_S = 0.1  # streams are not waited for: the engine is stopped next
# RFC 9110, section 7.6.1; and what is decided anew for the next connection.
OF_ONE_CONNECTION = {
    *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"),
    *("upgrade", "proxy-authenticate", "proxy-authorization"),
}
OF_ONE_REQUEST = {*OF_ONE_CONNECTION, "content-length", "expect"}
NOT_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
BACKLOG = 1024
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Gateway:
    """A gateway that runs; made by `running`."""

    def __init__(self, ended: Future[None]) -> None:
        self._ended = ended

    def require_running(self) -> None:
        """Raises what ended it, a bug of ours."""
        if self._ended.done():
            self._ended.result()


@contextmanager
def running(listener: socket.socket, *, engine: str, contract: Contract) -> Generator[Gateway]:
    """Serves on `listener`, a bound socket, before the engine at the URL `engine`."""
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(_serve(listener, Forwarder(engine, contract), ready, stop))
        finally:
            ready.set()

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="gateway") as pool:
        gateway = Gateway(ended := pool.submit(run))
        try:
            ready.wait()
            gateway.require_running()
            yield gateway
        finally:
            if not ended.done():
                loop.call_soon_threadsafe(stop.set)


async def _serve(
    listener: socket.socket, forwarder: Forwarder, ready: threading.Event, stop: asyncio.Event
) -> None:
    server = web.Server(
        forwarder.answer,
        access_log=None,
        logger=_logger(),
        handler_cancellation=True,  # a client that leaves takes its request with it
        auto_decompress=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        async with forwarder:
            try:
                ports.listening(listener, BACKLOG)
                await web.SockSite(runner, listener, backlog=BACKLOG).start()
            except OSError as error:  # bound, but not listening, a socket does not keep all away
                raise LaunchError(f"the gateway cannot listen: {error.strerror}") from error
            ready.set()
            await stop.wait()
    finally:
        await runner.cleanup()


def _logger() -> logging.Logger:
    """Shows our own bugs. Bad HTTP is left out: its message quotes the header, key and all."""
    logger = logging.getLogger(__name__)
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


class Forwarder:
    """Answers one request after the other, many at a time, by asking the engine."""

    def __init__(self, engine: str, contract: Contract) -> None:
        self._engine = engine
        self._contract = contract

    async def __aenter__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),  # one client's cookies are not another's
            auto_decompress=False,
            skip_auto_headers=NOT_ADDED,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Refuses, or forwards and streams back."""
        kind = access(request.method, request.raw_path)
        if kind is Access.SHUT:
            return _refused(403, refusal(request.method, request.raw_path))
        body = await _body(request)
        if isinstance(body, web.Response):
            return body
        if kind is not Access.OPEN:
            held = _held(request, self._contract, body, chat=kind is Access.CHAT)
            if isinstance(held, web.Response):
                return held
            body = held
        return await self._forwarded(request, body)

    async def _forwarded(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        asked = self._session.request(
            request.method,
            URL(self._engine + request.raw_path, encoded=True),
            headers=_passed(request.headers, OF_ONE_REQUEST),
            data=body or None,
            allow_redirects=False,
        )
        try:
            answer = await asked
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"the engine behind this gateway does not answer ({type(error).__name__})"
            return _error(502, "server_error", Refusal(
                message=message, param=None, code="engine_unreachable"
            ))  # fmt: skip
        async with answer:
            return await _streamed(request, answer)


async def _streamed(request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Passes on what arrives as it arrives. A client that is slow slows the engine's stream."""
    response = web.StreamResponse(
        status=answer.status,
        reason=answer.reason,
        headers=_passed(answer.headers, OF_ONE_CONNECTION),
    )
    try:
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, ConnectionError):  # of either side
        _break_off(request)
    return response


def _break_off(request: web.BaseRequest) -> None:
    """By RST: to a client of HTTP/1.0 a plain close would be the end of its stream."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        request.transport.abort()


async def _body(request: web.BaseRequest) -> bytes | web.Response:
    """The whole body as it was sent, or the refusal of one that is too large or cut short."""
    parts: list[bytes] = []
    size = 0
    if (request.content_length or 0) > MAX_BODY_BYTES:
        return _too_large()
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer is still to come
    try:
        async for part in request.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > MAX_BODY_BYTES:
                return _too_large()
    except web.RequestPayloadError as error:
        message = f"the request's body cannot be read: {error}"
        return _refused(400, Refusal(message=message, param=None, code="invalid_body"))
    return b"".join(parts)


def _too_large() -> web.Response:
    message = f"the request's body must not exceed {MAX_BODY_BYTES} bytes"
    return _refused(413, Refusal(message=message, param=None, code="body_too_large"))


def _held(
    request: web.BaseRequest, contract: Contract, body: bytes, *, chat: bool
) -> bytes | web.Response:
    """The body to forward, or the answer to a request that is outside the contract."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        message = f"Content-Encoding {encoding[:40]!r} is not read here: send the body as it is"
        return _refused(415, Refusal(message=message, param=None, code="unsupported_encoding"))
    held = hold(contract, body, chat=chat)
    return _refused(400, held) if isinstance(held, Refusal) else held


def _passed(headers: CIMultiDictProxy[str], dropped: set[str]) -> CIMultiDict[str]:
    """All but `dropped` and those that Connection names; repeated ones stay repeated."""
    named = {
        name.strip().lower()
        for value in headers.getall("Connection", [])
        for name in value.split(",")
    }
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in dropped and name.lower() not in named
    )


def _refused(status: int, why: Refusal) -> web.Response:
    return _error(status, "invalid_request_error", why)


def _error(status: int, kind: str, why: Refusal) -> web.Response:
    """In the form of OpenAI's API."""
    error = {"message": why.message, "type": kind, "param": why.param, "code": why.code}
    return web.Response(
        status=status, text=json.dumps({"error": error}), content_type="application/json"
    )
