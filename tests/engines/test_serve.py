"""`enginediff serve`, with and without its gateway, before real engines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import gateway, ports
from launchers import contracts
from tests.engines.command_line import CLI
from tests.engines.tee import Tee, tee

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
QUESTION = {"model": "tiny-moe", "messages": [{"role": "user", "content": "What is 12 + 30?"}]}
SHORT = {**QUESTION, "max_tokens": 8}
PROMPT = {"model": "tiny-moe", "prompt": "The", "max_tokens": 4}
ON, OFF = {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}
KWARGS_ON = {"chat_template_kwargs": {"thinking": True}}
KWARGS_OFF = {"chat_template_kwargs": {"thinking": False}}


@contextmanager
def serving(*arguments: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """A running `enginediff serve`, and the URL that it printed."""
    command = subprocess.Popen(
        [CLI, "serve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert command.stdout is not None
        url = command.stdout.readline().strip()
        assert url.startswith("http://"), command.communicate(timeout=60)[1]
        yield command, url
    finally:
        if command.poll() is None:
            command.send_signal(signal.SIGINT)
            command.communicate(timeout=120)


def engine_of(command: subprocess.Popen[str]) -> tuple[int, str]:
    """Process id and URL of the engine that a command has started, by its command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            parents = _parents(int(folder.name))
        except OSError:  # it has just ended
            continue
        if command.pid in parents and "--port" in words:
            return int(folder.name), f"http://127.0.0.1:{words[words.index('--port') + 1]}"
    raise AssertionError("no engine")


def _parents(pid: int) -> list[int]:
    found: list[int] = []
    while pid > 1:
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def ask(url: str, body: Mapping[str, Any]) -> httpx.Response:
    return httpx.post(url, json=body, trust_env=False, timeout=120)


@pytest.fixture(scope="module")
def served() -> Generator[tuple[str, str]]:
    """`serve tiny-moe/vllm-cpu --enforce`: the gateway's URL, and the engine's own."""
    with serving("tiny-moe/vllm-cpu", "--enforce") as (command, url):
        engine = engine_of(command)[1]
        assert engine != url
        yield url, engine


WRONG: list[Mapping[str, Any]] = [
    *({"temperature": value} for value in (0, 0.6, 1.1, 2.0, -0.1, "1.0", True, [1], 1e400)),
    *({"top_p": value} for value in (0.8, 1, 0, "0.95")),
    *({"presence_penalty": value} for value in (0.5, -0.5)),
    *({"frequency_penalty": value} for value in (0.5, False)),
    *({"n": value} for value in (2, 0, "1")),
    *({"top_k": value} for value in (1, 50)),
    *({"min_p": 0.1}, {"repetition_penalty": 1.2}, {"logit_bias": {"5": 10}}, {"min_tokens": 3}),
    *({"ignore_eos": True}, {"use_beam_search": True}, {"bad_words": ["a"]}),
    *({"allowed_token_ids": [5]}, {"vllm_xargs": {"a": 1}}, {"thinking_token_budget": 1}),
    *({**on, "temperature": 0.6} for on in (ON, KWARGS_ON)),
    *({**off, "temperature": 1.0} for off in (OFF, KWARGS_OFF, {"reasoning_effort": "none"})),
    *({**off, "temperature": 0} for off in (OFF, KWARGS_OFF)),
    *({**OFF, **KWARGS_ON}, {**ON, **KWARGS_OFF}, {**KWARGS_ON, "reasoning_effort": "none"}),
    *({"thinking": True}, {"thinking": {"type": "maybe"}}),
    *({"chat_template_kwargs": {"thinking": value}} for value in ("false", None, 0)),
]
RIGHT: list[Mapping[str, Any]] = [
    *({}, {"temperature": 1, "top_p": 0.95}, {"temperature": 1.0, "n": 1}, {"temperature": None}),
    *({"presence_penalty": 0, "frequency_penalty": 0.0}, {"seed": 5}, {"stop": ["x"]}),
    *({"top_k": -1}, {"top_k": 0, "min_p": 0}, {"logit_bias": {}}, {"unheard_of": {"a": [1]}}),
    *({**on, "temperature": 1.0, "top_p": 0.95} for on in (ON, KWARGS_ON)),
    *({**off, "temperature": 0.6, "top_p": 0.95} for off in (OFF, KWARGS_OFF)),
    *(ON, OFF, KWARGS_ON, KWARGS_OFF, {"logprobs": True, "top_logprobs": 2}),
]
WRONG_TEXT = [
    *({"temperature": value} for value in (0, 0.6)),
    *({"top_p": 1.0}, {"best_of": 2}, {"n": 2}, {**KWARGS_OFF, "temperature": 0.6}),
]


def test_the_wrong_sets_are_many() -> None:
    assert len(WRONG) + len(WRONG_TEXT) >= 30


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_value_is_refused_with_400(served: tuple[str, str], wrong: Any) -> None:
    content = json.dumps({**SHORT, **wrong}).replace("Infinity", "1e400")
    answer = httpx.post(served[0] + CHAT, content=content, trust_env=False)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"].partition(".")[0] in wrong


@pytest.mark.parametrize("wrong", WRONG_TEXT, ids=str)
def test_a_raw_prompt_is_held_as_well(served: tuple[str, str], wrong: Any) -> None:
    assert ask(served[0] + TEXT, {**PROMPT, **wrong}).status_code == 400


@pytest.mark.parametrize("right", RIGHT, ids=str)
def test_a_right_value_is_accepted_and_answered(served: tuple[str, str], right: Any) -> None:
    answer = ask(served[0] + CHAT, {**SHORT, **right})
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] > 0
    text = {key: value for key, value in right.items() if key in ("temperature", "top_p", "seed")}
    if text.get("temperature", 1) == 1:
        assert ask(served[0] + TEXT, {**PROMPT, **text}).status_code == 200


def test_thinking_is_what_was_asked_in_either_way(served: tuple[str, str]) -> None:
    """vLLM ignores Kimi's own field: the gateway fills in the switch of the chat template."""

    def prompt_tokens(url: str, more: Mapping[str, Any]) -> int:
        return ask(url + CHAT, {**SHORT, **more}).json()["usage"]["prompt_tokens"]

    url, engine = served
    on, off = prompt_tokens(engine, KWARGS_ON), prompt_tokens(engine, KWARGS_OFF)
    assert on != off
    assert [prompt_tokens(url, more) for more in ({}, ON, KWARGS_ON)] == [on] * 3
    assert [prompt_tokens(url, more) for more in (OFF, KWARGS_OFF)] == [off] * 2
    assert prompt_tokens(engine, OFF) == on  # what is cured here


def test_what_is_filled_in_is_what_the_engine_samples_with(served: tuple[str, str]) -> None:
    """With the same seed, an open request answers as one that says everything to the engine."""
    url, engine = served
    said = {"temperature": 0.6, "top_p": 0.95, **KWARGS_OFF}
    for seed in range(5):
        held = ask(url + CHAT, {**QUESTION, **OFF, "max_tokens": 64, "seed": seed})
        own = ask(engine + CHAT, {**QUESTION, **said, "max_tokens": 64, "seed": seed})
        assert held.json()["choices"] == own.json()["choices"]


def test_other_paths_pass_or_are_shut(served: tuple[str, str]) -> None:
    url, engine = served
    for path in ("/v1/models", "/version", "/health"):
        ours, own = (httpx.get(base + path, trust_env=False) for base in (url, engine))
        assert ours.status_code == own.status_code == 200
        assert len(ours.content) == len(own.content)
    body = {"model": "tiny-moe", "input": "hello", "temperature": 0}
    for path in ("/v1/responses", "/v1/messages", "/inference/v1/generate", "/generate"):
        assert ask(url + path, body).status_code == 403
    own, ours = (ask(base + CHAT, {**SHORT, "max_tokens": -1}) for base in (engine, url))
    assert (ours.status_code, ours.content) == (own.status_code, own.content)
    assert ours.status_code == 400


STREAM = {**QUESTION, "max_tokens": 16, "stream": True, "stream_options": {"include_usage": True}}


async def streamed(client: httpx.AsyncClient, url: str, seed: int) -> bytes:
    async with client.stream("POST", url + CHAT, json={**STREAM, "seed": seed}) as answer:
        assert answer.status_code == 200
        return b"".join([data async for data in answer.aiter_raw()])


async def streams(url: str, count: int) -> list[bytes]:
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(trust_env=False, timeout=300, limits=limits) as client:
        return await asyncio.gather(*(streamed(client, url, seed) for seed in range(count)))


def test_two_hundred_streams_at_once_are_the_engines_own_byte_for_byte(
    served: tuple[str, str],
) -> None:
    """What left the engine is recorded on the wire between it and a gateway."""
    recorded: Tee
    contract = contracts.load("kimi-k2.6")
    with (
        tee(served[1]) as recorded,
        ports.bound("127.0.0.1", None) as listener,
        gateway.running(listener, engine=recorded.url, contract=contract),
    ):
        url = ports.url("127.0.0.1", listener.getsockname()[1])
        got = asyncio.run(streams(url, 200))
    assert sorted(got) == sorted(recorded.bodies())
    assert len(set(got)) == 200  # each has an id of its own
    assert all(body.endswith(b"data: [DONE]\n\n") for body in got)


def test_two_hundred_streams_at_once_complete_through_the_command(
    served: tuple[str, str],
) -> None:
    got = asyncio.run(streams(served[0], 200))
    assert all(body.endswith(b"data: [DONE]\n\n") for body in got)


def test_a_client_that_leaves_frees_the_engine(served: tuple[str, str]) -> None:
    url, engine = served

    def metric(name: str) -> float:
        lines = httpx.get(engine + "/metrics", trust_env=False).text.splitlines()
        found = [line for line in lines if line.startswith(f"vllm:{name}{{")]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def generated(chunks: int | None) -> float:
        """Tokens made for one request, left after so many chunks (None: read to its end)."""
        before = metric("generation_tokens_total")
        body = {**PROMPT, "prompt": ["The"] * 100, "max_tokens": 100, "seed": 3, "stream": True}
        with httpx.stream("POST", url + TEXT, json=body, trust_env=False, timeout=120) as answer:
            for _, _ in zip(answer.iter_raw(), range(chunks or 10**9), strict=False):
                pass
        deadline = time.monotonic() + 60
        while metric("num_requests_running") + metric("num_requests_waiting"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return metric("generation_tokens_total") - before

    assert generated(1) < generated(None) / 2


@pytest.fixture(scope="module")
def free_port() -> int:
    with ports.bound("127.0.0.1", None) as listener:
        return listener.getsockname()[1]


def test_it_listens_where_it_is_told_and_ctrl_c_stops_the_engine(free_port: int) -> None:
    address = ["--host", "127.0.0.2", "--port", str(free_port)]
    with serving("tiny-moe/reference", *address) as (command, url):
        assert url == f"http://127.0.0.2:{free_port}"
        assert httpx.get(url + "/identity", trust_env=False).status_code == 200
        pid, engine = engine_of(command)
        assert engine == f"http://127.0.0.1:{free_port}"  # the same port: nothing stands before it
        command.send_signal(signal.SIGINT)
        output, errors = command.communicate(timeout=60)
    assert (command.returncode, output) == (130, "")
    assert "what was started is stopped" in errors
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("more", [[], ["--enforce"]], ids=["alone", "behind the gateway"])
def test_an_engine_that_is_killed_while_serving_is_told_with_its_log(more: list[str]) -> None:
    with serving("tiny-moe/reference", *more) as (command, _):
        os.kill(engine_of(command)[0], signal.SIGKILL)
        output, errors = command.communicate(timeout=60)
    assert (command.returncode, output) == (4, "")
    assert "killed by signal SIGKILL" in errors and "log:" in errors


def test_an_engine_that_dies_while_loading_never_has_a_url() -> None:
    command = subprocess.run(
        [CLI, "serve", "tiny-moe/reference", "--set", "args.attention=banana"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (command.returncode, command.stdout) == (4, "")
    assert "banana" in command.stderr
