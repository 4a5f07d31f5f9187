"""A stream of server-sent events read as it comes: what each piece adds to the answer. Pure.

Of the answer nothing is kept here but an event that has not ended. Both APIs and both names of the
reasoning are read; calls are told apart by their index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from harness.runs.hiding import hidden, loads

DONE = b"[DONE]"
MOST_BYTES = 8 << 20  # of one event: a longer one is no stream of tokens
OTHER_FIELDS = (b":", b"event:", b"id:", b"retry:")  # a comment, and what says nothing here
REFUSALS = (400, 422)  # of HTTP; vLLM begins with 200, and may then find the request wrong
REASONS = ("stop", "length", "tool_calls", "function_call", "content_filter")  # of whole answers
BOM = b"\xef\xbb\xbf"
SHOWN = 200  # bytes of what is no answer, in a message


class MalformedError(Exception):
    """What came is not the API's answer; the message shows a part of it."""


class ToldError(Exception):
    """The server says in the stream that it has failed, or that it refuses what it was asked."""

    def __init__(self, why: str, *, refused: bool) -> None:
        super().__init__(why)
        self.refused = refused


class Stream:
    """One answer as it comes, of one choice."""

    __slots__ = (
        "_data",
        "_held",
        "_more",
        "_rest",
        "_secret",
        "chunks",
        "done",
        "finish_reason",
        "stray",
        "usage",
    )

    def __init__(self, secret: str = "", *, more: bool = False) -> None:
        """`secret`: the key, which a server may echo; nothing that is handed on holds it. `more`:
        logprobs are handed on too, and how many choices there are, where there is more than one."""
        self._more = more
        self._rest: list[bytes] = []  # of a line that has not ended
        self._data: list[bytes] = []  # of an event that has not ended
        self._held = 0  # bytes of both
        self._secret = secret
        self.chunks = 0  # that brought something of the answer
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self.done = False  # [DONE] came
        self.stray = b""  # the first line that belongs to no stream of events

    def feed(self, data: bytes) -> dict[str, Any]:
        """What `data` adds: content, reasoning, refusal, token_ids, calls, finish_reason.

        Those that came; `half`: its last token ids brought no text; `bare`: some text had no token
        ids; `done`: [DONE] came, and nothing is added any more. Raises MalformedError, ToldError.
        """
        found: dict[str, Any] = {}
        whole = data.startswith(b"data: ") and data.find(b"\n") == len(data) - 2
        if whole and data.endswith(b"\n\n") and not self._held:  # one event: most pieces are
            self._event(data[6:-2], found)
            return found
        self._rest.append(data)
        self._held += len(data)
        if b"\n" in data:
            self._lines(b"".join(self._rest).split(b"\n"), found)
        if self._held > MOST_BYTES:
            came = hidden(b"".join((*self._data, *self._rest)), self._secret)
            raise MalformedError(f"an event of more than {MOST_BYTES:,} bytes: {came[:80]!r}")
        return found

    def _lines(self, lines: list[bytes], found: dict[str, Any]) -> None:
        self._rest = [lines.pop()]
        for line in lines:
            if not self.chunks and not self._data:
                line = line.removeprefix(BOM)
            if line.startswith(b"data:"):
                self._data.append(line[5:].strip())
                if self._data == [DONE]:  # the empty line behind it may never come
                    self._event(DONE, found)
            elif not line.strip():
                if self._data:
                    self._event(b"\n".join(self._data), found)
                    self._data.clear()
            elif not line.startswith(OTHER_FIELDS):
                self.stray = self.stray or hidden(line, self._secret)[:SHOWN]
        self._held = len(self._rest[0]) + sum(map(len, self._data))

    def end(self) -> dict[str, Any]:
        """What is added when no more comes: nothing."""
        return {}

    def missing(self, *, ends_with_done: bool) -> str | None:
        """Why what came is no whole answer; None: it is one."""
        if self.finish_reason not in (None, *REASONS):
            return f"with finish_reason {self.finish_reason!r}, which ends no answer"
        if self.done:
            return None if self.finish_reason is not None else "without finish_reason"
        if b"".join(self._rest).strip() or self._data:
            return "cut in the middle of an event"
        if self.finish_reason is None:
            return "without finish_reason"
        return "without [DONE]" if ends_with_done else None

    def stranger(self) -> bytes | None:
        """What came in place of a stream of events; None: events did, or nothing at all."""
        if self.chunks or self.done or self._data:
            return None
        return self.stray or hidden(b"".join(self._rest), self._secret)[:SHOWN] or None

    def _event(self, data: bytes, found: dict[str, Any]) -> None:
        data = data.strip()
        if self.done or not data:
            return
        if data == DONE:
            self.done = found["done"] = True
            return
        try:
            self._add(loads(data, self._secret), found)
        except orjson.JSONDecodeError as error:
            raise MalformedError(f"an event that is no JSON: {self._shown(data)}") from error
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            shown = self._shown(data)
            raise MalformedError(f"an event that is no part of an answer: {shown}") from error

    def _add(self, chunk: dict[str, Any], found: dict[str, Any]) -> None:
        """Raises one of the errors above where it is not of the API's form."""
        if error := chunk.get("error"):
            said = hidden(str(error).encode(), self._secret).decode(errors="replace")
            code = error.get("code") if isinstance(error, dict) else None
            why = f"an error for an answer: {said}"[:SHOWN]
            raise ToldError(why, refused=code in REFUSALS)
        usage = chunk.get("usage")
        self.usage = usage if isinstance(usage, dict) else self.usage
        choices = chunk.get("choices")
        if not choices:
            return
        choice = choices[0]
        if choice.get("index", 0) not in (0, None):
            if not self._more:
                raise ValueError("another choice than the one that was asked for")
            found["choices"] = max(found.get("choices", 0), choice["index"] + 1)
            return
        if self._more and (logprobs := choice.get("logprobs")):
            found["logprobs"] = found.get("logprobs", []) + list(logprobs["content"] or ())
        ids = choice.get("token_ids")
        part = choice.get("delta")
        if part is None:
            if "message" in choice:
                raise ValueError("a whole answer in a stream")
            text = choice.get("text")
            if text and not ids:
                found["bare"] = True
        else:
            text = part.get("content")
            self._text("reasoning", part.get("reasoning") or part.get("reasoning_content"), found)
            self._text("refusal", part.get("refusal"), found)
            if calls := part.get("tool_calls"):
                found["calls"] = [*found.get("calls", ()), *map(call, calls)]
        self._text("content", text, found)
        if ids:
            found["token_ids"] = found.get("token_ids", []) + [_token(token) for token in ids]
            if text:
                found.pop("half", None)
            else:
                found["half"] = True
        self.chunks += 1
        if reason := choice.get("finish_reason"):
            self.finish_reason = found["finish_reason"] = "" + reason

    def _text(self, name: str, text: str | None, found: dict[str, Any]) -> None:
        if text:
            found[name] = found.get(name, "") + text

    def _shown(self, data: bytes) -> str:
        return repr(hidden(data, self._secret)[:SHOWN])


def _token(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(f"{value!r} is no token id")
    return value


def call(piece: Any) -> dict[str, Any]:
    """A piece of a tool call as it is kept; its index tells which."""
    index, function = piece.get("index"), piece.get("function") or {}
    texts = {"name": function.get("name"), "arguments": function.get("arguments")}
    for text in (piece.get("id"), *texts.values()):
        if text is not None and type(text) is not str:
            raise TypeError(f"{text!r} is no text")
    if index is not None and type(index) is not int:
        raise TypeError(f"{index!r} is no index")
    return {"index": index or 0, "id": piece.get("id"), "function": texts}
