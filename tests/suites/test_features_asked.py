"""How the features of the chat API are asked for, and that what is malformed is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from harness.base.held import How
from launchers.contracts import rules
from tests.suites.replies import NEITHER, answer, bodies, calling, held, refusal, suite

FAMILIES = ("kimi-k2.6", "kimi-k2.7", "kimi-k3", "tiny")
BODIES = {family: bodies(suite("features", family)) for family in FAMILIES}
K3 = suite("features", "kimi-k3")
TAKEN = [
    *("unicode", "astral", "control-characters", "special-tokens-as-text", "content-in-parts"),
    "text",
]
EFFORTS = ("effort-low", "effort-high", "effort-max")
LONG = "a_rather_long_name_of_a_tool_" + "x" * 35  # 64 characters, the most of OpenAI's API
OF_MESSAGES = {"messages", "message", "role", "content"}
FORCED = ("required", "weather", "confirm")
# What is wrong in the request, and each word that names it.
MALFORMED: Mapping[str, tuple[dict[str, Any], set[str]]] = {
    "messages-empty": ({"messages": []}, OF_MESSAGES),
    "messages-text": ({"messages": "hello"}, OF_MESSAGES),
    "message-of-no-role": ({"messages": [{"content": "hello"}]}, OF_MESSAGES),
    "message-of-unknown-role": (
        {"messages": [{"role": "nobody", "content": "hello"}]},
        OF_MESSAGES,
    ),
    "message-a-number": ({"messages": [{"role": "user", "content": "Say hello."}, 4]}, OF_MESSAGES),
    "content-a-number": ({"messages": [{"role": "user", "content": 4}]}, OF_MESSAGES),
    "temperature-a-word": ({"temperature": "hot"}, {"temperature"}),
    "top-p-above-1": ({"top_p": 1.5}, {"top_p"}),
    "top-p-0": ({"top_p": 0}, {"top_p"}),
    "max-tokens-0": ({"max_tokens": 0}, {"max_tokens", "max_new_tokens"}),
    "max-tokens-negative": ({"max_tokens": -1}, {"max_tokens", "max_new_tokens"}),
    "max-tokens-a-word": ({"max_tokens": "many"}, {"max_tokens"}),
    "n-0": ({"n": 0}, {"n"}),
    "stop-a-number": ({"stop": 4}, {"stop"}),
    "tools-an-object": ({"tools": {}}, {"tools"}),
    "tool-of-no-name": (
        {"tools": [{"type": "function", "function": {}}]},
        {"tools", "tool", "function", "name"},
    ),
    "tool-choice-unknown": ({"tools": [], "tool_choice": "perhaps"}, {"tool_choice"}),
    "tool-choice-undeclared": (
        {"tools": [], "tool_choice": {"type": "function", "function": {"name": "nobody"}}},
        {"tool_choice", "nobody", "tool", "tools"},
    ),
    "required-without-tools": ({"tool_choice": "required"}, {"tool_choice", "tools"}),
    "format-unknown": ({"response_format": {"type": "xml"}}, {"response_format", "xml"}),
    "format-without-schema": (
        {"response_format": {"type": "json_schema"}},
        {"response_format", "json_schema", "schema"},
    ),
    "logprobs-a-word": ({"logprobs": "some"}, {"logprobs"}),
    "effort-unknown": ({"reasoning_effort": "banana"}, {"reasoning_effort"}),
}
WORDS = {word for _, words in MALFORMED.values() for word in words} | {"type", "json", "schemas"}


def told(case: str, family: str = "kimi-k2.6") -> Mapping[str, Any]:
    return BODIES[family][f"{case}/whole"]


@pytest.mark.parametrize("case", ["no-messages", *MALFORMED])
def test_what_is_malformed_is_refused_by_what_is_wrong_with_it(case: str) -> None:
    words = {"messages"} if case == "no-messages" else MALFORMED[case][1]
    for word in WORDS:
        expected = How.KEPT if word in words else How.UNANSWERED
        assert held(K3, case, refusal(f"{word}: Input is wrong")).how is expected, word
    word = min(words)
    for reply, expected in (
        (refusal(f"{word}: Input is wrong", 422), How.KEPT),
        (refusal(f"{word}: Input is wrong", None), How.NOT_ENFORCED),
        (refusal("Bad Request"), How.UNANSWERED),
        (answer("", "length"), How.NOT_ENFORCED),
        (answer(), How.NOT_ENFORCED),
        (calling(("weather", "{}")), How.NOT_ENFORCED),
        *((neither, How.UNANSWERED) for neither in NEITHER),
    ):
        assert held(K3, case, reply).how is expected, reply


def test_each_malformed_request_has_what_is_wrong_and_is_right_but_for_it() -> None:
    hello = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    tools = told("tool-choice-auto")["tools"]
    assert told("no-messages") == {"max_tokens": 8}
    for case, (fields, _) in MALFORMED.items():
        wrong = {**hello, **fields}
        if case == "tools-an-object":
            wrong["tools"] = tools[0]
        elif fields.get("tools") == []:
            wrong["tools"] = tools
        assert told(case, "kimi-k3") == wrong, case


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_asked_for_what_it_has_streamed_and_whole(family: str) -> None:
    cases = {
        *(*TAKEN, "unknown-field", "stop", "tool-choice-auto", "tool-choice-none"),
        *(*(f"tool-choice-{choice}" for choice in FORCED), "parallel-calls-off"),
        *("long-tool-name", "json-object", "json-schema", "max-tokens", "logprobs"),
        *("no-messages", *(case for case in MALFORMED if case != "effort-unknown")),
    }
    if family == "kimi-k3":
        cases |= {*EFFORTS, "effort-unknown", "dynamic-tools"}
    assert set(BODIES[family]) == {
        f"{case}/{way}" for case in cases for way in ("streamed", "whole")
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_each_feature_is_asked_for_by_its_own_fields(family: str) -> None:
    forced: Any = rules(family).asked_by["instant"] if "instant" in rules(family).modes else {}
    tools = told("tool-choice-auto", family)["tools"]
    assert [tool["function"]["name"] for tool in tools] == ["weather", "confirm"]
    called = {"tools": tools, "max_tokens": 64}
    most = {"max_tokens": 64}
    (long,) = told("long-tool-name", family)["tools"]
    assert long["function"] == {**tools[1]["function"], "name": LONG} | {
        "description": f"The tool {LONG}."
    }
    named = {"type": "function", "function": {"name": "confirm"}}
    wanted = told("json-schema", family)["response_format"]["json_schema"]
    assert wanted["strict"] and wanted["schema"] == tools[1]["function"]["parameters"]
    schema = {"type": "json_schema", "json_schema": wanted}
    fields = {
        **dict.fromkeys(TAKEN, most),
        "text": {**most, "response_format": {"type": "text"}},
        "unknown-field": {**most, "unheard_of": {"a": [1]}},
        "stop": {**most, "stop": [" ", ".", "e"]},
        "tool-choice-auto": {**called, "tool_choice": "auto"},
        "tool-choice-none": {**called, "tool_choice": "none"},
        "tool-choice-required": {**called, **forced, "tool_choice": "required"},
        "tool-choice-confirm": {**called, **forced, "tool_choice": named},
        "parallel-calls-off": {
            **called,
            **forced,
            "tool_choice": "required",
            "parallel_tool_calls": False,
        },
        "long-tool-name": {**called, **forced, "tool_choice": "required", "tools": [long]},
        "json-object": {**most, "response_format": {"type": "json_object"}},
        "json-schema": {**most, "response_format": schema},
        "max-tokens": {"max_tokens": 3},
        "logprobs": {"max_tokens": 8, "logprobs": True, "top_logprobs": 3},
    }
    if family == "kimi-k3":
        fields |= {case: {**most, "reasoning_effort": case[7:]} for case in EFFORTS}
        fields |= {"dynamic-tools": most}
    for case, expected in fields.items():
        body = told(case, family)
        assert body["messages"], case
        assert {key: body[key] for key in body if key != "messages"} == expected, case


def test_the_texts_are_what_they_are_called() -> None:
    texts = {case: told(case)["messages"][0]["content"] for case in TAKEN}
    assert any(ord(one) > 0xFFFF for one in texts["astral"])
    assert not texts["unicode"].isascii() and "\u0301" in texts["unicode"]
    assert {"\t", "\n", "\r"} <= {*texts["control-characters"]}
    assert "<|im_end|>" in texts["special-tokens-as-text"]
    assert texts["content-in-parts"] == [
        {"type": "text", "text": "Say "},
        {"type": "text", "text": "hello."},
    ]


def test_a_tool_is_declared_by_a_system_message() -> None:
    _, system = told("dynamic-tools", "kimi-k3")["messages"]
    assert system == {"role": "system", "tools": told("tool-choice-auto")["tools"][:1]}
