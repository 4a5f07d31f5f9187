"""What an endpoint can do is found out by asking it, and every answer has its evidence."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from harness.base.errors import ConfigError, RequestError
from harness.client import Endpoint
from launchers.attached import attach
from launchers.capabilities import TITLES, Able, Capabilities, Capability
from launchers.dialect import Dialect, Reply, Request
from launchers.openai import OpenAiDialect
from launchers.prober import DEADLINE_S, MOST_REQUESTS, Prober, judged
from launchers.vllm import VllmDialect
from tests.building import serving
from tests.vendor import Vendor

KEY = "sk-very-secret"


@contextmanager
def attached(vendor: Vendor, model: str | None = None) -> Generator[tuple[Dialect, Capabilities]]:
    with serving(vendor) as url, Endpoint(url, retries=1) as endpoint:
        dialect, found = attach(
            endpoint.get, endpoint.ask, url=endpoint.url, model=model, announce=lambda _: None
        )
        assert found is not None
        yield dialect, found


def found(vendor: Vendor, model: str | None = None) -> Capabilities:
    with attached(vendor, model) as (_, capabilities):
        return capabilities


def test_a_vendor_with_chats_alone() -> None:
    vendor = Vendor()
    can = found(vendor)
    words = {name: str(getattr(can, name).able) for name in TITLES}
    assert {name for name, word in words.items() if word == "yes"} == {
        "usage",
        "chat",
        "tools",
        "streaming",
        "stream_usage",
    }
    assert words["thinking"] == "unknown"  # both sides are counted alike
    assert can.chat.evidence == "200, answered as 'vendor-1-v2'"
    assert can.tools.evidence == "200, a tool adds 10 prompt tokens"
    assert "404" in can.completions.evidence and "Not Found" in can.completions.evidence
    assert can.requests == len([path for path, body in vendor.asked if body])
    assert can.requests <= MOST_REQUESTS
    assert all(body.get("max_tokens", 1) <= 24 for _, body in vendor.asked)


def test_logprobs_that_are_ignored_with_200_are_a_no() -> None:
    can = found(Vendor(logprobs=None, completes=True))
    assert can.chat_logprobs.able is Able.NO
    assert "200, but ignored" in can.chat_logprobs.evidence
    assert can.completion_logprobs.able is Able.NO
    assert can.score.able is Able.NO
    assert can.token_id_prompts.able is Able.NO
    assert "8 token ids were counted as 3" in can.token_id_prompts.evidence


@pytest.mark.parametrize("refuses", [True, False])
def test_a_limit_of_alternatives_is_found_whether_it_is_said_or_not(refuses: bool) -> None:
    can = found(Vendor(logprobs=5, refuses_more=refuses))
    assert (can.chat_logprobs.able, can.chat_logprobs.most) == (Able.YES, 5)


def test_an_answer_without_usage_shows_neither_count_nor_tools() -> None:
    can = found(Vendor(count=None))
    assert can.usage.able is Able.NO
    assert can.tools.able is Able.UNKNOWN
    assert can.stream_usage.able is Able.NO
    assert can.streaming.yes


def test_tools_that_are_ignored_are_a_no() -> None:
    can = found(Vendor(count=lambda body: 7))  # noqa: ARG005
    assert can.tools.able is Able.NO
    assert "a tool adds no prompt token" in can.tools.evidence


def test_a_seed_is_honoured_only_where_two_seeds_differ_and_each_repeats() -> None:
    assert found(Vendor(seeds=True)).seed.able is Able.YES
    assert found(Vendor(seeds=False)).seed.able is Able.NO


def test_a_text_that_is_always_the_same_says_nothing_of_seeds() -> None:
    whole = {
        "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3},
    }
    vendor = Vendor(
        special=lambda path, _: (
            (200, json.dumps(whole).encode(), {}) if path.endswith("chat/completions") else None
        )
    )
    can = found(vendor)
    assert can.seed.able is Able.UNKNOWN
    assert "deterministic" in can.seed.evidence
    assert can.streaming.able is Able.NO  # JSON came where chunks were asked for


def test_a_list_of_models_that_is_not_there_asks_for_the_models_name() -> None:
    with pytest.raises(ConfigError, match=r"name the model: http://.*#MODEL"):
        found(Vendor(models=None))
    vendor = Vendor(models=None)
    assert found(vendor, "mine").chat.yes
    assert {body["model"] for _, body in vendor.asked if body} == {"mine"}


def test_several_models_are_named_and_none_is_guessed() -> None:
    with pytest.raises(ConfigError, match=r"serves 2 models \(a, b\): .*#a"):
        found(Vendor(models=("a", "b")))
    assert found(Vendor(models=("a", "b")), "b").chat.yes


@pytest.mark.parametrize("models", [("vendor-1",), None])
def test_a_wrong_key_is_the_users_error_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, models: tuple[str, ...] | None
) -> None:
    monkeypatch.setenv("ENGINEDIFF_API_KEY", KEY)
    with pytest.raises(ConfigError, match="ENGINEDIFF_API_KEY is missing, wrong") as caught:
        found(Vendor(key="sk-right", models=models))
    assert KEY not in str(caught.value)
    assert "Bearer ***" in str(caught.value)
    monkeypatch.setenv("ENGINEDIFF_API_KEY", "sk-right")
    assert found(Vendor(key="sk-right", models=("vendor-1",))).chat.yes


def test_no_evidence_holds_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINEDIFF_API_KEY", KEY)
    vendor = Vendor(
        special=lambda path, _: (
            (400, f"no route for Bearer {KEY}".encode(), {}) if path == "/tokenize" else None
        )
    )
    can = found(vendor)
    assert "Bearer ***" in can.render_chat.evidence
    assert KEY not in json.dumps(can.table())


def test_a_rate_limit_is_waited_for_once_and_then_unknown() -> None:
    vendor = Vendor(
        special=lambda path, _: (
            (429, b"slow down", {"retry-after": "0"}) if path == "/tokenize" else None
        )
    )
    can = found(vendor)
    assert (can.render_chat.able, can.render_chat.evidence) == (Able.UNKNOWN, "429: slow down")
    assert len([path for path, _ in vendor.asked if path == "/tokenize"]) == 4  # two, twice each
    assert can.chat.yes


def test_a_limit_that_passes_is_not_seen() -> None:
    """Each request is refused once."""
    vendor = Vendor(
        special=lambda _, number: (429, b"", {"retry-after": "0"}) if number % 2 else None
    )
    assert found(vendor).chat.yes


@pytest.mark.parametrize("content", [b"<html>hello</html>", b"", b"[]", b"null", b'{"choices": 5}'])
def test_a_page_instead_of_an_api_is_no_engine(content: bytes) -> None:
    with pytest.raises(ConfigError, match="no engine that serves 'm'"):
        found(Vendor(special=lambda _, number: (200, content, {}) if number else None), "m")


def test_a_server_that_fails_at_everything_is_a_failed_engine() -> None:
    vendor = Vendor(special=lambda path, _: (503, b"down", {}) if "completions" in path else None)
    with pytest.raises(RequestError, match=r"completions: answered 503: down"):
        found(vendor)


def test_an_unknown_model_is_told_with_the_models_that_are_listed() -> None:
    vendor = Vendor(
        special=lambda path, _: (404, b"no such model", {}) if "completions" in path else None
    )
    with pytest.raises(ConfigError, match=r"'mine': .*404: no such model.* listed: vendor-1"):
        found(vendor, "mine")


@pytest.mark.parametrize(
    "answer",
    [b"[]", b"7", b'"x"', b'{"choices": []}', b'{"tokens": 3}', b'{"choices": [[]], "usage": 1}'],
)
def test_json_of_any_shape_is_a_no_and_never_a_crash(answer: bytes) -> None:
    """Only the first two requests, which show that chats are there, are answered well."""
    vendor = Vendor(special=lambda _, number: (200, answer, {}) if number > 5 else None)
    can = found(vendor, "m")
    assert can.chat.yes
    assert {str(getattr(can, name).able) for name in TITLES if name != "chat"} <= {"no", "unknown"}


def test_a_silent_server_costs_no_more_than_the_deadline() -> None:
    clock = [0.0]

    def silent(request: Request) -> Reply:
        del request
        clock[0] += 60
        return Reply(status=None, body=b"", problem="timed out")

    prober = Prober(silent, model="m", now=lambda: clock[0])
    ask = Request(path="/x", body={})
    evidence = [prober(ask, lambda _: "").evidence for _ in range(20)]
    assert prober.requests == DEADLINE_S / 60 + 1
    assert evidence[0] == "timed out"
    assert evidence[-1].startswith("not asked: 300 s")


@pytest.mark.parametrize(
    ("status", "able"),
    [(400, "no"), (404, "no"), (403, "no"), (501, "no"), (429, "unknown"), (503, "unknown")],
)
def test_a_refusal_is_a_no_and_a_failure_says_nothing(status: int, able: str) -> None:
    reply = Reply(status=status, body=b"x" * 1000, problem=None)
    shown = judged(reply, lambda _: "")
    assert shown.able == able
    assert len(shown.evidence) < 200


def test_a_brand_behind_a_proxy_is_spoken_to_in_its_language() -> None:
    vendor = Vendor(
        special=lambda path, _: (200, b'{"version": "0.32.0"}', {}) if path == "/version" else None
    )
    with attached(vendor) as (dialect, can):
        assert isinstance(dialect, VllmDialect)
        assert can.render_chat.able is Able.NO
        assert can.usage.yes


def test_a_stranger_is_spoken_to_plainly() -> None:
    with attached(Vendor()) as (dialect, _):
        assert isinstance(dialect, OpenAiDialect)
        assert (dialect.model, dialect.echo, dialect.tool_choice) == ("vendor-1", False, None)


def test_what_is_unknown_is_not_built_upon() -> None:
    assert not Capability(able=Able.UNKNOWN, evidence="").yes
    assert Capability(able=Able.YES, evidence="").yes
