"""A toy model behind vLLM's token-level language on a real socket, for faults that no healthy
engine shows: its logprobs depend on the prefix alone, unless a test bends them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np

from harness.base.case import Case
from harness.base.record import Floats
from harness.candidate import Opened
from harness.client import Asker, Endpoint
from harness.recording import Recorded, Trace
from launchers.vllm import VllmDialect
from tests.building import answer, log_softmax, serving, top, write_trace

VOCABULARY = 30
TOP_K = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How one request finds the server."""

    generating: bool
    hit: bool  # its prompt has been generated from before
    in_flight: int  # requests, this one included


Bend = Callable[[Moment, Floats], Floats]  # logits (V,) -> logits (V,)


def straight(_: Moment, logits: Floats) -> Floats:
    """Bends nothing."""
    return logits


def logits_after(prefix: Sequence[int]) -> Floats:
    """(V,) of the next token."""
    return np.random.default_rng([len(prefix), *prefix[-3:]]).normal(scale=2.0, size=VOCABULARY)


@dataclass(slots=True, kw_only=True)
class Toy:
    """Answers /v1/completions. `spoil` may change the answer before it is sent."""

    bend: Bend = straight
    choose: Callable[[Floats], int] = lambda logprobs: int(logprobs.argmax())
    spoil: Callable[[dict[str, Any], bool], None] = lambda _answer, _generating: None
    listed: int = TOP_K  # alternatives of a scored position
    warmer: float = 1.0  # times the temperature that is asked for
    pushes: float = 0.0  # nats that each token is lowered by for having occurred, when drawing
    tells_cache: bool = True
    busy_s: float = 0.0  # of each request
    gathers_s: float = 0.0  # who scores beside two others or more waits while others come in time,
    full: int = 32  # until so many are there
    dies_after: int | None = None  # requests
    asked: int = 0
    _in_flight: int = 0
    _seen: set[tuple[int, ...]] = field(default_factory=set[tuple[int, ...]])
    _lock: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        (prompt,) = map(tuple, body["prompt"])
        generating = "logprobs" in body
        with self._lock:
            self.asked += 1
            self._in_flight += 1
            hit = prompt in self._seen
            dead = self.dies_after is not None and self.asked > self.dies_after
            if generating:
                self._seen.add(prompt)
            self._lock.notify_all()
        time.sleep(self.busy_s)
        company = self._in_flight if generating else self._company()
        moment = Moment(generating=generating, hit=hit, in_flight=company)
        table = (
            self._generated(body, prompt, moment) if generating else self._scored(prompt, moment)
        )
        self.spoil(table, generating)
        with self._lock:
            self._in_flight -= 1
        if dead:
            handler.connection.close()
            return
        answer(handler, 200, json.dumps(table).encode())

    def _company(self) -> int:
        """Requests in flight, this one included: the most while others gather."""
        with self._lock:
            most = self._in_flight
            while 2 < most < self.full and self.gathers_s and self._lock.wait(self.gathers_s):
                most = max(most, self._in_flight)
            return most

    def _after(self, prefix: Sequence[int], moment: Moment) -> Floats:
        return log_softmax(self.bend(moment, logits_after(prefix))[None])[0]

    def _scored(self, tokens: tuple[int, ...], moment: Moment) -> dict[str, Any]:
        positions: list[Any] = [None]
        for end in range(1, len(tokens)):
            logprobs = self._after(tokens[:end], moment)
            order = np.argsort(-logprobs, kind="stable").tolist()
            named = dict.fromkeys([*order[: self.listed], tokens[end]])
            positions.append(
                {str(i): {"logprob": logprobs[i], "rank": order.index(i) + 1} for i in named}
            )
        return {"choices": [{"index": 0, "prompt_logprobs": positions}]}

    def _generated(
        self, body: dict[str, Any], prompt: tuple[int, ...], moment: Moment
    ) -> dict[str, Any]:
        tokens, given, lists = list(prompt), list[float](), list[dict[str, float]]()
        for _ in range(body["max_tokens"]):
            logprobs = self._after(tokens, moment)
            if body["temperature"]:
                token = self._drawn(logprobs, body, tokens)
            else:
                token = self.choose(logprobs)
            order = np.argsort(-logprobs, kind="stable").tolist()[: body["logprobs"]]
            lists.append({f"token_id:{i}": float(logprobs[i]) for i in {*order, token}})
            given.append(float(logprobs[token]))
            tokens.append(token)
        choice = {
            "index": 0,
            "token_ids": tokens[len(prompt) :],
            "logprobs": {"token_logprobs": given, "top_logprobs": lists},
            "finish_reason": "length",
        }
        cached = len(prompt) if moment.hit else 0
        usage = {"prompt_tokens_details": {"cached_tokens": cached} if self.tells_cache else None}
        return {"choices": [choice], "usage": usage}

    def _drawn(self, logprobs: Floats, body: dict[str, Any], tokens: Sequence[int]) -> int:
        logits = logprobs / (body["temperature"] * self.warmer)
        logits[list(set(tokens))] -= self.pushes
        weights = np.exp(logits)
        order = np.argsort(-weights)
        before = np.cumsum(weights[order]) - weights[order]
        weights[order[before >= body["top_p"] * weights.sum()]] = 0.0
        rng = np.random.default_rng([1, *tokens])  # the same answer to the same prompt
        return int(rng.choice(VOCABULARY, p=weights / weights.sum()))


@contextmanager
def opened(toy: Toy, bit_equal: str | None = None) -> Generator[Opened]:
    """The toy, as if it had been launched from a pin that promises `bit_equal`."""
    with serving(toy) as url, Endpoint(url) as endpoint:
        yield Opened(
            asker=Asker(endpoint, VllmDialect(model="toy")),
            title="toy",
            url=url,
            pin=None,
            identity={},
            launch_seconds=None,
            running=None,
            bit_equal=bit_equal,
        )


def trace_of(path: Path, count: int, listed: int = TOP_K) -> Trace:
    """Sequences of 6 to 24 tokens as the toy's own model scores them."""
    rng = np.random.default_rng(11)
    rows: list[Recorded] = []
    for number in range(count):
        tokens = rng.integers(0, VOCABULARY, int(rng.integers(6, 25))).tolist()
        logits = np.array([logits_after(tokens[:end]) for end in range(1, len(tokens))])
        rows.append(
            Recorded(
                case=Case(id=f"case {number}", stratum="text", prompt=str(number)),
                token_ids=tuple(tokens),
                prompt_tokens=len(tokens) // 2,
                scores=top(log_softmax(logits), tokens[1:], listed),
            )
        )
    write_trace(path, rows, top_k=listed)
    return Trace(path)
