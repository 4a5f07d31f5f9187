"""A small OpenAI-compatible server on a real socket, for what no healthy engine here can show:
logprobs that are ignored, lists that are not there, limits, keys, rate limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.building import answer

Body = Mapping[str, Any]


def words(body: Body) -> int:
    """Prompt tokens: a word of the messages each, and ten for tools."""
    text = " ".join(str(message.get("content")) for message in body["messages"])
    return len(text.split()) + (10 if body.get("tools") else 0)


@dataclass(slots=True, kw_only=True)
class Vendor:
    """Serves chats, and completions where `completes`. What it was asked is in `asked`."""

    models: tuple[str, ...] | None = ("vendor-1",)  # None: GET /v1/models is 404
    completes: bool = False
    count: Callable[[Body], int] | None = words  # None: no usage in an answer
    logprobs: int | None = None  # the most alternatives; None: the fields are ignored
    refuses_more: bool = True  # answers 400 to more alternatives, or gives fewer
    seeds: bool = False
    strict: bool = False  # refuses fields that the API does not have
    key: str | None = None
    special: Callable[[str, int], tuple[int, bytes, Mapping[str, str]] | None] = (
        lambda path, number: None  # noqa: ARG005
    )
    asked: list[tuple[str, Body]] = field(default_factory=list)

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length", 0))
        body: Body = json.loads(handler.rfile.read(length)) if length else {}
        self.asked.append((handler.path, body))
        odd = self.special(handler.path, len(self.asked))
        if odd is not None:
            status, content, headers = odd
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("content-length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
            return
        given = handler.headers.get("authorization", "")
        if self.key is not None and given != f"Bearer {self.key}":
            answer(handler, 401, f"bad key: {given}".encode())
            return
        answer(handler, *self._answer(handler.path, body))

    def _answer(self, path: str, body: Body) -> tuple[int, bytes]:
        if path == "/v1/models" and self.models is not None:
            return 200, json.dumps({"data": [{"id": name} for name in self.models]}).encode()
        if path == "/v1/chat/completions":
            return self._chat(body)
        if path == "/v1/completions" and self.completes:
            return 200, json.dumps(self._whole({"text": " b", "logprobs": None}, 3)).encode()
        return 404, b"<html><h1>Not Found</h1></html>"

    def _chat(self, body: Body) -> tuple[int, bytes]:
        wanted = body.get("top_logprobs", 0)
        if self.logprobs is not None and self.refuses_more and wanted > self.logprobs:
            return 400, f"top_logprobs must be at most {self.logprobs}".encode()
        if self.strict and "chat_template_kwargs" in body:
            return 400, b"unknown field chat_template_kwargs"
        said = f"text {body.get('seed') if self.seeds else len(self.asked)}"
        choice: dict[str, Any] = {"message": {"role": "assistant", "content": said}}
        if wanted and self.logprobs is not None:
            places = [{"token": str(i), "logprob": -i} for i in range(min(wanted, self.logprobs))]
            choice["logprobs"] = {"content": [{"token": "0", "top_logprobs": places}]}
        whole = self._whole(choice, None if self.count is None else self.count(body))
        if body.get("stream"):
            whole["choices"][0]["delta"] = whole["choices"][0].pop("message")
            return 200, f"data: {json.dumps(whole)}\n\ndata: [DONE]\n\n".encode()
        return 200, json.dumps(whole).encode()

    def _whole(self, choice: dict[str, Any], count: int | None) -> dict[str, Any]:
        usage = {} if count is None else {"usage": {"prompt_tokens": count}}
        return {"model": "vendor-1-v2", "choices": [{**choice, "finish_reason": "length"}], **usage}
