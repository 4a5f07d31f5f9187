"""The audit of a server on a real socket that draws from the trace's own distributions."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np

from harness import session
from harness.base.case import Case
from harness.base.record import Floats
from harness.candidate import Opened
from harness.checker.outcome import LevelResult, Word
from harness.client import Asker, Endpoint
from harness.evidence import written
from harness.levels import sampled
from harness.levels.state import Check, Settings
from harness.recording import Recorded, Trace
from harness.report import sections
from launchers.capabilities import Able, Capabilities, Capability
from launchers.openai import OpenAiDialect
from tests.building import answer, log_softmax, serving, top, write_trace

WORDS, LISTED = 30, 4
YES = Capability(able=Able.YES, evidence="200")
NO = Capability(able=Able.NO, evidence="404")


class Drawing:
    """Completions of one token after prefixes of `rows`, at the temperature that is asked for,
    times `faulty`. What it was asked is in `asked`."""

    def __init__(self, rows: Mapping[tuple[int, ...], Floats]) -> None:
        self.rows = rows
        self.faulty = 1.0
        self.refuses = False
        self.shouts = False
        self.asked: list[Mapping[str, Any]] = []
        self._rng = np.random.default_rng(7)

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        self.asked.append(body)
        if self.refuses and "temperature" in body:
            answer(handler, 400, b"temperature is fixed here")
            return
        ids = body["prompt"]
        if isinstance(ids, str):
            ids = [int(word) for word in ids.split("w")[1:]]
        drawn = self._drawn(self.rows[tuple(ids)], body)
        texts = [f"w{i}" if not self.shouts else f"W{i}" for i in drawn]
        choices = [{"text": text, "finish_reason": "length"} for text in texts]
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(texts)}
        answer(handler, 200, json.dumps({"choices": choices, "usage": usage}).encode())

    def _drawn(self, logprobs: Floats, body: Mapping[str, Any]) -> list[int]:
        weights = np.exp(logprobs / (body.get("temperature", 1.0) * self.faulty))
        order = np.argsort(-weights)
        sums = np.cumsum(weights[order]) / weights.sum()
        weights[order[1:][sums[:-1] >= body.get("top_p", 1.0)]] = 0.0
        return self._rng.choice(WORDS, size=body["n"], p=weights / weights.sum()).tolist()


def sequences() -> tuple[list[Recorded], dict[tuple[int, ...], Floats]]:
    """Texts of 20 tokens, two to four likely words at each place, nearly all mass listed."""
    rng = np.random.default_rng(5)
    rows: list[Recorded] = []
    known: dict[tuple[int, ...], Floats] = {}
    for number in range(24):
        tokens = rng.integers(0, WORDS, 20).tolist()
        logprobs = log_softmax(rng.normal(size=(19, WORDS)) * 3.2).astype(np.float32)
        rows.append(
            Recorded(
                case=Case(id=f"text-{number}", stratum="text", prompt=f"prompt {number}"),
                token_ids=tuple(tokens),
                prompt_tokens=10,
                scores=top(logprobs.astype(np.float64), tokens[1:], LISTED),
            )
        )
        known |= {tuple(tokens[: i + 1]): logprobs[i].astype(np.float64) for i in range(19)}
    return rows, known


@contextmanager
def checking(folder: Path, **able: Capability) -> Generator[tuple[Check, Drawing]]:
    rows, known = sequences()
    write_trace(folder / "a.trace", rows)
    trace = Trace(folder / "a.trace")
    names = [field.name for field in fields(Capabilities) if field.name != "requests"]
    given = {**dict.fromkeys(names, YES), "chat": NO, **able}
    dialect = OpenAiDialect(model="m", echo=False, tool_choice=None, switches_thinking=False)
    server = Drawing(known)
    with serving(server) as url, Endpoint(url) as endpoint, written(folder / "e") as evidence:
        check = Check(
            opened=Opened(
                asker=Asker(endpoint, dialect),
                title="a server",
                url=url,
                pin=None,
                identity={},
                launch_seconds=None,
                running=None,
                capabilities=Capabilities(**given, requests=1),
            ),
            trace=trace,
            tolerances=session.tolerances_of(trace, "fp32"),
            settings=Settings(seed=0, alpha=0.005, beta=0.005),
            evidence=evidence,
            announce=lambda _: None,
        )
        check.texts = {i: token.text for i, token in trace.vocabulary().items()}
        yield check, server


def test_a_server_by_its_url_is_held_to_what_was_sent_alone(tmp_path: Path) -> None:
    with checking(tmp_path) as (check, server):
        word, reasons = sampled.run(check)
    assert word is not Word.DIFFERENT, reasons
    assert any("nobody promised anything" in reason for reason in reasons)
    sent = [body for body in server.asked if "temperature" in body]
    assert {key for body in sent for key in body} == {
        *("model", "prompt", "max_tokens", "n", "temperature", "top_p")
    }
    assert check.tokens <= 56_000


def test_a_wrong_temperature_is_told_and_shown(tmp_path: Path) -> None:
    with checking(tmp_path) as (check, server):
        server.faulty = 0.6
        word, reasons = sampled.run(check)
    assert word is Word.DIFFERENT
    assert check.tokens <= 20_000
    assert reasons[0].startswith("sent: temperature: asked 1, got 0.6")
    findings = json.loads(json.dumps(check.findings["sampler"]))  # as it comes out of a verdict
    level = LevelResult(
        level="sampler",
        title=sampled.TITLE,
        word=word,
        reasons=tuple(reasons),
        tokens=check.tokens,
        seconds=1.0,
        findings=findings,
    )
    page = sections.of(level)
    assert page.count("<svg") == 2
    assert "promised 1" in page and "sent: temperature: asked 1, got 0.6" in page


def test_a_server_without_token_ids_is_asked_by_texts(tmp_path: Path) -> None:
    with checking(tmp_path, token_id_prompts=NO) as (check, server):
        word, reasons = sampled.run(check)
    assert word is not Word.DIFFERENT, reasons
    assert all(isinstance(body["prompt"], str) for body in server.asked)
    assert check.findings["sampler"]["arms"][0]["samples"] > 1000


def test_a_server_that_refuses_the_parameters_is_no_verdict(tmp_path: Path) -> None:
    with checking(tmp_path) as (check, server):
        server.refuses = True
        word, reasons = sampled.run(check)
    assert word is Word.INCONCLUSIVE
    assert "sent: cannot be asked: 400: temperature is fixed here" in reasons


def test_texts_that_are_not_the_traces_tokens_accuse_nobody(tmp_path: Path) -> None:
    with checking(tmp_path) as (check, server):
        server.shouts = True
        word, reasons = sampled.run(check)
    assert word is Word.INCONCLUSIVE
    assert "sent: cannot be asked: the texts that come are not the trace's tokens" in reasons


def test_a_server_without_texts_is_not_asked(tmp_path: Path) -> None:
    with checking(tmp_path, completions=NO) as (check, server):
        word, reasons = sampled.run(check)
    assert word is Word.INCONCLUSIVE
    assert len(reasons) == 2 and server.asked == []
