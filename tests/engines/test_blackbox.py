"""A real engine as an endpoint of texts alone: healthy, colder than it says, of other weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from harness.candidate import Opened
from harness.client import Endpoint
from launchers.dialect import Request
from tests.building import answer, serving
from tests.engines.command_line import run, verdict_of

Body = dict[str, Any]
TEXTS = ("/v1/models", "/v1/chat/completions", "/v1/completions")
TAKEN_AWAY = ("logprobs", "top_logprobs", "prompt_logprobs", "echo", "return_token_ids")


def as_asked(body: Body) -> Body:
    return body


def colder(body: Body) -> Body:
    """Temperature .6 for 1.0, and nothing else."""
    return {**body, "temperature": 0.6} if body.get("temperature") == 1.0 else body


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsAlone:
    """Hands on what asks for texts by texts: no token ids, no tokenising, no logprobs."""

    server: Endpoint
    changed: Callable[[Body], Body]

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        content = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        body: Body = json.loads(content) if content else {}
        if handler.path not in TEXTS:
            answer(handler, 404, b"not found")
        elif isinstance(body.get("prompt"), list):
            answer(handler, 400, b"prompt must be a string")
        else:
            asked = self.changed({k: v for k, v in body.items() if k not in TAKEN_AWAY})
            reply = self.server.ask(Request(path=handler.path, body=asked if content else None))
            assert reply.status is not None
            answer(handler, reply.status, reply.body)


@contextmanager
def texts_alone(engine: Opened, changed: Callable[[Body], Body] = as_asked) -> Generator[str]:
    """The URL of a proxy before a running engine."""
    with (
        Endpoint(engine.url) as server,
        serving(TextsAlone(server=server, changed=changed)) as url,
    ):
        yield url


def black_box(verdict: dict[str, Any]) -> dict[str, Any]:
    return next(level for level in verdict["levels"] if level["level"] == "black box")


def test_a_healthy_engine_of_texts_alone_is_inconclusive_and_its_power_is_said(
    vllm: Opened, trace_with_texts: Path
) -> None:
    with texts_alone(vllm) as url:
        done = run("check", url, "--against", trace_with_texts)
    assert done.returncode == 3, done.stderr
    assert "cannot be asked: logprobs of given tokens" in done.stdout
    assert "answers are the reference's own, word for word" in done.stdout
    assert "of 100 such tests, by the reference's own answers, about" in done.stdout


def test_temperature_point_six_for_one_is_different(vllm: Opened, trace_with_texts: Path) -> None:
    """The greedy answers are right: it is the sampled ones that tell."""
    with texts_alone(vllm, colder) as url:
        verdict, code = verdict_of(url, "--against", trace_with_texts, "--every-level")
    assert (verdict["verdict"], verdict["level"], code) == ("DIFFERENT", "sampler", 1)
    assert black_box(verdict)["word"] == "DIFFERENT"
    found = black_box(verdict)["findings"]
    assert found["exact"]["departed"] == 0
    assert found["equality"]["concentration"] > 0
    assert "as at a lower temperature" in " ".join(black_box(verdict)["reasons"])
    assert black_box(verdict)["tokens"] < 20_000
