"""What goes wrong, and when: a healthy stream in, what is to happen on the socket out. Pure.

A fault is a row of FAULTS. At most one is made of a request.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import Any

from chaos_answers import Event

DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"
CHUNK_END = 2  # bytes behind an event, which a reader of events can do without
AFTER_FINISH = 0.2  # of the cuts come between finish_reason and the end
PAGE = b"<html><head><title>Welcome</title></head><body>Please sign in.</body></html>\n"


class Ending(Enum):
    """Of a connection, when all steps are made."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    EXIT = "exit"  # of the whole server


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Bytes that go out together."""

    data: bytes = b""
    tokens: int = 0  # that have gone out whole with it
    wait_s: float = 0.0  # before it
    faulty: bool = False  # with it, the fault has been made


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What is to happen on the socket."""

    steps: Sequence[Step]
    ending: Ending = Ending.KEEP
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """After a 429: so many more, within so long."""

    requests: int
    within_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The file that CHAOS_PLAN names; `server` describes it."""

    seed: int = 0
    ledger: str | None = None
    token_s: float = 0.002
    stall_s: float = 5.0
    drip_bytes: int = 200
    drip_s: float = 0.0005
    storm: Storm | None = None
    poison: Sequence[str] = ()
    faults: Mapping[str, float] = field(default_factory=dict[str, float])


def read(path: Path | None) -> Plan:
    """Raises ValueError where the file says what no plan does."""
    given: dict[str, Any] = {} if path is None else json.loads(path.read_text("utf-8"))
    unknown = set(given) - {entry.name for entry in fields(Plan)}
    faults: Mapping[str, float] = given.get("faults", {})
    unknown |= set(faults) - set(FAULTS)
    if unknown:
        raise ValueError(f"{path}: unknown: {', '.join(sorted(unknown))}")
    if sum(faults.values()) > 1 + 1e-9:
        raise ValueError(f"{path}: faults: the probabilities add up to {sum(faults.values())}")
    storm = given.pop("storm", None)
    return Plan(**given, storm=None if storm is None else Storm(**storm))


class Draws:
    """Which fault each request meets."""

    def __init__(self, plan: Plan, process: int) -> None:
        self._plan = plan
        self._process = process
        self._count = 0
        self._stormy_requests, self._stormy_until = 0, 0.0

    def next(self, now: float) -> tuple[str | None, random.Random]:
        """The fault of the next request, and what it draws from."""
        self._count += 1
        rng = random.Random(f"{self._plan.seed}/{self._process}/{self._count}")
        kind = self._drawn(rng.random())
        if self._stormy_requests > 0 and now < self._stormy_until:
            self._stormy_requests -= 1
            return "rate_limited", rng
        if kind == "rate_limited" and (storm := self._plan.storm) is not None:
            self._stormy_requests, self._stormy_until = storm.requests, now + storm.within_s
        return kind, rng

    def _drawn(self, at: float) -> str | None:
        for kind, probability in self._plan.faults.items():
            at -= probability
            if at < 0:
                return kind
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A healthy answer: a head, events, [DONE], the last chunk."""

    steps: Sequence[Step]
    finish: int  # the step of the event with finish_reason

    def size(self, steps: int | None = None) -> int:
        """Bytes of the body in the first `steps`; None: in all."""
        return sum(len(step.data) for step in self.steps[1:steps])

    def before(self, size: int) -> list[Step]:
        """The head, and the first `size` bytes of the body."""
        kept = [self.steps[0]]
        for step in self.steps[1:]:
            if size <= 0:
                break
            whole = size >= len(step.data) - CHUNK_END
            tokens = step.tokens if whole else 0
            kept.append(replace(step, data=step.data[:size], tokens=tokens))
            size -= len(step.data)
        return kept


def stream(events: Sequence[Event], token_s: float) -> Stream:
    head = Step(
        data=_head(200, "text/event-stream; charset=utf-8", ("transfer-encoding: chunked",))
    )
    steps = [
        Step(data=chunk(event.data), tokens=event.tokens, wait_s=token_s * event.tokens)
        for event in events
    ]
    finish = next(place for place, event in enumerate(events, 1) if event.finish)
    done = (Step(data=chunk(DONE)), Step(data=LAST_CHUNK))
    return Stream(steps=(head, *steps, *done), finish=finish)


def faulted(kind: str | None, healthy: Stream, plan: Plan, rng: random.Random) -> Script:
    if kind is None:
        return Script(steps=healthy.steps)
    return replace(FAULTS[kind](healthy, plan, rng), fault=kind)


def plain(status: int, content_type: str, body: bytes, more: Sequence[str] = ()) -> bytes:
    """A whole answer in one piece."""
    return _head(status, content_type, (f"content-length: {len(body)}", *more)) + body


def problem(status: int, message: str, more: Sequence[str] = ()) -> bytes:
    """An answer that is an error, as OpenAI's API has them."""
    return plain(status, "application/json", json.dumps(_error(status, message)).encode(), more)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _head(status: int, content_type: str, more: Sequence[str]) -> bytes:
    lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "server: uvicorn")
    return "\r\n".join((*lines, f"content-type: {content_type}", *more, "", "")).encode()


def _error(status: int, message: str) -> dict[str, Any]:
    kind = HTTPStatus(status).phrase.replace(" ", "")
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def _rate_limited(_healthy: Stream, _plan: Plan, rng: random.Random) -> Script:
    after = rng.choice((("retry-after: 0",), ("retry-after: 1",), ()))
    return _instead(problem(429, "too many requests", after))


def _server_error(_healthy: Stream, _plan: Plan, rng: random.Random) -> Script:
    return _instead(problem(rng.choice((500, 502, 503)), "something went wrong"))


def _html(_healthy: Stream, _plan: Plan, _rng: random.Random) -> Script:
    return _instead(plain(200, "text/html", PAGE))


def _reset_before(_healthy: Stream, _plan: Plan, _rng: random.Random) -> Script:
    return Script(steps=[Step(faulty=True)], ending=Ending.RESET)


def _cut(healthy: Stream, _plan: Plan, rng: random.Random) -> Script:
    first = healthy.size(healthy.finish + 1) if rng.random() < AFTER_FINISH else 0
    steps = healthy.before(rng.randrange(first, healthy.size()))
    return Script(steps=[*steps, Step(faulty=True)], ending=Ending.CLOSE)


def _stall(healthy: Stream, plan: Plan, rng: random.Random) -> Script:
    """Told as the silence begins: a reader that leaves in it was met by it too."""
    silence = (Step(faulty=True), Step(wait_s=plan.stall_s))
    return Script(steps=[*_middle(healthy, rng), *silence], ending=Ending.CLOSE)


def _reset_middle(healthy: Stream, _plan: Plan, rng: random.Random) -> Script:
    return Script(steps=[*_middle(healthy, rng), Step(faulty=True)], ending=Ending.RESET)


def _restart(healthy: Stream, _plan: Plan, rng: random.Random) -> Script:
    return Script(steps=[*_middle(healthy, rng), Step(faulty=True)], ending=Ending.EXIT)


def _drip(healthy: Stream, plan: Plan, rng: random.Random) -> Script:
    """From some event on, `drip_bytes` bytes at least."""
    steps, start = list(healthy.steps), rng.randint(1, healthy.finish)
    dripped: list[Step] = []
    while start < len(steps) and len(dripped) < plan.drip_bytes:
        dripped += _drops(steps.pop(start), plan.drip_s)
    dripped[0] = replace(dripped[0], faulty=True)
    return Script(steps=[*steps[:start], *dripped, *steps[start:]])


def _wrong_json(healthy: Stream, _plan: Plan, rng: random.Random) -> Script:
    at = rng.randint(1, healthy.finish)
    wrong = Step(data=chunk(b'data: {"id":"cmpl-0","choices":[{"index":0,"te\n\n'), faulty=True)
    return Script(steps=[*healthy.steps[:at], wrong, *healthy.steps[at:]])


def _told(healthy: Stream, _plan: Plan, rng: random.Random) -> Script:
    """As vLLM does: an error, then [DONE]."""
    at = rng.randint(1, healthy.finish)
    error = json.dumps(_error(500, "EngineCore encountered an issue")).encode()
    told = Step(data=chunk(b"data: " + error + b"\n\n"), faulty=True)
    return Script(steps=[*healthy.steps[:at], told, *healthy.steps[-2:]])


def _garbage_after_done(healthy: Stream, _plan: Plan, rng: random.Random) -> Script:
    wrong = rng.choice(
        (b"data: {not json\n\n", b"\xff\x00\xfe", b'data: {"error":1}\n\nda', b"<p>")
    )
    *before, last = healthy.steps
    return Script(steps=[*before, Step(data=chunk(wrong), faulty=True), last])


def _half_done(healthy: Stream, _plan: Plan, _rng: random.Random) -> Script:
    last = replace(healthy.steps[-1], faulty=True)
    return Script(steps=[*healthy.steps[: healthy.finish + 1], last])


def _middle(healthy: Stream, rng: random.Random) -> list[Step]:
    """Some of the body, not the whole event with finish_reason."""
    return healthy.before(rng.randrange(1, healthy.size(healthy.finish + 1) - CHUNK_END))


def _drops(step: Step, wait_s: float) -> list[Step]:
    drops = [Step(data=step.data[at : at + 1], wait_s=wait_s) for at in range(len(step.data))]
    drops[-1] = replace(drops[-1], tokens=step.tokens)
    return drops


def _instead(answer: bytes) -> Script:
    return Script(steps=[Step(data=answer, faulty=True)])


FAULTS: Mapping[str, Callable[[Stream, Plan, random.Random], Script]] = {
    "rate_limited": _rate_limited,
    "server_error": _server_error,
    "reset_before": _reset_before,
    "stall": _stall,
    "cut": _cut,
    "reset_middle": _reset_middle,
    "drip": _drip,
    "wrong_json": _wrong_json,
    "told": _told,
    "garbage_after_done": _garbage_after_done,
    "half_done": _half_done,
    "html": _html,
    "restart": _restart,
}
