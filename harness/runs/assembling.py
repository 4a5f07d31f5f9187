"""A stream of server-sent events read as it comes: what each piece adds to the answer. Pure.

Nothing of the answer is kept here, however long it gets. Both APIs and both names of the reasoning
are read; calls are told apart by their index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

DONE = b"[DONE]"
MOST_BYTES = 8 << 20  # of one event: a longer one is no stream of tokens
OTHER_FIELDS = (b":", b"event:", b"id:", b"retry:")  # a comment, and what says nothing here
REASONS = ("stop", "length", "tool_calls", "function_call", "content_filter")  # of whole answers
HIDDEN = b"***"
SHOWN = 200  # bytes of what is no answer, in a message


class MalformedError(Exception):
    """What came is not the API's answer; the message shows a part of it."""


class ToldError(Exception):
    """The server says in the stream that it has failed."""


class Stream:
    """One answer as it comes, of one choice."""

    __slots__ = ("_data", "_rest", "_secret", "chunks", "done", "finish_reason", "stray", "usage")

    def __init__(self, secret: bytes = b"") -> None:
        """`secret`: the key, which a server may echo; nothing that is handed on holds it."""
        self._rest, self._secret = b"", secret
        self._data: list[bytes] = []
        self.chunks = 0  # that brought something of the answer
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self.done = False  # [DONE] came
        self.stray = b""  # the first line that belongs to no stream of events

    def feed(self, data: bytes) -> dict[str, Any]:
        """What `data` adds: content, reasoning, token_ids, calls, finish_reason, those that came.

        Nothing, once [DONE] has come. Raises MalformedError, ToldError.
        """
        found: dict[str, Any] = {}
        whole = data.startswith(b"data: ") and data.find(b"\n\n") == len(data) - 2
        if whole and not self._rest and not self._data:  # one event: most pieces are
            self._event(data[6:-2], found)
            return found
        lines = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MOST_BYTES:
            raise MalformedError(f"an event of more than {MOST_BYTES:,} bytes: {self._rest[:80]!r}")
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].strip())
                if self._data == [DONE]:  # the empty line behind it may never come
                    self.done = True
            elif not line.strip():
                if self._data:
                    self._event(b"\n".join(self._data), found)
                    self._data.clear()
            elif not line.startswith(OTHER_FIELDS):
                self.stray = self.stray or hidden(line, self._secret)[:SHOWN]
        return found

    def missing(self, *, ends_with_done: bool) -> str | None:
        """Why what came is no whole answer; None: it is one."""
        if self.finish_reason not in (None, *REASONS):
            return f"with finish_reason {self.finish_reason!r}, which ends no answer"
        if self.done:
            return None if self.finish_reason is not None else "without finish_reason"
        if self._rest.strip() or self._data:
            return "cut in the middle of an event"
        if self.finish_reason is None:
            return "without finish_reason"
        return "without [DONE]" if ends_with_done else None

    def stranger(self) -> bytes | None:
        """What came in place of a stream of events; None: events did, or nothing at all."""
        if self.chunks or self.done or self._data:
            return None
        return self.stray or hidden(self._rest, self._secret)[:SHOWN] or None

    def _event(self, data: bytes, found: dict[str, Any]) -> None:
        if self.done:
            return
        if data == DONE:
            self.done = True
            return
        if self._secret and self._secret in data:
            data = hidden(data, self._secret)
        try:
            chunk: Any = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise MalformedError(f"an event that is no JSON: {data[:SHOWN]!r}") from error
        try:
            self._add(chunk, found)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise MalformedError(
                f"an event that is no part of an answer: {data[:SHOWN]!r}"
            ) from error

    def _add(self, chunk: dict[str, Any], found: dict[str, Any]) -> None:
        if "error" in chunk:
            raise ToldError(f"an error for an answer: {chunk['error']!r}"[:SHOWN])
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
                found["reasoning"] = found.get("reasoning", "") + reasoning
            if calls := part.get("tool_calls"):
                found["calls"] = [*found.get("calls", ()), *map(dict, calls)]
        if text:
            found["content"] = found.get("content", "") + text
        if ids := choice.get("token_ids"):
            found["token_ids"] = found.get("token_ids", []) + [int(token) for token in ids]
        self.chunks += 1
        if reason := choice.get("finish_reason"):
            self.finish_reason = found["finish_reason"] = "" + reason


def hidden(content: bytes, secret: bytes) -> bytes:
    """`content` without the key; to be hidden before it is shortened."""
    return content.replace(secret, HIDDEN) if secret else content
