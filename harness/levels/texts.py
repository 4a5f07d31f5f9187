"""Texts asked of an endpoint: the same prompt as the reference had, or none.

A prompt that is refused, or whose answer is none, gives the reason; a server that fails raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.base.case import Chat
from harness.base.errors import RequestError
from harness.checker.blackbox import canonical
from harness.client import in_parallel
from harness.levels import askable
from harness.levels.state import Check
from harness.recording import Recorded
from harness.samples import CANDIDATE_ANSWERS
from launchers import openai_api
from launchers.dialect import Request, Tokens
from launchers.openai_api import Answered, Choice

AT_ONCE = 4  # somebody else's server has a rate limit
WHOLE = ("stop", "length")  # any other reason to finish is that of no answer
NO_API = "the engine has no API of texts"
UNSHOWN = "an answer was cut at its length, and none of it is shown: thinking may be hidden"
NO_THINKING = "no thinking comes with the answers of chats that think"

Told = tuple[str, ...] | str  # canonical texts; or why there are none


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAsker:
    """One prompt, ready to be asked with whatever fields."""

    recorded: Recorded
    model: str
    given: Tokens | str | Mapping[str, Any]  # a body: through the chat API

    @property
    def hides(self) -> bool:
        """Whether thinking belongs to the answer that the API may leave out."""
        prompt = self.recorded.case.prompt
        through_chat = isinstance(self.given, Mapping)
        return through_chat and isinstance(prompt, Chat) and prompt.thinking is not False

    def request(self, fields: Mapping[str, Any]) -> Request:
        if isinstance(self.given, Mapping):
            return openai_api.chat(self.given, fields)
        return openai_api.completion(self.model, self.given, fields)


def asker(check: Check, recorded: Recorded) -> TextAsker | str:
    """How the endpoint can be given this prompt, or why it cannot."""
    dialect, prompt = check.asker.dialect, recorded.case.prompt
    body = dialect.chat(prompt if isinstance(prompt, Chat) else _HELLO)
    if body is None:
        return NO_API
    tokens = recorded.token_ids[: recorded.prompt_tokens]
    if not askable.missing(check, "completions", "token_id_prompts"):
        return TextAsker(recorded=recorded, model=dialect.model, given=tokens)
    if isinstance(prompt, str):
        lacking, given = askable.missing(check, "completions"), prompt
    else:
        switch = () if prompt.thinking is None else ("thinking",)
        lacking, given = askable.missing(check, "chat", *switch), body
    if lacking:
        return lacking[0].removeprefix("cannot be asked: ")
    return TextAsker(recorded=recorded, model=dialect.model, given=given)


_HELLO = Chat(messages=({"role": "user", "content": "Hello"},), tools=None, thinking=None)


def told(
    check: Check,
    askers: Sequence[TextAsker],
    greedy: Mapping[str, Any],
    sampled: Mapping[str, Any],
) -> tuple[list[Told], list[Told]]:
    """One greedy text and CANDIDATE_ANSWERS sampled ones of each prompt, `fields` as they are sent.

    Adds to the check's tokens. Raises RequestError where the server fails.
    """
    endpoint = _Texts(check)
    once = in_parallel(lambda ask: endpoint.of(ask, greedy, 1), askers, AT_ONCE)
    check.announce(f"black box: {CANDIDATE_ANSWERS} answers to each of {len(askers)} prompts")
    often = in_parallel(lambda ask: endpoint.of(ask, sampled, CANDIDATE_ANSWERS), askers, AT_ONCE)
    check.tokens += sum(one.tokens for one in (*once, *often))
    return _shown(askers, once), _shown(askers, often)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """The answers to one prompt."""

    choices: tuple[Choice, ...] | str  # or why there are none
    tokens: int  # that it took


def _shown(askers: Sequence[TextAsker], heard: Sequence[_Heard]) -> list[Told]:
    """Thinking that is asked for and never comes is hidden: what comes instead is another text."""
    thinking = [one.choices for ask, one in zip(askers, heard, strict=True) if ask.hides]
    shown = any(c.reasoning for choices in thinking if isinstance(choices, tuple) for c in choices)
    return [
        NO_THINKING
        if ask.hides and not shown
        else one.choices
        if isinstance(one.choices, str)
        else tuple(canonical(choice.reasoning + choice.content) for choice in one.choices)
        for ask, one in zip(askers, heard, strict=True)
    ]


class _Texts:
    """One endpoint; remembers when it refuses several answers at once. Thread-safe."""

    def __init__(self, check: Check) -> None:
        self._endpoint = check.asker.endpoint
        self._several = True

    def of(self, ask: TextAsker, fields: Mapping[str, Any], count: int) -> _Heard:
        """`count` answers: in one request, or in as many as it takes."""
        choices: list[Choice] = []
        tokens = 0
        while len(choices) < count:
            wanted = count - len(choices) if self._several else 1
            answer = self._answer(ask, {**fields, "n": wanted} if wanted > 1 else fields)
            if isinstance(answer, str) and wanted > 1:
                self._several = False  # whether it is `n` that it refuses shows now
                continue
            if isinstance(answer, str):
                return _Heard(choices=answer, tokens=tokens)
            tokens += _tokens(ask, answer, fields)
            why = _unusable(ask, answer)
            if why is not None:
                return _Heard(choices=why, tokens=tokens)
            if len(answer.choices) < wanted:
                self._several = False
            choices += answer.choices
        return _Heard(choices=tuple(choices[:count]), tokens=tokens)

    def _answer(self, ask: TextAsker, fields: Mapping[str, Any]) -> Answered | str:
        """What came; a refusal gives the reason. RequestError for anything else."""
        request = ask.request(fields)
        reply = self._endpoint.ask(request)
        if reply.status is not None and 400 <= reply.status < 500 and reply.status != 429:
            said = " ".join(reply.body.decode(errors="replace").split())
            return f"{reply.status}: {said[:160]}"
        if reply.status != 200:
            what = reply.problem or f"answered {reply.status}"
            raise RequestError(f"{self._endpoint.url}{request.path}: {what}")
        return openai_api.answered(reply.body)


def _tokens(ask: TextAsker, answer: Answered, fields: Mapping[str, Any]) -> int:
    """As the server counts them, or as many as there may be."""
    prompt, new = answer.prompt_tokens, answer.completion_tokens
    if prompt is None or new is None:
        return ask.recorded.prompt_tokens + len(answer.choices) * int(fields["max_tokens"])
    return prompt + new


def _unusable(ask: TextAsker, answer: Answered) -> str | None:
    """Why this cannot be compared; None where it can."""
    for choice in answer.choices:
        if choice.finish_reason not in WHOLE:
            return f"an answer ended with finish_reason {choice.finish_reason!r}"
        if choice.finish_reason == "length" and not canonical(choice.reasoning + choice.content):
            return UNSHOWN
    counted, own = answer.prompt_tokens, ask.recorded.prompt_tokens
    if counted is not None and counted not in (own, own * len(answer.choices)):
        return "the prompt is counted as another number of tokens than the reference's"
    return None
