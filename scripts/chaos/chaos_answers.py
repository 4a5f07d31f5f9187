"""vLLM's API over the language of `chaos_model`: a request's body in, answers out. Pure.

Not served, and refused with 400: several choices, several prompts, `echo`, `stop`. Sampling
parameters are ignored: the next token is decided by the tokens before it alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaos_model import (
    END,
    HALVES,
    UNLIKELY,
    VOCABULARY,
    Context,
    Speech,
    digest,
    generated,
    named,
    tokenised,
)

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MAX_MODEL_LEN = 131_072
DEFAULT_TOKENS = 16  # of a completion that names no number
MOST_ALTERNATIVES = 20
CREATED = 1_750_000_000


class RefusedError(Exception):
    """400, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request for a generation."""

    chat: bool
    model: str
    prompt: Sequence[int]
    max_tokens: int
    stream: bool
    usage: bool  # in the stream
    token_ids: bool  # are given
    names_ids: bool  # alternatives are named token_id:N
    alternatives: int | None  # of each generated token; None: no logprobs
    prompt_alternatives: int | None
    thinking: bool


def asked(path: str, body: Mapping[str, Any], *, model: str, tool_parser: bool) -> Asked:
    """Raises RefusedError."""
    chat = path == CHAT
    _refuse_unserved(body)
    prompt = rendered(body, tool_parser=tool_parser) if chat else _given(body.get("prompt"))
    room = MAX_MODEL_LEN - len(prompt)
    if room < 1:
        raise RefusedError(f"maximum context length is {MAX_MODEL_LEN}; got {len(prompt)} tokens")
    most = body.get("max_completion_tokens") if chat else None
    most = most if most is not None else body.get("max_tokens")
    if most is None:
        most = room if chat else DEFAULT_TOKENS
    if not _whole_number(most) or most < 1:
        raise RefusedError(f"max_tokens must be at least 1, got {most!r}")
    counts = _alternatives(body, chat), body.get("prompt_logprobs")
    if any(count is not None and not 0 <= count <= MOST_ALTERNATIVES for count in counts):
        raise RefusedError(f"at most {MOST_ALTERNATIVES} logprobs can be asked for")
    return Asked(
        chat=chat,
        model=str(body.get("model") or model),
        prompt=prompt,
        max_tokens=min(most, room),
        stream=bool(body.get("stream")),
        usage=bool((body.get("stream_options") or {}).get("include_usage")),
        token_ids=bool(body.get("return_token_ids")),
        names_ids=bool(body.get("return_tokens_as_token_ids")),
        alternatives=counts[0],
        prompt_alternatives=counts[1],
        thinking=chat and _thinks(body),
    )


def rendered(body: Mapping[str, Any], *, tool_parser: bool = True) -> list[int]:
    """A chat through the template. Raises RefusedError."""
    messages, tools = body.get("messages"), body.get("tools")
    if not isinstance(messages, list) or not messages:
        raise RefusedError("messages: Field required")
    if tools and not tool_parser and body.get("tool_choice") != "none":
        raise RefusedError(
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
        )
    system = f"<|tools|>{json.dumps(tools, sort_keys=True)}\n" if tools else ""
    turns = "".join(_turn(message) for message in messages)
    return tokenised(f"{system}{turns}<|assistant|>{'<think>' if _thinks(body) else ''}")


def tokens_of(body: Mapping[str, Any]) -> list[int]:
    """What /tokenize is asked for. Raises RefusedError."""
    return rendered(body) if "messages" in body else _given(body.get("prompt"))


def checked(tokens: object) -> list[int]:
    """Token ids; RefusedError where there is anything else."""
    if not isinstance(tokens, list) or not tokens:
        raise RefusedError("a list of token ids is needed, and it must not be empty")
    for token in tokens:
        if not _whole_number(token) or not 0 <= token < VOCABULARY or END < token < HALVES.start:
            raise RefusedError(f"Token id {token!r} is out of vocabulary")
    return tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One server-sent event."""

    data: bytes
    tokens: int  # that it brings
    finish: bool  # it says why there are no more


def events(asked: Asked) -> list[Event]:
    """A stream without its [DONE]."""
    pieces = _pieces(asked)
    found = [_event(_chunk(asked, [_role()], first=True), 0)] if asked.chat else []
    for place, piece in enumerate(pieces):
        choice = _streamed(asked, piece, first=place == 0)
        found.append(_event(_chunk(asked, [choice], first=False), 1, finish=piece.reason))
    if asked.usage:
        found.append(_event({**_chunk(asked, [], first=False), "usage": _usage(asked, pieces)}, 0))
    return found


def whole(asked: Asked) -> tuple[dict[str, Any], int]:
    """An answer in one piece, and how many tokens it has."""
    pieces = _pieces(asked)
    tokens = [piece.token for piece in pieces]
    choice: dict[str, Any] = {
        "index": 0,
        **(_message(asked, pieces) if asked.chat else {"text": "".join(p.text for p in pieces)}),
        "logprobs": _logprobs(asked, pieces),
        "finish_reason": pieces[-1].reason,
        "stop_reason": None,
    }
    table = {**_frame(asked), "choices": [choice], "usage": _usage(asked, pieces)}
    if asked.token_ids:
        choice["token_ids"] = tokens
        (table if asked.chat else choice)["prompt_token_ids"] = list(asked.prompt)
    if asked.prompt_alternatives is not None:
        place = table if asked.chat else choice
        place["prompt_logprobs"] = _prompt_logprobs(asked.prompt, asked.prompt_alternatives)
    return table, len(tokens)


def encoded(table: Mapping[str, Any]) -> bytes:
    return json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """One generated token."""

    token: int
    text: str
    reason: str | None  # finish_reason
    reasons: bool  # it belongs to the reasoning
    ranked: Mapping[int, float]  # alternatives


def _pieces(asked: Asked) -> list[_Piece]:
    tokens, reason = generated(asked.prompt, asked.max_tokens)
    speech, context = Speech(asked.prompt), Context(asked.prompt)
    thought = len(tokens) // 3 if asked.thinking else 0
    pieces: list[_Piece] = []
    for place, token in enumerate(tokens):
        ranked = {} if asked.alternatives is None else context.ranked(max(1, asked.alternatives))
        if ranked:
            context.add(token)
        pieces.append(
            _Piece(
                token=token,
                text=speech.said(token),
                reason=reason if place == len(tokens) - 1 else None,
                reasons=place < thought,
                ranked=ranked,
            )
        )
    return pieces


def _streamed(asked: Asked, piece: _Piece, *, first: bool) -> dict[str, Any]:
    name = _reasoning(asked) if piece.reasons else "content"
    choice: dict[str, Any] = {
        "index": 0,
        **({"delta": {name: piece.text}} if asked.chat else {"text": piece.text}),
        "logprobs": _logprobs(asked, [piece]),
        "finish_reason": piece.reason,
        "stop_reason": None,
    }
    if asked.token_ids:
        choice["token_ids"] = [piece.token]
        if first and not asked.chat:
            choice["prompt_token_ids"] = list(asked.prompt)
    return choice


def _role() -> dict[str, Any]:
    delta = {"role": "assistant", "content": ""}
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}


def _chunk(asked: Asked, choices: list[dict[str, Any]], *, first: bool) -> dict[str, Any]:
    table = {**_frame(asked, streamed=True), "choices": choices}
    if first and asked.token_ids:
        table["prompt_token_ids"] = list(asked.prompt)
    return table


def _frame(asked: Asked, *, streamed: bool = False) -> dict[str, Any]:
    name = "chat.completion" if asked.chat else "text_completion"
    return {
        "id": f"{'chatcmpl' if asked.chat else 'cmpl'}-{digest(asked.prompt)}",
        "object": f"{name}.chunk" if streamed and asked.chat else name,
        "created": CREATED,
        "model": asked.model,
    }


def _event(table: Mapping[str, Any], tokens: int, *, finish: str | None = None) -> Event:
    data = b"data: " + encoded(table) + b"\n\n"
    return Event(data=data, tokens=tokens, finish=finish is not None)


def _message(asked: Asked, pieces: Sequence[_Piece]) -> dict[str, Any]:
    thought = "".join(piece.text for piece in pieces if piece.reasons)
    content = "".join(piece.text for piece in pieces if not piece.reasons)
    message = {"role": "assistant", "content": content, "tool_calls": []}
    return {"message": {**message, _reasoning(asked): thought} if asked.thinking else message}


def _reasoning(asked: Asked) -> str:
    """Both names are in use; which one is decided by the prompt."""
    return "reasoning" if int(digest(asked.prompt), 16) % 2 else "reasoning_content"


def _usage(asked: Asked, pieces: Sequence[_Piece]) -> dict[str, Any]:
    prompt, completion = len(asked.prompt), len(pieces)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def _logprobs(asked: Asked, pieces: Sequence[_Piece]) -> dict[str, Any] | None:
    if asked.alternatives is None:
        return None

    def name(token: int) -> str:
        return f"token_id:{token}" if asked.names_ids else named(token)

    if asked.chat:
        return {"content": [_place(piece, asked.alternatives, name) for piece in pieces]}
    return {
        "tokens": [name(piece.token) for piece in pieces],
        "token_logprobs": [piece.ranked[piece.token] for piece in pieces],
        "top_logprobs": [{name(t): lp for t, lp in piece.ranked.items()} for piece in pieces],
        "text_offset": [0 for _ in pieces],
    }


def _place(piece: _Piece, count: int, name: Callable[[int], str]) -> dict[str, Any]:
    def entry(token: int) -> dict[str, Any]:
        text = name(token)
        return {
            "token": text,
            "logprob": piece.ranked[token],
            "bytes": list(text.encode()),
        }

    return {**entry(piece.token), "top_logprobs": [entry(t) for t in list(piece.ranked)[:count]]}


def _prompt_logprobs(prompt: Sequence[int], count: int) -> list[dict[str, Any] | None]:
    """A table of the alternatives and the token itself for each position but the first."""
    found: list[dict[str, Any] | None] = [None]
    context = Context(prompt[:1])
    for token in prompt[1:]:
        ranked = dict.fromkeys([token], UNLIKELY) | context.ranked(count)
        ranks = {given: rank for rank, given in enumerate(context.ranked(count), 1)}
        found.append(
            {
                str(given): {
                    "logprob": logprob,
                    "rank": ranks.get(given, VOCABULARY),
                    "decoded_token": named(given),
                }
                for given, logprob in ranked.items()
            }
        )
        context.add(token)
    return found


def _alternatives(body: Mapping[str, Any], chat: bool) -> int | None:
    given = body.get("logprobs")
    if not chat:
        return given
    return int(body.get("top_logprobs") or 0) if given else None


def _given(prompt: object) -> list[int]:
    if isinstance(prompt, str):
        return checked(tokenised(prompt))
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], (list, str)):
        if len(prompt) > 1:
            raise RefusedError(f"one prompt a request, got {len(prompt)}")
        return _given(prompt[0])
    return checked(prompt)


def _turn(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content)
    rest = {name: message[name] for name in sorted(message) if name not in ("role", "content")}
    return f"<|{message.get('role')}|>{content or ''}{json.dumps(rest) if rest else ''}\n"


def _thinks(body: Mapping[str, Any]) -> bool:
    return bool((body.get("chat_template_kwargs") or {}).get("thinking"))


def _whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refuse_unserved(body: Mapping[str, Any]) -> None:
    for name, served in (("n", (None, 1)), ("echo", (None, False)), ("stop", (None, [], ""))):
        if body.get(name) not in served:
            raise RefusedError(f"{name}={body[name]!r} is not supported")
