"""The plain language: nothing is sent that a vendor may refuse, and no odd answer is a number."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from harness.base.case import Chat
from harness.base.errors import RequestError
from launchers.openai import OpenAiDialect, prompt_tokens
from launchers.pins import OWN
from launchers.vllm import VllmDialect

PLAIN = OpenAiDialect(model="m", echo=False, tool_choice=None, switches_thinking=True)
ECHO = OpenAiDialect(model="m", echo=True, tool_choice=None, switches_thinking=True)
USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "f"}}
TOKENS = (5, 6, 7)


def echo(given: Any, count: object = 3) -> bytes:
    choice = {"text": "abc", "logprobs": {"token_logprobs": given}}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": count}}).encode()


def test_a_chat_is_counted_with_nothing_but_the_apis_own_fields() -> None:
    request = PLAIN.usage(Chat(messages=(USER,), tools=None, thinking=None))
    assert request.path == "/v1/chat/completions"
    assert request.body == {"model": "m", "messages": [USER], "max_tokens": 1}


def test_tools_and_thinking_are_passed_on() -> None:
    chat = Chat(messages=(USER,), tools=(TOOL,), thinking=False)
    body = PLAIN.usage(chat).body
    assert body is not None
    assert body["tools"] == [TOOL]
    assert body["chat_template_kwargs"] == {"thinking": False}
    assert "tool_choice" not in body
    choosing = OpenAiDialect(model="m", echo=False, tool_choice="none", switches_thinking=False)
    chosen = choosing.usage(chat).body or {}
    assert chosen["tool_choice"] == "none"
    assert "chat_template_kwargs" not in chosen


def test_without_an_echo_tokens_are_asked_for_in_vllms_form() -> None:
    vllm = VllmDialect(model="m")
    assert PLAIN.score([TOKENS], 20) == vllm.score([TOKENS], 20)
    assert PLAIN.render("text") == vllm.render("text")
    asked = [
        dialect.generate([TOKENS], max_new_tokens=2, sampling=OWN, seeds=[1], top_k=2)
        for dialect in (PLAIN, vllm)
    ]
    assert asked[0] == asked[1]


def test_an_echo_gives_the_given_tokens_logprobs_and_no_alternatives() -> None:
    body = ECHO.score([TOKENS], 20).body
    assert body is not None
    assert (body["prompt"], body["echo"], body["max_tokens"]) == ([5, 6, 7], True, 1)
    for given in ([None, -0.5, -1.5, -9.0], [None, -0.5, -1.5]):
        (scores,) = ECHO.scored(echo(given), [TOKENS], 20)
        assert np.array_equal(scores.logprobs, [-0.5, -1.5])
        assert scores.top_ids.shape == scores.top_logprobs.shape == (2, 0)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (echo([None, -0.5, -1.5], count=4), "4 tokens were counted of a prompt of 3"),
        (echo([None, -0.5]), "2 logprobs came for an echo of 3"),
        (echo([-9.0]), "1 logprobs came"),
        (echo([-9.0, -0.5, -1.5]), "3 logprobs came"),
        (echo(None), "no logprobs came with the echo"),
        (echo([]), "0 logprobs came for an echo of 3"),
        (echo([None, "a", "b"]), "no logprobs came"),
        (b"<html>", "no usage.prompt_tokens"),
        (b"[]", "no usage.prompt_tokens"),
    ],
)
def test_an_echo_that_is_not_the_prompts_is_refused(answer: bytes, named: str) -> None:
    with pytest.raises(RequestError, match=named):
        ECHO.scored(answer, [TOKENS], 20)


@pytest.mark.parametrize("count", [0, -1, "7", None, 2.5, [1]])
def test_what_is_no_count_is_refused(count: object) -> None:
    with pytest.raises(RequestError, match=r"usage\.prompt_tokens is"):
        prompt_tokens(echo([], count=count))
