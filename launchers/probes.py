"""What the OpenAI API of an endpoint offers: chats, logprobs, seeds, tools, streams.

Each probe is one to four small requests. A probe that needs chats where there are none asks
nothing, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from harness.base.errors import RequestError
from launchers.capabilities import Able, Capability
from launchers.dialect import Request
from launchers.openai import prompt_tokens
from launchers.openai_api import CHAT, COMPLETIONS
from launchers.prober import Prober, excerpt, judged, no, unknown

ALTERNATIVES = (20, 5, 2)  # of a position: vLLM's and OpenAI's limit, other vendors', the fewest
TOKENS = tuple(range(40, 48))  # ids that every vocabulary has
SEED_TOKENS = 24
SEEDS = (1, 1, 2, 2)
HELLO = "Hello"
LETTERS = "Write random letters, one after another, in no order:"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town, by its name and country",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
}


def chat_request(prober: Prober, more: Mapping[str, Any], text: str = HELLO) -> Request:
    messages = [{"role": "user", "content": text}]
    body = {"model": prober.model, "messages": messages, "max_tokens": 1, **more}
    return Request(path=CHAT, body=body)


def completion_request(prober: Prober, more: Mapping[str, Any]) -> Request:
    body = {"model": prober.model, "prompt": HELLO, "max_tokens": 1, **more}
    return Request(path=COMPLETIONS, body=body)


def answered(body: bytes) -> str:
    """A whole answer, and the model's name where it is said."""
    table = orjson.loads(body)
    if not table["choices"][0]["finish_reason"]:
        raise RequestError(f"the answer has no finish_reason: {excerpt(body)}")
    return f"answered as {table.get('model')!r}"


def best_logprobs(prober: Prober, *, chats: bool) -> Capability:
    """How many alternatives the answer's first token comes with; the most that is asked is 20."""

    def read(body: bytes) -> str:
        nonlocal most
        logprobs = orjson.loads(body)["choices"][0]["logprobs"]
        place = logprobs["content"][0]["top_logprobs"] if chats else logprobs["top_logprobs"][0]
        most = len(place)
        return f"with {most} of {count} alternatives"

    most = 0
    found = no("no number of alternatives was accepted")
    for count in ALTERNATIVES:
        if chats:
            request = chat_request(prober, {"logprobs": True, "top_logprobs": count})
        else:
            request = completion_request(prober, {"logprobs": count})
        found = prober(request, read)
        if found.able is not Able.NO or found.evidence.startswith("200"):
            break  # a smaller number helps only where a larger one was refused
    if not found.yes:
        return found
    return Capability(able=found.able, evidence=found.evidence, most=most)


def token_id_prompts(prober: Prober) -> Capability:
    def read(body: bytes) -> str:
        counted = prompt_tokens(body)
        if counted != len(TOKENS):
            raise RequestError(f"{len(TOKENS)} token ids were counted as {counted} tokens")
        return f"{counted} token ids are counted as {counted}"

    return prober(completion_request(prober, {"prompt": list(TOKENS)}), read)


def tools(prober: Prober) -> tuple[Capability, str | None]:
    """Whether a tool reaches the model, seen in the count of tokens; and the tool_choice to send.

    vLLM without a tool parser takes tools with tool_choice "none" alone.
    """
    plain = prober.reply(chat_request(prober, {}))
    without = judged(plain, lambda body: str(prompt_tokens(body)))

    def read(body: bytes) -> str:
        more = prompt_tokens(body) - prompt_tokens(plain.body)
        if more <= 0:
            raise RequestError("a tool adds no prompt token")
        return f"a tool adds {more} prompt tokens"

    def asked(tool_choice: str | None) -> Capability:
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        return prober(chat_request(prober, {"tools": [TOOL], **choice}), read)

    if not without.yes:
        return unknown(f"it shows in the count of tokens alone: {without.evidence}"), None
    found = asked(None)
    if found.able is Able.NO and not found.evidence.startswith("200"):
        other = asked("none")
        if other.yes:
            return other, "none"
    return found, None


def thinking(prober: Prober) -> Capability:
    """Whether the template's variable `thinking` is passed on, seen in the count of tokens."""
    counts: list[int] = []

    def read(body: bytes) -> str:
        counts.append(prompt_tokens(body))
        return f"{counts[-1]} prompt tokens"

    for value in (True, False):
        switch = {"chat_template_kwargs": {"thinking": value}}
        found = prober(chat_request(prober, switch), read)
        if not found.yes:
            return found
    on, off = counts
    if on == off:
        return unknown(f"200, {on} prompt tokens whether it is on or off")
    return Capability(able=Able.YES, evidence=f"200, {on} prompt tokens when on, {off} when off")


def streaming(prober: Prober) -> tuple[Capability, Capability]:
    """Whether an answer comes in chunks, and whether the last one carries its usage."""
    more = {"stream": True, "stream_options": {"include_usage": True}}
    reply = prober.reply(chat_request(prober, more))

    def chunks(body: bytes) -> list[Any]:
        lines = [line.removeprefix(b"data:").strip() for line in body.splitlines()]
        return [orjson.loads(line) for line in lines if line.startswith(b"{")]

    def streamed(body: bytes) -> str:
        if not body.lstrip().startswith((b"data:", b"event:", b":")):
            raise RequestError(f"no event stream came: {excerpt(body)}")
        return f"{len(chunks(body))} chunks"

    def counted(body: bytes) -> str:
        streamed(body)
        last = chunks(body)[-1]
        return f"{prompt_tokens(orjson.dumps(last))} prompt tokens in the last chunk"

    return judged(reply, streamed), judged(reply, counted)


def seed(prober: Prober, *, chats: bool) -> tuple[Capability, Capability]:
    """Two seeds twice each at T = 1; and whether an answer says what it was sampled with."""
    texts: list[str] = []
    echoes: list[str] = []

    def read(body: bytes) -> str:
        table = orjson.loads(body)
        texts.append(_text(table["choices"][0]))
        echoes[:] = sorted({"temperature", "top_p", "seed"} & set(table))
        return "a text"

    sampling = {"temperature": 1.0, "top_p": 1.0, "max_tokens": SEED_TOKENS}
    for value in SEEDS:
        body = {**sampling, "seed": value}
        request = (
            chat_request(prober, body, LETTERS)
            if chats
            else completion_request(prober, {**body, "prompt": LETTERS})
        )
        found = prober(request, read)
        if not found.yes:
            return found, found
    echo = (
        Capability(able=Able.YES, evidence=f"200, the answer holds {', '.join(echoes)}")
        if echoes
        else no("200, the answer holds neither temperature, top_p nor seed")
    )
    return _seeded(texts), echo


def _text(choice: Mapping[str, Any]) -> str:
    """What was generated, thinking included: a thinking model's first tokens are nothing else."""
    message: Mapping[str, Any] = choice.get("message") or {"content": choice["text"]}
    names = ("reasoning_content", "reasoning", "content")
    return "\n".join(str(message.get(name) or "") for name in names)


def _seeded(texts: list[str]) -> Capability:
    one, one_again, two, two_again = texts
    if not one.strip():
        return unknown("200, but the answers hold no text")
    if len(set(texts)) == 1:
        return unknown("200, one text four times: it may be deterministic whatever the seed")
    if one == one_again and two == two_again:
        evidence = "200, each of two seeds gave its own text twice"
        return Capability(able=Able.YES, evidence=evidence)
    return no("200, but one seed gave two texts")
