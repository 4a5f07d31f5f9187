"""Finds out what an endpoint can do: MOST_REQUESTS small requests at most, see `prober`.

What the levels of a check need is asked in the dialect's own words, so whatever engine it is, and
whatever stands before it, the answer is about the very requests that a check will send.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from harness.base.case import Chat
from harness.base.errors import RequestError
from launchers import probes
from launchers.capabilities import Able, Capabilities, Capability
from launchers.dialect import Dialect, Reply
from launchers.openai import OpenAiDialect
from launchers.pins import OWN
from launchers.prober import Prober, judged, no, unknown
from launchers.probes import ALTERNATIVES, HELLO, TOKENS

T = TypeVar("T")
HELLO_CHAT = Chat(messages=({"role": "user", "content": HELLO},), tools=None, thinking=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The two replies that show whether anything of the OpenAI API is there."""

    chat: Reply
    completions: Reply

    @property
    def chats(self) -> Capability:
        return judged(self.chat, probes.answered)

    @property
    def completes(self) -> Capability:
        return judged(self.completions, probes.answered)


def first_asked(prober: Prober) -> Core:
    return Core(
        chat=prober.reply(probes.chat_request(prober, {})),
        completions=prober.reply(probes.completion_request(prober, {})),
    )


def probe(dialect: Dialect, core: Core, prober: Prober) -> tuple[Dialect, Capabilities]:
    """The capabilities, and the dialect made to fit them."""
    chat, text = core.chats, core.completes
    tools, tool_choice = _where(chat, lambda: probes.tools(prober), lambda absent: (absent, None))
    thinking = _where(chat, lambda: probes.thinking(prober), _once)
    if isinstance(dialect, OpenAiDialect):
        dialect = OpenAiDialect(
            model=dialect.model,
            echo=False,
            tool_choice=tool_choice,
            switches_thinking=thinking.able is not Able.NO,
        )
    dialect, score = _scoring(prober, dialect)
    streaming, stream_usage = _where(chat, lambda: probes.streaming(prober), _twice)
    sampled = text if text.yes else chat  # a continuation has more freedom than an answer
    seed, sampling_echo = _where(sampled, lambda: probes.seed(prober, chats=not text.yes), _twice)
    found = Capabilities(
        render_chat=_render(prober, dialect, HELLO_CHAT),
        render_text=_render(prober, dialect, HELLO),
        usage=_usage(prober, dialect),
        score=score,
        generate=_generate(prober, dialect),
        chat=chat,
        completions=text,
        chat_logprobs=_where(chat, lambda: probes.best_logprobs(prober, chats=True), _once),
        completion_logprobs=_where(text, lambda: probes.best_logprobs(prober, chats=False), _once),
        token_id_prompts=_where(text, lambda: probes.token_id_prompts(prober), _once),
        tools=tools,
        thinking=thinking,
        streaming=streaming,
        stream_usage=stream_usage,
        seed=seed,
        sampling_echo=sampling_echo,
        requests=0,
    )
    return dialect, replace(found, requests=prober.requests)


def _where(needed: Capability, ask: Callable[[], T], absent: Callable[[Capability], T]) -> T:
    """What `ask` finds; where what it needs is not there, that, without a request."""
    if needed.yes:
        return ask()
    reason = f"not asked, for the API that it belongs to is not there: {needed.evidence}"
    return absent(no(reason) if needed.able is Able.NO else unknown(reason))


def _once(absent: Capability) -> Capability:
    return absent


def _twice(absent: Capability) -> tuple[Capability, Capability]:
    return absent, absent


def _render(prober: Prober, dialect: Dialect, prompt: Chat | str) -> Capability:
    def read(body: bytes) -> str:
        tokens = dialect.rendered(body)
        if {type(token) for token in tokens} != {int}:
            raise RequestError(f"no token ids came: {tokens!r}")
        return f"{len(tokens)} token ids"

    return prober(dialect.render(prompt), read)


def _usage(prober: Prober, dialect: Dialect) -> Capability:
    request = dialect.usage(HELLO_CHAT)
    if request is None:
        return no("not asked: this engine has no chat API")
    return prober(request, lambda body: f"{dialect.prompt_tokens(body)} prompt tokens")


def _scoring(prober: Prober, dialect: Dialect) -> tuple[Dialect, Capability]:
    """How given tokens are scored: by the dialect's own way, or else by echo."""
    own = _with_alternatives(lambda count: _score(prober, dialect, count))
    if own.able is not Able.NO or not isinstance(dialect, OpenAiDialect):
        return dialect, own
    echoing = OpenAiDialect(
        model=dialect.model,
        echo=True,
        tool_choice=dialect.tool_choice,
        switches_thinking=dialect.switches_thinking,
    )
    echoed = _score(prober, echoing, 0)
    if not echoed.yes:
        evidence = f"prompt_logprobs: {own.evidence}; echo: {echoed.evidence}"
        return dialect, replace(echoed, evidence=evidence)
    return echoing, replace(echoed, evidence=f"{echoed.evidence}, by echo")


def _with_alternatives(ask: Callable[[int], Capability]) -> Capability:
    """The first answer that is no refusal; the most alternatives are asked for first."""
    found = ask(ALTERNATIVES[0])
    for count in ALTERNATIVES[1:]:
        if found.able is not Able.NO:
            break
        found = ask(count)
    return found


def _score(prober: Prober, dialect: Dialect, count: int) -> Capability:
    def read(body: bytes) -> str:
        (scores,) = dialect.scored(body, [TOKENS], count)
        return f"{len(scores.logprobs)} logprobs with {count} alternatives each"

    return _most(prober(dialect.score([TOKENS], count), read), count)


def _generate(prober: Prober, dialect: Dialect) -> Capability:
    def ask(count: int) -> Capability:
        def read(body: bytes) -> str:
            (generation,) = dialect.generated(body, count)
            return f"{len(generation.token_ids)} token ids with {count} alternatives each"

        request = dialect.generate([TOKENS], max_new_tokens=2, sampling=OWN, seeds=[0], top_k=count)
        return _most(prober(request, read), count)

    return _with_alternatives(ask)


def _most(found: Capability, count: int) -> Capability:
    return replace(found, most=count) if found.yes else found
