"""What belongs to the template, and stands in the answer: think tags, control tokens, raw calls.

What the request itself holds may be said again, and in code anything may be shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from harness.base.arguments import parameters
from harness.base.errors import ConfigError
from harness.base.reply import Reply
from harness.checker.asked import Asked, without_code

AROUND = 30  # characters that are shown on either side
THINK = re.compile(r"</?(?:\w+:)?think(?:ing)?>|◁/?think▷|\[/?THINK\]")
CONTROL = re.compile(
    r"<\|[^|<>\s]{1,40}\|>"  # Kimi, Qwen, Llama, gpt-oss, GLM
    r"|<｜[^｜<>\s]{1,40}｜>"  # DeepSeek, with bars as wide as Chinese letters
    r"|\]~!?b[\[\]]|\[e~\["  # MiniMax
)
# Words that an answer about tokenizers uses too: they have leaked where it begins or ends.
AT_EDGE = (
    r"\[(?:BOS|EOS|EOT|PAD|UNK)\]|\[/?INST\]|</?s>|<(?:bos|eos|pad|unk|(?:start|end)_of_turn)>"
)
EDGE = re.compile(rf"\A(?:{AT_EDGE})|(?:{AT_EDGE})\Z")
CALL_TOKEN = re.compile(r"<\|tool_calls?_\w+\|>|<｜tool▁calls?▁\w+｜>")
RAW_CALL = re.compile(
    rf"{CALL_TOKEN.pattern}|<\|python_tag\|>|\[TOOL_CALLS\]"
    r"|<(?:\w+:)?tool_calls?>|<(?:\w+:)?function_calls?>|<function=\w|<invoke name="
    r"|\bto=functions\.\w|\bfunctions\.[\w.-]{1,128}:\d+\b"  # APIs allow names of up to 128
)
JSON_CALL = re.compile(
    r'"(?:name|function|tool)"\s*:\s*"((?:[^"\\\n]|\\.){1,64})"\s*,'
    r'\s*"(?:arguments|parameters|args|input)"\s*:\s*[{"]'
)


def think_tags(reply: Reply, asked: Asked) -> str | None:
    """The mark between reasoning and answer stands in the answer."""
    text = without_code(reply.content)
    return _leaked(THINK.finditer(text), text, asked)


def control_tokens(reply: Reply, asked: Asked) -> str | None:
    """A token of the template came out as text."""
    text = without_code(reply.content).strip()
    return _leaked([*CONTROL.finditer(text), *EDGE.finditer(text)], text, asked)


def call_in_text(reply: Reply, asked: Asked) -> str | None:
    """Nothing is called, and a call stands in the answer, or its tokens in the reasoning. JSON
    counts in code too, for there a model puts it, and only if it names a declared tool."""
    if reply.calls:
        return None
    for markup, whole in ((RAW_CALL, reply.content), (CALL_TOKEN, reply.reasoning)):
        text = without_code(whole)
        if told := _leaked(markup.finditer(text), text, asked):
            return told
    names = _names(asked)
    calls = (each for each in JSON_CALL.finditer(reply.content) if each[1] in names)
    return _leaked(calls, reply.content, asked)


def _names(asked: Asked) -> frozenset[str]:
    """As JSON spells them."""
    try:
        return frozenset(json.dumps(name)[1:-1] for name in parameters(asked.tools))
    except ConfigError:  # what is no tool cannot be called
        return frozenset()


def _leaked(found: Iterable[re.Match[str]], text: str, asked: Asked) -> str | None:
    """The first that is not in the request, with what is around it."""
    prompt: str | None = None
    for one in found:
        prompt = asked.text() if prompt is None else prompt
        if one[0] not in prompt:
            before, behind = text[max(0, one.start() - AROUND) : one.start()], text[one.end() :]
            return f"{before}{one[0]}{behind[:AROUND]}"
    return None
