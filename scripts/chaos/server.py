"""A fake engine that breaks on purpose: vLLM's API over asyncio, so that a fault can be anywhere.

    python scripts/chaos/server.py --port N [--host 127.0.0.1] [--served-model-name NAME] [...]

Flags that it does not know are ignored, so it can be started in vLLM's place. It needs nothing but
Python 3.11. What it answers is decided by a prompt alone (`chaos_model`); what goes wrong with it,
by the JSON file that the environment's CHAOS_PLAN names. Without one, nothing goes wrong.

    seed         0       of the draws, with the process and the number of the request
    token_s      0.002   between two tokens of a stream
    ledger       null    a file that is appended to, see below
    poison       []      a generation whose prompt's text holds one of these is answered with 500
    faults       {}      kind -> probability; at most one a request, so they add up to 1 at most
    storm        null    {"requests": K, "within_s": T}: after a drawn rate_limited, the next K
                         requests within T seconds are answered with 429 too
    stall_s      5.0     how long a stall lasts
    drip_bytes   200     bytes that go out one by one, at least
    drip_s       0.0005  between two of them (a sleep takes a millisecond anyway)

Faults are made of streamed POSTs of the two generation endpoints alone:

    rate_limited         429, with Retry-After 0, 1, or none
    server_error         500, 502 or 503
    reset_before         the connection is reset (RST) before any byte
    stall                silence in the middle, then the connection is closed
    cut                  closed at any byte of the body; one in five behind finish_reason
    reset_middle         reset in the middle
    drip                 byte by byte for a while (harmless)
    wrong_json           an event that is no JSON, and the stream goes on
    told                 an event {"error": ...}, then [DONE]
    garbage_after_done   more bytes in the body behind [DONE] (harmless)
    half_done            a body that ends well, but behind finish_reason: no usage, no [DONE]
    html                 200 and a page
    restart              the process exits with 1 in the middle

The ledger has one JSON object a line, and every line is one write. `kind` is a fault ("poison"
too), told when it is made, with `path`, `request_id` (x-request-id), `prompt_hash`, `pid` and
`sent_tokens`: generated tokens whose events had gone out whole before it. Or `kind` is "served",
told at the end of each generation, however it ended: `prompt_tokens`, `sent_tokens`, and
`finished`: all was done that was to be done, so the client had not left before. It is written just
after the last byte; for what was under way, at a restart and after SIGTERM too, not after SIGKILL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # runpy does not

from chaos_answers import (
    CHAT,
    COMPLETIONS,
    MAX_MODEL_LEN,
    Asked,
    RefusedError,
    asked,
    checked,
    encoded,
    events,
    tokens_of,
    whole,
)
from chaos_faults import Draws, Ending, Plan, Script, Step, faulted, plain, problem, read, stream
from chaos_model import detokenised, digest

IDLE_S = 5.0  # of a kept connection, as uvicorn has it
LOOK_S = 0.05  # how often it is looked whether a client has left
RESETS = struct.pack("ii", 1, 0)  # SO_LINGER: what is closed is reset
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What came over a connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def last(self) -> bool:
        """The client wants no other on this connection."""
        return self.headers.get("connection", "").lower() == "close"


@dataclass(slots=True, kw_only=True, eq=False)
class Account:
    """One generation: how many of its tokens have gone out. Two of one request may be equal."""

    path: str
    request_id: str | None
    prompt_tokens: int
    prompt_hash: str
    sent_tokens: int = 0
    finished: bool = False

    def line(self, kind: str) -> dict[str, Any]:
        return {
            "kind": kind,
            "path": self.path,
            "request_id": self.request_id,
            "prompt_hash": self.prompt_hash,
            "pid": os.getpid(),
            "sent_tokens": self.sent_tokens,
        }


class Ledger:
    """Lines for whoever counts afterwards; several processes may write to one."""

    def __init__(self, path: str | None) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = None if path is None else os.open(path, flags, 0o644)

    def fault(self, account: Account, kind: str) -> None:
        self._write(account.line(kind))

    def served(self, account: Account) -> None:
        more = {"prompt_tokens": account.prompt_tokens, "finished": account.finished}
        self._write({**account.line("served"), **more})

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is not None:
            os.write(self._file, json.dumps(line).encode() + b"\n")


class LeftError(Exception):
    """The client has closed its side."""


class Connection:
    """One client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def request(self) -> Request:
        """Raises LeftError where none comes any more."""
        try:
            head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), IDLE_S)
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            pairs = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            raise LeftError from error
        method, target, _ = first.split(" ", 2)
        return Request(method=method, path=target.partition("?")[0], headers=headers, body=body)

    async def make(self, step: Step) -> None:
        """Raises LeftError or ConnectionError where nobody reads any more."""
        await self._pause(step.wait_s)
        if step.data:
            self._writer.write(step.data)
            await self._writer.drain()

    def close(self) -> None:
        """What was written goes out still."""
        self._writer.close()

    def reset(self) -> None:
        self._writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, RESETS
        )
        self._writer.transport.abort()

    async def _pause(self, wait_s: float) -> None:
        while True:
            if self._reader.at_eof():
                raise LeftError
            await asyncio.sleep(min(wait_s, LOOK_S))  # of 0 s too: others get their turn
            wait_s -= LOOK_S
            if wait_s <= 0:
                return


class Server:
    """Answers, and fails to."""

    def __init__(self, plan: Plan, *, model: str, tool_parser: bool) -> None:
        self._plan = plan
        self._model = model
        self._tool_parser = tool_parser
        self._ledger = Ledger(plan.ledger)
        self._draws = Draws(plan, os.getpid())
        self._open: list[Account] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        # A task of asyncio.streams that ends cancelled is an error in Python 3.11's log.
        with contextlib.suppress(LeftError, ConnectionError, asyncio.CancelledError):
            while await self._answered(await connection.request(), connection):
                pass
        connection.close()

    async def _answered(self, request: Request, connection: Connection) -> bool:
        """Whether another may follow."""
        try:
            if request.method == "POST" and request.path in (CHAT, COMPLETIONS):
                kept = await self._generation(request, connection)
            else:
                await connection.make(Step(data=self._short(request)))
                kept = True
        except RefusedError as error:
            await connection.make(Step(data=problem(400, str(error))))
            kept = True
        return kept and not request.last

    def _short(self, request: Request) -> bytes:
        """An answer that is no generation."""
        if request.method == "GET":
            found = self._told(request.path)
        elif request.method == "POST" and request.path == "/tokenize":
            tokens = tokens_of(_table(request))
            found = {"count": len(tokens), "max_model_len": MAX_MODEL_LEN, "tokens": tokens}
        elif request.method == "POST" and request.path == "/detokenize":
            found = {"prompt": detokenised(checked(_table(request).get("tokens")))}
        else:
            found = None
        return problem(404, "Not Found") if found is None else plain(200, JSON, encoded(found))

    def _told(self, path: str) -> dict[str, Any] | None:
        """What a GET is answered with; None: there is nothing there."""
        model = {
            "id": self._model,
            "object": "model",
            "owned_by": "vllm",
            "root": self._model,
            "parent": None,
            "max_model_len": MAX_MODEL_LEN,
        }
        return {
            "/health": {},
            "/version": {"version": "0.32.0"},
            "/v1/models": {"object": "list", "data": [model]},
        }.get(path)

    async def _generation(self, request: Request, connection: Connection) -> bool:
        wanted = asked(
            request.path, _table(request), model=self._model, tool_parser=self._tool_parser
        )
        account = Account(
            path=request.path,
            request_id=request.headers.get("x-request-id"),
            prompt_tokens=len(wanted.prompt),
            prompt_hash=digest(wanted.prompt),
        )
        self._open.append(account)
        try:
            return await self._play(self._script(wanted), account, connection)
        finally:
            self._open.remove(account)
            self._ledger.served(account)

    def _script(self, wanted: Asked) -> Script:
        if self._poisonous(wanted):
            step = Step(data=problem(500, "this prompt is poison"), faulty=True)
            return Script(steps=[step], fault="poison")
        if not wanted.stream:
            table, tokens = whole(wanted)
            wait_s = self._plan.token_s * tokens
            return Script(
                steps=[Step(data=plain(200, JSON, encoded(table)), tokens=tokens, wait_s=wait_s)]
            )
        kind, rng = self._draws.next(time.monotonic())
        return faulted(kind, stream(events(wanted), self._plan.token_s), self._plan, rng)

    def _poisonous(self, wanted: Asked) -> bool:
        text = detokenised(wanted.prompt) if self._plan.poison else ""
        return any(poison in text for poison in self._plan.poison)

    async def _play(self, script: Script, account: Account, connection: Connection) -> bool:
        for step in script.steps:
            if step.faulty:
                self._ledger.fault(account, str(script.fault))
            await connection.make(step)
            account.sent_tokens += step.tokens
        account.finished = True
        if script.ending is Ending.RESET:
            connection.reset()
        elif script.ending is Ending.EXIT:
            self._exit()
        return script.ending is Ending.KEEP

    def _exit(self) -> None:
        """Here and now, but what has gone out is accounted for."""
        for account in self._open:
            self._ledger.served(account)
        os._exit(1)


def _table(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(request.body)
    except ValueError as error:
        raise RefusedError(f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise RefusedError("the body is no JSON object")
    return value


async def served(server: Server, host: str, port: int) -> None:
    """Until SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    listening = await asyncio.start_server(server.connected, host, port, backlog=1024)
    print(f"listening on http://{host}:{port}", flush=True)
    await stopped.wait()
    listening.close()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", default="tiny-moe")
    parser.add_argument("--tool-call-parser", default=None)
    options, _ = parser.parse_known_args(argv)
    named = os.environ.get("CHAOS_PLAN")
    server = Server(
        read(Path(named) if named else None),
        model=options.served_model_name,
        tool_parser=options.tool_call_parser is not None,
    )
    asyncio.run(served(server, options.host, options.port))


if __name__ == "__main__":
    main()
