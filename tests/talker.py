"""A server that renders chats and answers them, a word a token, for faults that no healthy engine
shows: stop strings that are ignored, streams that lose text, reasons that are wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.building import answer

Body = Mapping[str, Any]
WORDS = 12  # of an answer
CALL = {"name": "find", "arguments": '{"key": "a"}'}


@dataclass(slots=True, kw_only=True)
class Talker:
    """Healthy as it stands; each field is one fault."""

    keeps_stop: bool = False  # the stop string stands in the answer
    half_stop: bool = False  # a stream gives the beginning of the stop string before it stops
    ignores_stop: bool = False
    eats_before_stop: bool = False
    stop_reason: str = "stop"  # given at a stop string
    ignores_limit: bool = False
    cut_reason: str = "length"
    call_reason: str = "tool_calls"
    loses_first_chunk: bool = False
    streams_no_call: bool = False
    streams_other_ids: bool = False
    calls_long: bool = False  # beyond any limit: unstreamed, nothing is called
    stream_reason: str | None = None  # None: as unstreamed
    stream_count: int = 0  # tokens more, in a stream's usage
    ends_stream: bool = True  # with [DONE]
    flips: random.Random | None = None  # another word in one answer of three, as at a near tie
    ids: bool = False  # every call has a new id
    spaced: bool = False  # arguments of a stream have other white space
    refuses: str | None = None  # chats that hold this text
    takes_tools: bool = True  # unless they are not to be called, as vLLM without a parser
    renders: int = 0  # tokens more
    asked: list[Body] = field(default_factory=list[Body])

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length", 0))
        body: Body = json.loads(handler.rfile.read(length))
        self.asked.append(body)
        if self.refuses is not None and self.refuses in json.dumps(body):
            answer(handler, 400, b"no such content")
        elif handler.path == "/tokenize":
            given = body.get("prompt", body.get("messages"))
            answer(handler, 200, json.dumps({"tokens": tokens(given, self.renders)}).encode())
        elif body.get("tools") and not self.takes_tools and body.get("tool_choice") != "none":
            answer(handler, 400, b"no tools here")
        else:
            answer(handler, 200, self._answer(body))

    def _answer(self, body: Body) -> bytes:
        streams = bool(body.get("stream"))
        text, calls, count, reason = self._said(body, streams)
        usage = {
            "prompt_tokens": len(tokens(body["messages"], 0)),
            "completion_tokens": count + self.stream_count * streams,
        }
        if not streams:
            message = {"role": "assistant", "content": text, "tool_calls": calls}
            choice = {"index": 0, "message": message, "finish_reason": reason}
            return json.dumps({"choices": [choice], "usage": usage}).encode()
        chunks = [text[i : i + 7] for i in range(0, len(text), 7)][self.loses_first_chunk :]
        deltas: list[dict[str, Any]] = [{"content": chunk} for chunk in chunks]
        if calls and not self.streams_no_call:
            deltas.append({"tool_calls": [{"index": 0, **calls[0]}]})
        events: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": d}]} for d in deltas]
        end = {"index": 0, "delta": {}, "finish_reason": self.stream_reason or reason}
        events += [{"choices": [end]}, {"choices": [], "usage": usage}]
        lines = [f"data: {json.dumps(event)}\n\n" for event in events]
        return "".join([*lines, "data: [DONE]\n\n" if self.ends_stream else ""]).encode()

    def _said(self, body: Body, streams: bool) -> tuple[str, list[dict[str, Any]], int, str]:
        """Text, calls, tokens, finish reason."""
        limit = body.get("max_tokens", WORDS)
        if body.get("tools") and limit >= WORDS:
            arguments = CALL["arguments"].replace(" ", "" if self.spaced and streams else " ")
            name = f"call-{len(self.asked)}" if self.ids else "functions.find:0"
            name = "functions.find:1" if self.streams_other_ids and streams else name
            function = {**CALL, "arguments": arguments}
            calls = [{"id": name, "type": "function", "function": function}]
            if self.calls_long:
                return "", calls if streams else [], limit, "length"
            return "", calls, WORDS, self.call_reason
        rng = random.Random(json.dumps(body["messages"]))
        words = ["".join(rng.choices("abcdefghij", k=6)) for _ in range(WORDS)]
        if self.flips is not None and self.flips.random() < 1 / 3:
            words[4:] = ["another"] * (WORDS - 4)
        cut = words if self.ignores_limit else words[:limit]
        text = " ".join(cut)
        for string in [] if self.ignores_stop else body.get("stop", []):
            if string in text:
                before = text[: text.index(string)]
                kept = string if self.keeps_stop else string[:2] if self.half_stop else ""
                before = before[:-8] if self.eats_before_stop else before
                return before + kept, [], before.count(" ") + 1, self.stop_reason
        return text, [], len(cut), "stop" if len(cut) == WORDS else self.cut_reason


def tokens(prompt: str | Sequence[Mapping[str, Any]], more: int) -> list[int]:
    """A token a character of the prompt's JSON, modulo 30."""
    return [ord(character) % 30 for character in json.dumps(prompt)] + [1] * more
