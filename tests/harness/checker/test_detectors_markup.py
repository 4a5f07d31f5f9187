"""Pieces of the template in an answer: which are found, and which may stand there."""

from __future__ import annotations

from typing import Any

import pytest

from harness.base.reply import ANSWERED, Call, Reply
from harness.checker.asked import Asked
from harness.checker.detectors_markup import call_in_text, control_tokens, think_tags

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("get_weather", 'a"b\\')]


def asked(prompt: str = "Is it raining in Oslo?", tools: Any = TOOLS) -> Asked:
    return Asked(messages=[{"role": "user", "content": prompt}], tools=tools)


def reply(content: str, **parts: Any) -> Reply:
    return Reply(outcome=ANSWERED, content=content, finish_reason="stop", **parts)


@pytest.mark.parametrize(
    "content",
    [
        "I know it.</think>It is Paris.",
        "<think>Let me see.",
        "</think>",
        "答案是<think>42",
        "◁think▷首先◁/think▷",
        "[THINK]hm[/THINK] 4",
        "<thinking>hm</thinking> 4",
        "<mm:think>hm",
        "```\ncode\n```\n</think> done",
        "```\nleft open </think>",
    ],
)
def test_a_think_tag_in_an_answer_is_found(content: str) -> None:
    found = think_tags(reply(content), asked())
    assert found is not None
    assert "hink" in found.lower()


@pytest.mark.parametrize(
    "content",
    [
        "I think <b>so</b>.",
        "Think of x < y > z.",
        "Write `<think>` before it.",
        "The template:\n```\n<think>\n</think>\n```\n",
        "я думаю <i>так</i>",
        "a <thinker> b",
    ],
)
def test_what_is_no_think_tag_or_stands_in_code_is_left_alone(content: str) -> None:
    assert think_tags(reply(content), asked()) is None


def test_a_tag_that_the_request_holds_may_be_said_again() -> None:
    content = "Between <think> and </think> the model reasons."
    assert think_tags(reply(content), asked("What are <think> and </think>?")) is None
    assert think_tags(reply(content), asked("What is <think>?")) is not None
    assert think_tags(reply("ok", reasoning="</think>"), asked()) is None


@pytest.mark.parametrize(
    ("content", "token"),
    [
        ("It rains.<|im_end|>", "<|im_end|>"),
        ("<|im_assistant|>assistant<|im_middle|>It rains.", "<|im_assistant|>"),
        ("<|tool_calls_section_begin|><|tool_call_begin|>", "<|tool_calls_section_begin|>"),
        ("下雨了<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
        ("<|start|>assistant<|channel|>final<|message|>Rain.", "<|start|>"),
        ("It rains.[EOS]", "[EOS]"),
        ("[BOS]It rains.", "[BOS]"),
        ("It rains.[EOS]\n", "[EOS]"),
        ("It rains.</s>", "</s>"),
        ("It rains.<end_of_turn>", "<end_of_turn>"),
        ("It rains.[e~[", "[e~["),
        ("]~b]ai\nIt rains.", "]~b]"),
    ],
)
def test_a_token_of_the_template_is_found_with_what_is_around_it(content: str, token: str) -> None:
    found = control_tokens(reply(content), asked())
    assert found is not None
    assert token in found


@pytest.mark.parametrize(
    "content",
    [
        "x |> f <| y",
        "f <| g |> h",
        "if a <|b| and |c|> d",
        "BERT puts [CLS] first, and fills up with [PAD] and [UNK] in between.",
        "Kimi ends a turn with `<|im_end|>`.",
        "```jinja\n<|im_user|>{{ content }}<|im_end|>\n```",
        "A sentence starts with <s> and ends with </s> in Llama's vocabulary.",
        "‖x‖ < |y| > 0",
        "[1] and [2]",
    ],
)
def test_what_only_looks_like_a_token_is_left_alone(content: str) -> None:
    assert control_tokens(reply(content), asked()) is None


def test_a_token_that_the_request_holds_may_be_said_again() -> None:
    found = reply("<|im_end|> ends a turn.")
    assert control_tokens(found, asked("What is <|im_end|>?")) is None
    assert control_tokens(found, asked("What is <|im_user|>?")) is not None


@pytest.mark.parametrize(
    "content",
    [
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0",
        'functions.get_weather:0 {"city": "Oslo"}',
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
        "<tool_call>get_weather\n<arg_key>city</arg_key>",
        "<function=get_weather><parameter=city>Oslo</parameter></function>",
        '<minimax:tool_call><invoke name="get_weather">',
        '[TOOL_CALLS][{"name": "get_weather"}]',
        "<｜tool▁calls▁begin｜>get_weather",
        '{"name": "get_weather", "arguments": {"city": "奥斯陆"}}',
        '我来查一下：\n```json\n{\n  "name": "get_weather",\n  "parameters": {}\n}\n```',
        '{"type": "function", "function": "get_weather", "arguments": "{}"}',
        '{"name": "a\\"b\\\\", "arguments": {}}',
        "commentary to=functions.get_weather json",
    ],
)
def test_a_call_that_came_out_as_text_is_found(content: str) -> None:
    assert call_in_text(reply(content), asked()) is not None
    call = Call(id="1", name="get_weather", arguments="{}")
    assert call_in_text(reply(content, calls=(call,)), asked()) is None


@pytest.mark.parametrize(
    "content",
    [
        "I would call get_weather with the city of Oslo.",
        "get_weather(city='Oslo') is a tool that I have.",
        '{"name": "Ada", "arguments": {}}',
        '{"name": "get_weather", "version": 2}',
        '{"name": "Oslo", "input": "get_weather"}',
        "Qwen writes `<tool_call>` before it.",
        "def functions(get_weather: int) -> None: ...",
        "functions.get_weather is a name.",
        "",
    ],
)
def test_what_only_speaks_of_a_tool_is_left_alone(content: str) -> None:
    assert call_in_text(reply(content), asked()) is None


def test_json_is_a_call_only_of_a_declared_tool_and_if_the_request_does_not_hold_it() -> None:
    found = reply('{"name": "get_weather", "arguments": {"city": "Oslo"}}')
    assert call_in_text(found, asked()) is not None
    for tools in (None, [], [{"type": "function", "function": {"name": "now"}}], [{}]):
        assert call_in_text(found, asked(tools=tools)) is None
    assert call_in_text(found, asked("Say " + found.content)) is None
    assert call_in_text(reply("<tool_call>"), asked(tools=None)) is not None


def test_a_megabyte_of_the_word_functions_is_read_in_one_go() -> None:
    """Each of them might begin a name; none may look for its end in all that follows."""
    assert call_in_text(reply("functions." * 100_000), asked()) is None
    assert call_in_text(reply(f"functions.{'n' * 128}:0"), asked()) is not None


def test_tokens_of_a_call_in_the_reasoning_are_found_and_words_are_not() -> None:
    lost = "I look it up.<|tool_calls_section_begin|><|tool_call_begin|>"
    assert call_in_text(reply("", reasoning=lost), asked()) is not None
    mused = 'I should write <tool_call>, or {"name": "get_weather", "arguments": {}}.'
    assert call_in_text(reply("", reasoning=mused), asked()) is None


def test_what_a_tool_had_answered_is_part_of_the_request() -> None:
    page = {"role": "tool", "content": [{"type": "text", "text": "<|im_end|> and </think>"}]}
    read = Asked(messages=[page], tools=None)
    assert control_tokens(reply("The page has <|im_end|>"), read) is None
    assert think_tags(reply("The page has </think>"), read) is None
