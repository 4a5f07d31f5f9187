"""Any server of the OpenAI API: its language, as plain as it can be asked.

Token ids, tokenising and prompt logprobs are no part of that API. They are asked for in the form
that vLLM gave them and other servers took over; whether a server has them is found out by
`probing`. Where it lacks `prompt_logprobs` but echoes a prompt with its logprobs, `echo` is used:
it names the alternatives by their text, which may stand for several ids, so they are left out.

Trade-off accepted: what vLLM's form lacks is told in vLLM's name ("vLLM gave no ...").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from harness.base.case import Chat
from harness.base.errors import RequestError
from harness.base.record import Generation, Scores
from launchers.dialect import Request, Sampling, Tokens
from launchers.openai_api import CHAT, COMPLETIONS
from launchers.pins import SamplingTable
from launchers.vllm import VllmDialect


class OpenAiDialect:
    """Requests and answers of an OpenAI-compatible server."""

    engine = "openai-compatible"
    sequences_per_request = 1
    ends_with_done = False

    def __init__(
        self, *, model: str, echo: bool, tool_choice: str | None, switches_thinking: bool
    ) -> None:
        """`echo`: scores are asked by echo. `tool_choice`: sent with tools; None: not sent.
        `switches_thinking`: chat_template_kwargs is sent; a server may refuse it."""
        self.model = model
        self.echo = echo
        self.tool_choice = tool_choice
        self.switches_thinking = switches_thinking
        self._extended = VllmDialect(model=model)

    def identity(self) -> None:
        """The API has no place for an engine and its version."""

    def identified(self, answer: bytes) -> dict[str, Any]:
        del answer
        return {"engine": self.engine, "model": self.model}

    def render(self, prompt: Chat | str) -> Request:
        return self._extended.render(prompt)

    def rendered(self, answer: bytes) -> Tokens:
        return self._extended.rendered(answer)

    def chat(self, chat: Chat) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": list(chat.messages)}
        if chat.tools is not None:
            body["tools"] = list(chat.tools)
            if self.tool_choice is not None:
                body["tool_choice"] = self.tool_choice
        if chat.thinking is not None and self.switches_thinking:
            body["chat_template_kwargs"] = {"thinking": chat.thinking}
        return body

    def sampling(self, table: SamplingTable) -> dict[str, Any]:
        """What OpenAI's API has: a vendor may refuse more."""
        return {
            "temperature": table.temperature,
            "top_p": table.top_p,
            "presence_penalty": table.presence_penalty,
            "frequency_penalty": table.frequency_penalty,
        }

    def usage(self, chat: Chat) -> Request:
        """No sampling parameter is sent: they count for nothing, and a vendor may refuse them."""
        return Request(path=CHAT, body={**self.chat(chat), "max_tokens": 1})

    def prompt_tokens(self, answer: bytes) -> int:
        return prompt_tokens(answer)

    def score(self, sequences: Sequence[Tokens], top_k: int) -> Request:
        if not self.echo:
            return self._extended.score(sequences, top_k)
        (tokens,) = sequences
        body = {"model": self.model, "prompt": list(tokens), "max_tokens": 1, "temperature": 0.0}
        return Request(path=COMPLETIONS, body={**body, "echo": True, "logprobs": 1})

    def scored(self, answer: bytes, sequences: Sequence[Tokens], top_k: int) -> list[Scores]:
        if not self.echo:
            return self._extended.scored(answer, sequences, top_k)
        (tokens,) = sequences
        return [_echoed(answer, tokens)]

    def generate(
        self,
        sequences: Sequence[Tokens],
        *,
        max_new_tokens: int,
        sampling: Sampling,
        seeds: Sequence[int] | None,
        top_k: int,
    ) -> Request:
        return self._extended.generate(
            sequences, max_new_tokens=max_new_tokens, sampling=sampling, seeds=seeds, top_k=top_k
        )

    def generated(self, answer: bytes, top_k: int) -> list[Generation]:
        return self._extended.generated(answer, top_k)


def prompt_tokens(answer: bytes) -> int:
    """`usage.prompt_tokens`; RequestError where it is not there, or is no count."""
    try:
        count = orjson.loads(answer)["usage"]["prompt_tokens"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise RequestError(f"there is no usage.prompt_tokens: {answer[:200]!r}") from error
    if not isinstance(count, int) or count < 1:
        raise RequestError(f"usage.prompt_tokens is {count!r}, which is no count")
    return count


def _echoed(answer: bytes, tokens: Tokens) -> Scores:
    """The prompt's own logprobs (T - 1,) and no alternatives; one generated token follows them."""
    counted = prompt_tokens(answer)
    if counted != len(tokens):
        raise RequestError(f"{counted} tokens were counted of a prompt of {len(tokens)} token ids")
    try:
        given = orjson.loads(answer)["choices"][0]["logprobs"]["token_logprobs"]
        logprobs = np.array(given[1 : len(tokens)], dtype=np.float64)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise RequestError(f"no logprobs came with the echo: {answer[:200]!r}") from error
    if len(given) - len(tokens) not in (0, 1) or given[0] is not None:
        raise RequestError(f"{len(given)} logprobs came for an echo of {len(tokens)} tokens")
    count = len(logprobs)
    return Scores(
        logprobs=logprobs,
        top_ids=np.zeros((count, 0), dtype=np.int32),
        top_logprobs=np.zeros((count, 0)),
    )
