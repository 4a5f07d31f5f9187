"""A real vLLM as a stranger's endpoint: whole, and behind proxies that leave things out."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from harness import candidate
from harness.candidate import Opened
from harness.client import Endpoint
from launchers.dialect import Request
from launchers.pins import MODELS
from tests.building import answer, serving
from tests.engines.command_line import verdict_of
from tests.engines.test_blackbox import texts_alone

ROPE = 'args.hf-overrides.rope_parameters={"rope_type": "default", "rope_theta": 20000.0}'
VLLM_ONLY = ("/version", "/tokenize", "/identity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """Hands requests on, but for some paths, some fields, and more alternatives than `most`."""

    server: Endpoint
    blocked: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    most: int = 20

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length", 0))
        content = handler.rfile.read(length)
        if handler.path in self.blocked:
            answer(handler, 404, b"<html>404 Not Found</html>")
            return
        body: dict[str, Any] = json.loads(content) if content else {}
        for field in self.dropped:
            body.pop(field, None)
        wanted = [body.get(name, 0) for name in ("logprobs", "top_logprobs", "prompt_logprobs")]
        if max(map(int, wanted)) > self.most:
            answer(handler, 400, f"at most {self.most} alternatives".encode())
            return
        reply = self.server.ask(Request(path=handler.path, body=body if content else None))
        assert reply.status is not None
        answer(handler, reply.status, reply.body)


@contextmanager
def behind(proxied: Opened, **left_out: Any) -> Generator[str]:
    """The URL of a proxy before a running engine."""
    with Endpoint(proxied.url) as server, serving(Proxy(server=server, **left_out)) as url:
        yield url


@contextmanager
def opened(url: str, folder: Path) -> Generator[Opened]:
    with candidate.opened(url, None, log=folder / "log", announce=lambda _: None) as it:
        yield it


def words(verdict: dict[str, Any]) -> dict[str, str]:
    """Of the levels that were asked."""
    levels = verdict["levels"]
    return {level["level"]: level["word"] for level in levels if level["word"] is not None}


def test_what_a_vllm_can_do_is_found(vllm: Opened, tmp_path: Path) -> None:
    with opened(vllm.url + "/v1", tmp_path) as it:
        found = it.capabilities
        assert found is not None
        table = found.table()
    words = {name: one["able"] for name, one in table.items() if name != "requests"}
    assert words.pop("sampling_echo") == "no"
    assert set(words.values()) == {"yes"}, table
    assert [table[name]["most"] for name in ("score", "generate")] == [20, 20]
    assert [table[name]["most"] for name in ("chat_logprobs", "completion_logprobs")] == [20, 20]
    assert it.identity["engine"] == "vllm"


def test_without_its_tokeniser_only_l0_is_open(vllm: Opened, trace_short: Path) -> None:
    with behind(vllm, blocked=("/tokenize",)) as url:
        verdict, code = verdict_of(url, "--against", trace_short)
    assert (verdict["verdict"], verdict["level"], code) == ("INCONCLUSIVE", "L0", 3)
    asked = {"L0": "INCONCLUSIVE", "L2": "EQUIVALENT", "L1": "EQUIVALENT"}
    found = words(verdict)
    assert "DIFFERENT" not in (found.pop("sampler"), found.pop("L0b"))
    assert found == asked
    assert "cannot be asked: token ids of a chat" in verdict["reasons"][0]
    assert "a weak pass" in verdict["reasons"][-1]
    assert verdict["candidate"]["identity"]["engine"] == "vllm"
    assert verdict["candidate"]["capabilities"]["render_chat"]["able"] == "no"


def test_where_only_tokens_are_counted_nothing_is_equivalent(
    vllm: Opened, trace_short: Path
) -> None:
    fields = ("logprobs", "top_logprobs")
    with behind(vllm, blocked=(*VLLM_ONLY, "/v1/completions"), dropped=fields) as url:
        verdict, code = verdict_of(url, "--against", trace_short)
    assert (verdict["verdict"], code) == ("INCONCLUSIVE", 3)
    found = words(verdict)
    assert found.pop("L0b") != "DIFFERENT"
    assert set(found.values()) == {"INCONCLUSIVE"}
    assert [level["level"] for level in verdict["levels"] if level["tokens"]] == ["L0b", "sampler"]
    asked = [level for level in verdict["levels"] if level["word"] is not None]
    barred = {level["level"] for level in asked if "cannot be asked" in level["reasons"][0]}
    assert barred - {"L0b"} == {level["level"] for level in asked} - {"sampler", "L0b"}
    found = verdict["candidate"]["capabilities"]
    assert (found["chat_logprobs"]["able"], found["usage"]["able"]) == ("no", "yes")


def test_with_an_echo_the_given_tokens_are_judged(vllm: Opened, trace_short: Path) -> None:
    with behind(vllm, blocked=VLLM_ONLY, dropped=("prompt_logprobs",)) as url:
        verdict, code = verdict_of(url, "--against", trace_short)
    assert (verdict["verdict"], code) == ("INCONCLUSIVE", 3)
    assert "by echo" in verdict["candidate"]["capabilities"]["score"]["evidence"]
    rows = [row for row in verdict["statistics"] if row["level"] == "L2"]
    assert {row["statistic"] for row in rows} == {"A", "S"}
    assert all(row["equivalent"] for row in rows)
    assert "0 alternatives" in reasons(verdict, "L2")[0]


def test_with_five_alternatives_no_fault_is_seen_and_none_excluded(
    vllm: Opened, trace_short: Path
) -> None:
    with behind(vllm, blocked=VLLM_ONLY, most=5) as url:
        verdict, code = verdict_of(url, "--against", trace_short)
    assert (verdict["verdict"], code) == ("INCONCLUSIVE", 3)
    assert "gives 5 alternatives" in reasons(verdict, "L2")[0]
    assert all(row["equivalent"] for row in verdict["statistics"])
    assert verdict["candidate"]["capabilities"]["chat_logprobs"]["most"] == 5


@contextmanager
def changed(change: str, folder: Path) -> Generator[Opened]:
    """A vLLM that is set wrongly."""
    name = "tiny-moe/vllm-cpu"
    loaded = candidate.prepared(name, [change])
    log = folder / "engine.log"
    with candidate.opened(name, loaded, log=log, announce=lambda _: None) as it:
        yield it


def test_a_lost_generation_prompt_is_different_by_its_counts_alone(
    trace_short: Path, tmp_path: Path
) -> None:
    template = tmp_path / "template.jinja"
    right = (MODELS / "tiny-moe" / "chat_template.jinja").read_text()
    assert "if add_generation_prompt" in right
    template.write_text(right.replace("if add_generation_prompt", "if false"))
    with (
        changed(f"args.chat-template={template}", tmp_path) as wrong,
        behind(wrong, blocked=(*VLLM_ONLY, "/v1/completions")) as url,
    ):
        verdict, code = verdict_of(url, "--against", trace_short)
    assert (verdict["verdict"], verdict["level"], code) == ("DIFFERENT", "L0", 1)
    assert "usage.prompt_tokens is" in verdict["reasons"][0]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Generator[Opened]:
    """A vLLM with twice the RoPE base."""
    with changed(ROPE, tmp_path_factory.mktemp("wrong")) as opened:
        yield opened


def test_a_doubled_rope_base_is_different_with_few_alternatives_with_none_and_by_its_texts(
    wrong: Opened, trace_short: Path, trace_with_texts: Path
) -> None:
    with texts_alone(wrong) as url:
        verdict, code = verdict_of(url, "--against", trace_with_texts)
    assert (verdict["verdict"], verdict["level"], code) == ("DIFFERENT", "black box", 1)
    assert "depart from the reference's before any near tie" in verdict["reasons"][0]
    for left_out in ({"most": 5}, {"dropped": ("prompt_logprobs",)}):
        with behind(wrong, blocked=VLLM_ONLY, **left_out) as url:
            verdict, code = verdict_of(url, "--against", trace_short)
        assert (verdict["verdict"], verdict["level"], code) == ("DIFFERENT", "L2", 1)


def test_where_only_what_is_generated_has_logprobs_a_fault_is_found_and_none_excluded(
    vllm: Opened, wrong: Opened, trace_short: Path
) -> None:
    ways: tuple[dict[str, Any], ...] = (
        {"blocked": VLLM_ONLY, "dropped": ("prompt_logprobs", "echo")},
        {"blocked": (*VLLM_ONLY, "/v1/completions")},  # chats alone
    )
    for way in ways:
        with behind(vllm, **way) as url:
            verdict, code = verdict_of(url, "--against", trace_short)
        assert (verdict["verdict"], code) == ("INCONCLUSIVE", 3)
        assert words(verdict)["L2"] == "INCONCLUSIVE"
        assert "nothing is above its tolerance" in reasons(verdict, "L2")[0]
        with behind(wrong, **way) as url:
            verdict, code = verdict_of(url, "--against", trace_short)
        assert (verdict["verdict"], verdict["level"], code) == ("DIFFERENT", "L2", 1)


def reasons(verdict: dict[str, Any], name: str) -> list[str]:
    return next(level["reasons"] for level in verdict["levels"] if level["level"] == name)
