"""A stream of server-sent events read as it comes: what each piece adds to the answer. Pure.

Nothing of the answer is kept here, however long it gets. Both APIs and both names of the reasoning
are read; calls are told apart by their index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

DONE = b"[DONE]"
MOST_BYTES = 8 << 20  # of one event: a longer one is no stream of tokens


class MalformedError(Exception):
    """What came is not the API's answer; the message shows a part of it."""


class ToldError(Exception):
    """The server says in the stream that it has failed."""


@dataclass(slots=True)
class Delta:
    """What one piece of a stream adds, ready for the journal: empty parts are left out."""

    content: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    token_ids: list[int] = field(default_factory=list[int])
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    finish_reason: str | None = None

    def table(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.content:
            found["content"] = "".join(self.content)
        if self.reasoning:
            found["reasoning"] = "".join(self.reasoning)
        if self.token_ids:
            found["token_ids"] = self.token_ids
        if self.calls:
            found["calls"] = self.calls
        if self.finish_reason:
            found["finish_reason"] = self.finish_reason
        return found


class Stream:
    """One answer as it comes, of one choice."""

    __slots__ = ("_data", "_rest", "chunks", "done", "finish_reason", "usage")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self.chunks = 0  # that brought something of the answer
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self.done = False  # [DONE] came

    def feed(self, data: bytes) -> Delta:
        """What `data` adds; nothing, once [DONE] has come. Raises MalformedError, ToldError."""
        delta = Delta()
        lines = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MOST_BYTES:
            raise MalformedError(f"an event of more than {MOST_BYTES:,} bytes: {self._rest[:80]!r}")
        for line in lines:
            if line.startswith(b"data:"):
                data = line[5:].strip()
                self.done = self.done or data == DONE
                self._data.append(data)
            elif self._data and not line.strip():
                self._event(b"\n".join(self._data), delta)
                self._data.clear()
        return delta

    def missing(self, *, ends_with_done: bool) -> str | None:
        """Why what came is no whole answer; None: it is one."""
        if not self.done and (self._rest.strip() or self._data):
            return "cut in the middle of an event"
        if self.finish_reason is None:
            return "without finish_reason"
        if ends_with_done and not self.done:
            return "without [DONE]"
        return None

    def _event(self, data: bytes, delta: Delta) -> None:
        if self.done:
            return
        try:
            chunk: Any = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise MalformedError(f"an event that is no JSON: {data[:200]!r}") from error
        if not isinstance(chunk, dict):
            raise MalformedError(f"an event that is no part of an answer: {data[:200]!r}")
        if "error" in chunk:
            raise ToldError(f"an error for an answer: {data[:200]!r}")
        self._add(chunk, delta)

    def _add(self, chunk: dict[str, Any], delta: Delta) -> None:
        self.usage = chunk.get("usage") or self.usage
        choices = chunk.get("choices")
        if not choices:
            return
        choice = choices[0]
        part = choice.get("delta")
        if part is None:
            text = choice.get("text")
        else:
            text = part.get("content")
            reasoning = part.get("reasoning") or part.get("reasoning_content")
            if reasoning:
                delta.reasoning.append(reasoning)
            if calls := part.get("tool_calls"):
                delta.calls += calls
        if text:
            delta.content.append(text)
        if ids := choice.get("token_ids"):
            delta.token_ids += ids
        self.chunks += 1
        if reason := choice.get("finish_reason"):
            self.finish_reason = delta.finish_reason = reason
