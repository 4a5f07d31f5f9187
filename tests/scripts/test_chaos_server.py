"""The engine that breaks on purpose: its language is a pure function, and every fault is what it
says on the socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.candidate import opened
from launchers.capabilities import Able
from launchers.process import free_port
from launchers.vllm import VllmDialect
from scripts.chaos import chaos_model

SCRIPT = Path(__file__).parents[2] / "scripts" / "chaos" / "server.py"
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
PROMPT = "Once upon a time"
BODY = {
    "model": "tiny-moe",
    "prompt": PROMPT,
    "max_tokens": 1000,
    "stream": True,
    "stream_options": {"include_usage": True},
    "return_token_ids": True,
}
END = b"data: [DONE]\n\n\r\n0\r\n\r\n"
RESET, DONE = b"reset", b"[DONE]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One server of this test's own."""

    process: subprocess.Popen[str]
    port: int
    ledger: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lines(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Of one kind; the last is written just after what it tells of."""
        deadline = time.monotonic() + 3
        while True:
            text = self.ledger.read_text() if self.ledger.exists() else ""
            found = [line for line in map(json.loads, text.splitlines()) if line["kind"] == kind]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.01)


@contextmanager
def running(folder: Path, **plan: Any) -> Generator[Running]:
    port, ledger = free_port(), folder / "ledger"
    path = folder / "plan.json"
    path.write_text(json.dumps({"token_s": 0.0, "ledger": str(ledger), **plan}))
    process = subprocess.Popen(
        [sys.executable, "-S", str(SCRIPT), "--port", str(port), "--model", "x", "--dtype", "auto"],
        env={**os.environ, "CHAOS_PLAN": str(path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening")
        try:
            yield Running(process=process, port=port, ledger=ledger)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    with running(tmp_path_factory.mktemp("healthy")) as server:
        yield server


def raw(server: Running, body: Mapping[str, Any] = BODY, path: str = COMPLETIONS) -> list[bytes]:
    """All that comes over one connection, piece by piece; RESET at its end where it was reset."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nx-request-id: r1\r\ncontent-length: {len(content)}\r\n"
    pieces: list[bytes] = []
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(f"{head}connection: close\r\n\r\n".encode() + content)
        try:
            while piece := client.recv(1 << 16):
                pieces.append(piece)
        except ConnectionResetError:
            pieces.append(RESET)
    return pieces


def events(answer: bytes) -> list[bytes]:
    """What came whole, a chunk's size left out: an empty line ends an event."""
    return [
        line.removeprefix(b"data: ")
        for event in answer.split(b"\n\n")[:-1]
        for line in event.split(b"\n")
        if line.startswith(b"data: ")
    ]


def chunks(answer: bytes) -> list[dict[str, Any]]:
    """Up to [DONE]."""
    found = events(answer)
    whole = found[: found.index(DONE)] if DONE in found else found
    return [json.loads(event) for event in whole]


def token_ids(answer: bytes) -> list[int]:
    choices = [choice for chunk in chunks(answer) for choice in chunk["choices"]]
    return [token for choice in choices for token in choice["token_ids"]]


def finished(answer: bytes) -> bool:
    return any(c["finish_reason"] for chunk in chunks(answer) for c in chunk["choices"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One stream."""

    tokens: list[int]
    texts: list[str]
    reason: str
    usage: Mapping[str, Any]


def heard(server: Running, more: Mapping[str, Any]) -> Heard:
    answer = httpx.post(server.url + COMPLETIONS, json={**BODY, **more}, trust_env=False).content
    assert answer.endswith(b"data: [DONE]\n\n")
    *parts, last = chunks(answer)
    choices = [part["choices"][0] for part in parts]
    assert last["choices"] == []
    return Heard(
        tokens=[token for choice in choices for token in choice["token_ids"]],
        texts=[choice["text"] for choice in choices],
        reason=choices[-1]["finish_reason"],
        usage=last["usage"],
    )


def test_the_next_token_is_a_function_of_those_before_it() -> None:
    lengths: list[int] = []
    for number in range(300):
        prompt = chaos_model.tokenised(f"prompt {number}")
        tokens, reason = chaos_model.generated(prompt, 10_000)
        assert reason == "stop"
        assert tokens.index(chaos_model.END) == len(tokens) - 1 >= chaos_model.LEAST
        lengths.append(len(tokens))
        for place in (1, len(tokens) // 2, len(tokens) - 1):
            rest, _ = chaos_model.generated(prompt + tokens[:place], 10_000)
            assert rest == tokens[place:]
    assert 65 < sum(lengths) / len(lengths) < 100


def test_an_answer_continued_behind_any_whole_character_is_the_same(healthy: Running) -> None:
    whole = heard(healthy, {})
    prompt = chaos_model.tokenised(PROMPT)
    assert heard(healthy, {"prompt": prompt}) == whole
    assert whole.tokens[-1] == chaos_model.END and whole.texts[-1] == ""
    assert whole.usage["prompt_tokens"] == len(prompt)
    assert whole.usage["completion_tokens"] == len(whole.tokens)
    halves = 0
    for place in range(1, len(whole.tokens)):
        more = heard(healthy, {"prompt": prompt + whole.tokens[:place]})
        assert (more.tokens, more.reason) == (whole.tokens[place:], "stop")
        if whole.tokens[place - 1] in chaos_model.HALVES:
            halves += 1
            assert whole.texts[place - 1] == ""
            assert more.texts[0] == chaos_model.BROKEN + whole.texts[place][1:]
        else:
            assert more.texts == whole.texts[place:]
    assert halves > 0


def test_it_stops_at_max_tokens(healthy: Running) -> None:
    whole, short = heard(healthy, {}), heard(healthy, {"max_tokens": 7})
    assert (short.reason, short.tokens, short.texts) == (
        "length",
        whole.tokens[:7],
        whole.texts[:7],
    )


def test_streamed_and_whole_are_one_answer(healthy: Running) -> None:
    whole = heard(healthy, {})
    body = {**BODY, "stream": False, "logprobs": 3}
    choice = httpx.post(healthy.url + COMPLETIONS, json=body, trust_env=False).json()["choices"][0]
    assert choice["token_ids"] == whole.tokens
    assert choice["prompt_token_ids"] == chaos_model.tokenised(PROMPT)
    assert choice["text"] == "".join(whole.texts)
    assert choice["finish_reason"] == "stop"
    first = chunks(b"".join(raw(healthy)))[0]["choices"][0]
    assert first["prompt_token_ids"] == choice["prompt_token_ids"]


def test_a_third_of_a_thinking_chat_is_reasoning_under_either_name(healthy: Running) -> None:
    names: set[str] = set()
    with httpx.Client(base_url=healthy.url, trust_env=False) as client:
        for number in range(8):
            messages = [{"role": "user", "content": f"question {number}"}]
            switch = {"chat_template_kwargs": {"thinking": True}}
            body = {"messages": messages, **switch}
            streamed = {**body, "stream": True, "return_token_ids": True}
            answer = client.post(CHAT, json=streamed).content
            deltas = [chunk["choices"][0]["delta"] for chunk in chunks(answer)]
            thought = [next(n for n in delta if n != "role") for delta in deltas[1:]]
            names |= set(thought)
            assert thought.count("content") == len(thought) - len(thought) // 3
            prompt = client.post("/tokenize", json=body).json()["tokens"]
            assert chunks(answer)[0]["prompt_token_ids"] == prompt
            texts = heard(healthy, {"prompt": prompt}).texts
            assert [delta[n] for delta, n in zip(deltas[1:], thought, strict=True)] == texts
    assert names == {"content", "reasoning", "reasoning_content"}


def test_a_connection_is_kept_and_what_is_not_served_is_refused(healthy: Running) -> None:
    with httpx.Client(base_url=healthy.url, trust_env=False) as client:
        streams = {
            client.get(path).extensions["network_stream"]
            for path in ("/health", "/version", "/v1/models", "/nothing")
        }
        assert len(streams) == 1
        refused = [
            client.post(COMPLETIONS, json={**BODY, **more})
            for more in ({"n": 2}, {"prompt": [299]})
        ]
        assert [answer.status_code for answer in refused] == [400, 400]
        assert "error" in refused[0].json()
        said = client.post("/detokenize", json={"tokens": chaos_model.tokenised("Größe")}).json()
        assert said == {"prompt": "Größe"}


def test_it_is_attached_to_as_vllm_and_scores_and_generates(
    healthy: Running, tmp_path: Path
) -> None:
    with opened(healthy.url, None, log=tmp_path / "log", announce=print) as engine:
        assert isinstance(engine.asker.dialect, VllmDialect)
        assert engine.identity["version"] == "0.32.0"
        found = engine.capabilities
        assert found is not None
        for name in ("score", "generate", "chat", "completions", "streaming", "stream_usage"):
            assert getattr(found, name).able is Able.YES, (name, getattr(found, name))
        for name in ("render_chat", "usage", "token_id_prompts", "tools", "thinking"):
            assert getattr(found, name).able is Able.YES, (name, getattr(found, name))
        (scores,) = engine.asker.score([(1, 2, 3)], 1, at_once=1)
        assert len(scores.logprobs) == 2


def test_every_token_that_was_sent_is_in_the_ledger(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        whole = heard(server, {})
        (line,) = server.lines("served")
        assert line["sent_tokens"] == len(whole.tokens)
        assert line["prompt_tokens"] == len(PROMPT)
        assert line["finished"]
    with running(tmp_path, token_s=0.02) as server:
        with httpx.stream("POST", server.url + COMPLETIONS, json=BODY, trust_env=False) as answer:
            next(answer.iter_bytes())
        left = server.lines("served", 2)[1]
        assert not left["finished"] and 0 < left["sent_tokens"] < len(whole.tokens)
        with httpx.stream("POST", server.url + COMPLETIONS, json=BODY, trust_env=False) as answer:
            next(answer.iter_bytes())
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(5) == 0
        assert len(server.lines("served", 3)) == 3


@contextmanager
def faulty(folder: Path, kind: str, **plan: Any) -> Generator[Running]:
    with running(folder, faults={kind: 1.0}, **plan) as server:
        yield server


def told_once(server: Running, kind: str) -> dict[str, Any]:
    (line,) = server.lines(kind)
    assert (line["path"], line["request_id"]) == (COMPLETIONS, "r1")
    return line


def test_other_requests_meet_no_fault(tmp_path: Path) -> None:
    with faulty(tmp_path, "reset_before") as server:
        body = {**BODY, "stream": False}
        answer = httpx.post(server.url + COMPLETIONS, json=body, trust_env=False)
        assert answer.status_code == 200
        assert server.lines("served")[0]["finished"]


def test_statuses_and_pages(tmp_path: Path) -> None:
    with faulty(tmp_path, "rate_limited") as server:
        answers = [b"".join(raw(server)) for _ in range(60)]
        assert all(answer.startswith(b"HTTP/1.1 429 ") for answer in answers)
        asked = {b"retry-after: 0" in answer for answer in answers}
        assert asked == {True, False}
        assert len(server.lines("rate_limited", 60)) == 60
    with faulty(tmp_path, "server_error") as server:
        statuses = {b"".join(raw(server))[9:12] for _ in range(60)}
        assert statuses == {b"500", b"502", b"503"}
    with faulty(tmp_path, "html") as server:
        answer = b"".join(raw(server))
        assert answer.startswith(b"HTTP/1.1 200 ") and b"content-type: text/html" in answer
        told_once(server, "html")


def test_a_storm_follows_a_drawn_429(tmp_path: Path) -> None:
    with running(
        tmp_path, faults={"rate_limited": 0.15}, storm={"requests": 5, "within_s": 60}
    ) as server:
        limited = [b"".join(raw(server)).startswith(b"HTTP/1.1 429") for _ in range(60)]
    first = limited.index(True)  # none in 60 would be drawn once in 17,000 times
    assert all(limited[first : first + 6])
    assert not all(limited)


def test_resets(tmp_path: Path) -> None:
    with faulty(tmp_path, "reset_before") as server:
        assert raw(server) == [RESET]
        assert told_once(server, "reset_before")["sent_tokens"] == 0
    with faulty(tmp_path, "reset_middle", token_s=0.001) as server:
        assert raw(server)[-1] == RESET
        told_once(server, "reset_middle")


def test_cuts_are_anywhere_and_the_ledger_counts_what_came(tmp_path: Path) -> None:
    late = mid_event = 0
    with faulty(tmp_path, "cut") as server:
        for number in range(1, 41):
            answer = b"".join(raw(server))
            assert not answer.endswith((RESET, b"\r\n0\r\n\r\n"))
            tokens = len(token_ids(answer))
            assert server.lines("cut", number)[-1]["sent_tokens"] == tokens
            assert server.lines("served", number)[-1]["sent_tokens"] == tokens
            late += finished(answer)
            rest = answer.rpartition(b"\n\n\r\n")[2]
            mid_event += b"data: " in rest
    assert late > 0 and mid_event > 10


def test_a_stall_is_silence_and_then_the_end(tmp_path: Path) -> None:
    with faulty(tmp_path, "stall", stall_s=0.5) as server:
        began = time.monotonic()
        pieces = raw(server)
        assert 0.5 <= time.monotonic() - began < 3
        assert not finished(b"".join(pieces))
        told_once(server, "stall")


def test_harmless_ones_are_whole_answers(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        whole = token_ids(b"".join(raw(server)))
    with faulty(tmp_path, "drip") as server:
        pieces = raw(server)
        assert sum(len(piece) == 1 for piece in pieces) > 20
        assert events(b"".join(pieces))[-1] == DONE
        assert token_ids(b"".join(pieces)) == whole
        told_once(server, "drip")
    with faulty(tmp_path, "garbage_after_done") as server:
        answer = b"".join(raw(server))
        assert len(answer.rpartition(b"data: [DONE]\n\n\r\n")[2]) > len(b"0\r\n\r\n")
        assert token_ids(answer) == whole
        told_once(server, "garbage_after_done")


def test_events_that_are_none(tmp_path: Path) -> None:
    with faulty(tmp_path, "wrong_json") as server:
        answer = b"".join(raw(server))
        assert answer.endswith(END)
        wrong = [event for event in events(answer)[:-1] if not event.endswith(b"}")]
        assert wrong == [b'{"id":"cmpl-0","choices":[{"index":0,"te']
        told_once(server, "wrong_json")
    with faulty(tmp_path, "told") as server:
        answer = b"".join(raw(server))
        assert answer.endswith(END)
        assert json.loads(events(answer)[-2])["error"]["code"] == 500
        told_once(server, "told")
    with faulty(tmp_path, "half_done") as server:
        answer = b"".join(raw(server))
        assert answer.endswith(b"}\n\n\r\n0\r\n\r\n")
        assert chunks(answer)[-1]["choices"][0]["finish_reason"] == "stop"
        told_once(server, "half_done")


def test_a_restart_ends_the_process_and_accounts_for_it(tmp_path: Path) -> None:
    with faulty(tmp_path, "restart") as server:
        pieces = raw(server)
        assert server.process.wait(5) == 1
        assert not finished(b"".join(pieces))
        told_once(server, "restart")
        assert len(server.lines("served")) == 1


def test_poison_is_refused_always_and_alone(tmp_path: Path) -> None:
    with running(tmp_path, poison=["upon"]) as server:
        for more in ({}, {"stream": False}, {"prompt": chaos_model.tokenised(PROMPT)}):
            answer = httpx.post(server.url + COMPLETIONS, json={**BODY, **more}, trust_env=False)
            assert answer.status_code == 500
        assert heard(server, {"prompt": "Once"}).reason == "stop"
        assert len(server.lines("poison", 3)) == 3


def test_an_unknown_knob_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"faults": {"cuts": 1.0}}')
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--port", "1"],
        env={**os.environ, "CHAOS_PLAN": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "unknown: cuts" in done.stderr
