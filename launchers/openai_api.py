"""The OpenAI API that every engine serves beside its own: texts in, texts out. Pure.

A field is sent only where it is given, so that what a server adds by itself can be seen. Both APIs
and both ways of answering, whole and streamed, are read into the same `Answered`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from harness.base.errors import RequestError
from launchers.dialect import Request, Tokens

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
REASONING = ("reasoning_content", "reasoning")  # both names are in use
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call, its arguments as the text that came."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer of a request."""

    content: str  # of a completion: its text
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back, whole or put together from a stream."""

    choices: tuple[Choice, ...]
    prompt_tokens: int | None  # None: the server does not count
    completion_tokens: int | None


def completion(model: str, prompt: Tokens | str, fields: Mapping[str, Any]) -> Request:
    """`fields`: max_tokens, n, temperature, top_p, stop, seed, stream ... as they shall be sent."""
    given = prompt if isinstance(prompt, str) else list(prompt)
    return Request(path=COMPLETIONS, body={"model": model, "prompt": given, **fields})


def chat(body: Mapping[str, Any], fields: Mapping[str, Any]) -> Request:
    """`body`: the conversation, as `Dialect.chat` writes it."""
    return Request(path=CHAT, body={**body, **fields})


def answered(answer: bytes) -> Answered:
    """A whole answer. RequestError where it is none."""
    table = _json(answer)
    choices = sorted(_list(table, "choices", answer), key=lambda c: c.get("index", 0))
    usage = table.get("usage") or {}
    return Answered(
        choices=tuple(_choice(choice, answer) for choice in choices),
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
    )


def _choice(choice: Mapping[str, Any], answer: bytes) -> Choice:
    message: Mapping[str, Any] = choice.get("message") or {"content": choice.get("text")}
    reason = choice.get("finish_reason")
    if not isinstance(reason, str):
        raise RequestError(f"an answer without finish_reason: {answer[:300]!r}")
    return Choice(
        content=message.get("content") or "",
        reasoning=_reasoning(message),
        tool_calls=tuple(_tool_call(call) for call in message.get("tool_calls") or ()),
        finish_reason=reason,
    )


def streamed(answer: bytes) -> Answered:
    """A stream of events put together. RequestError where it is cut short, or is none."""
    chunks, done = _events(answer)
    if not done:
        raise RequestError(f"a stream that ends without [DONE]: {answer[-300:]!r}")
    parts: dict[int, _Parts] = {}
    usage: Mapping[str, Any] = {}
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            parts.setdefault(choice.get("index", 0), _Parts()).add(choice)
    if not parts:
        raise RequestError(f"a stream without a choice: {answer[:300]!r}")
    return Answered(
        choices=tuple(parts[index].whole(answer) for index in sorted(parts)),
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
    )


class _Parts:
    """One choice of a stream, as its parts come."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, dict[str, str]] = {}
        self._reason: str | None = None

    def add(self, choice: Mapping[str, Any]) -> None:
        delta: Mapping[str, Any] = choice.get("delta") or {"content": choice.get("text")}
        self._content.append(delta.get("content") or "")
        self._reasoning.append(_reasoning(delta))
        for call in delta.get("tool_calls") or ():
            known = self._calls.setdefault(
                call.get("index", 0), {"id": "", "name": "", "arguments": ""}
            )
            function: Mapping[str, Any] = call.get("function") or {}
            known["id"] = known["id"] or call.get("id") or ""
            known["name"] = known["name"] or function.get("name") or ""
            known["arguments"] += function.get("arguments") or ""
        self._reason = choice.get("finish_reason") or self._reason

    def whole(self, answer: bytes) -> Choice:
        if self._reason is None:
            raise RequestError(f"a stream without finish_reason: {answer[-300:]!r}")
        return Choice(
            content="".join(self._content),
            reasoning="".join(self._reasoning),
            tool_calls=tuple(ToolCall(**self._calls[index]) for index in sorted(self._calls)),
            finish_reason=self._reason,
        )


def _events(answer: bytes) -> tuple[list[dict[str, Any]], bool]:
    chunks: list[dict[str, Any]] = []
    for line in answer.splitlines():
        if not line.startswith(b"data:"):
            continue  # an event's name, a comment that keeps the connection open, an empty line
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            return chunks, True
        chunks.append(_json(data))
    return chunks, False


def _reasoning(message: Mapping[str, Any]) -> str:
    return next((message[name] for name in REASONING if message.get(name)), "")


def _tool_call(call: Mapping[str, Any]) -> ToolCall:
    function: Mapping[str, Any] = call.get("function") or {}
    return ToolCall(
        id=call.get("id") or "",
        name=function.get("name") or "",
        arguments=function.get("arguments") or "",
    )


def _json(answer: bytes) -> dict[str, Any]:
    try:
        value: Any = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"an answer that is no JSON: {answer[:300]!r}") from error
    if not isinstance(value, dict):
        raise RequestError(f"an answer that is no JSON object: {answer[:300]!r}")
    if "error" in value:
        raise RequestError(f"an error for an answer: {answer[:500]!r}")
    return value


def _list(table: Mapping[str, Any], name: str, answer: bytes) -> Sequence[dict[str, Any]]:
    value: Any = table.get(name)
    if not isinstance(value, list) or not value:
        raise RequestError(f"an answer without {name}: {answer[:300]!r}")
    return value


def first_alternatives(answer: bytes) -> dict[str, float]:
    """The alternatives of the first generated token, text -> logprob, of a chat or a completion.

    RequestError where none came.
    """
    choice = _list(_json(answer), "choices", answer)[0]
    given: Any = choice.get("logprobs") or {}
    try:
        if given.get("content"):
            pairs = [(e["token"], e["logprob"]) for e in given["content"][0]["top_logprobs"]]
        else:
            pairs = list(given["top_logprobs"][0].items())
        found: dict[str, float] = {}
        for text, logprob in pairs:  # several ids may have one text
            found[str(text)] = float(np.logaddexp(found.get(text, -np.inf), float(logprob)))
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise RequestError(f"no alternatives came with an answer: {answer[:300]!r}") from error
    return found
