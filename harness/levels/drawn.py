"""One-token answers drawn after recorded prefixes: texts alone, of completions or of chats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.base.case import Chat
from harness.base.errors import RequestError
from harness.checker.sampling import Counts, Prefixes
from harness.checker.sampling_prefixes import Candidates, Chosen
from harness.client import in_parallel
from harness.levels.state import Check
from harness.recording import Token
from launchers import openai_api
from launchers.dialect import Request, Tokens

AT_ONCE = 64  # answers in flight: an engine may end for want of slots (KTransformers 0.7.2 at 256)
REFUSED = range(400, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prefix, and what its cells are called."""

    ask: Callable[[Mapping[str, Any]], Request]  # fields of the request -> the request
    length: int  # tokens
    cells: Mapping[str, int]  # text -> column
    draws: int  # answers asked for


class Drawing:
    """Draws round by round, and counts. `counts` is (P, k + 1), the last column the rest."""

    def __init__(
        self, check: Check, found: Candidates, chosen: Chosen, *, chats: bool, as_text: bool
    ) -> None:
        """`chats`: the prefixes are whole chats. `as_text`: others are sent as texts."""
        self.prefixes: Prefixes = found.prefixes.take(chosen.places)
        self.counts: Counts = np.zeros((len(chosen.places), check.top_k + 1), dtype=np.int64)
        self.texts: list[set[str]] = [set() for _ in chosen.places]  # that came, unlisted too
        self.tokens = 0
        self._check = check
        self._stripped = chats
        vocabulary = check.trace.vocabulary() if as_text else None
        self._questions = [
            Question(
                ask=_of_chat(check, int(found.rows[place]))
                if chats
                else _of_text(check, _prefix(check, found, place), vocabulary),
                length=int(found.lengths[place]),
                cells=_cells(check, found, place, stripped=chats),
                draws=int(draws),
            )
            for place, draws in zip(chosen.places.tolist(), chosen.draws, strict=True)
        ]

    @property
    def round_tokens(self) -> int:
        return sum(question.length + question.draws for question in self._questions)

    def refusal(self, fields: Mapping[str, Any]) -> str | None:
        """Why the endpoint does not draw as it is asked to; None where it does. One request."""
        question = min(self._questions, key=lambda question: question.length)
        request = question.ask({"max_tokens": 1, "n": 2, **fields})
        reply = self._check.asker.endpoint.ask(request)
        self.tokens += question.length + 2
        if reply.status is not None and reply.status in REFUSED:
            said = " ".join(reply.body.decode(errors="replace").split())
            return f"{reply.status}: {said[:160]}"
        if reply.status != 200:
            what = reply.problem or f"answered {reply.status}"
            raise RequestError(f"{self._check.asker.endpoint.url}{request.path}: {what}")
        answered = openai_api.answered(reply.body)
        if len(answered.choices) != 2:
            return f"n = 2 gives {len(answered.choices)} answer(s)"
        if answered.prompt_tokens not in (None, question.length):
            return (
                f"a prefix of {question.length} tokens counts as {answered.prompt_tokens} "
                "prompt tokens"
            )
        return None

    def round(self, fields: Mapping[str, Any]) -> None:
        """Every question once. Raises RequestError where fewer answers come than were asked for."""
        most = max(question.draws for question in self._questions)
        at_once = max(1, AT_ONCE // most)
        answers = in_parallel(lambda q: self._ask(q, fields), self._questions, at_once)
        for place, (question, texts) in enumerate(zip(self._questions, answers, strict=True)):
            rest = self.counts.shape[1] - 1
            columns = [question.cells.get(text, rest) for text in texts]
            self.counts[place] += np.bincount(columns, minlength=rest + 1)
            self.texts[place].update(texts)
        self.tokens += self.round_tokens

    def _ask(self, question: Question, fields: Mapping[str, Any]) -> list[str]:
        request = question.ask({"max_tokens": 1, "n": question.draws, **fields})
        choices = openai_api.answered(self._check.asker.endpoint.send(request)).choices
        if len(choices) != question.draws:
            raise RequestError(f"{len(choices)} answers came where n = {question.draws}")
        texts = [choice.reasoning or choice.content for choice in choices]
        return [text.strip() for text in texts] if self._stripped else texts


def _prefix(check: Check, found: Candidates, place: int) -> Tokens:
    return check.trace[int(found.rows[place])].token_ids[: int(found.lengths[place])]


def _cells(check: Check, found: Candidates, place: int, *, stripped: bool) -> dict[str, int]:
    recorded = check.trace[int(found.rows[place])]
    ids = recorded.scores.top_ids[int(found.lengths[place]) - 1].tolist()
    texts = [check.texts[i].strip() if stripped else check.texts[i] for i in ids]
    return {texts[i]: int(i) for i in np.flatnonzero(found.prefixes.named[place])}


def _of_chat(check: Check, row: int) -> Callable[[Mapping[str, Any]], Request]:
    chat = check.trace[row].case.prompt
    assert isinstance(chat, Chat)
    body = check.asker.dialect.chat(chat)
    assert body is not None
    return lambda fields: openai_api.chat(body, fields)


def _of_text(
    check: Check, prefix: Tokens, vocabulary: Mapping[int, Token] | None
) -> Callable[[Mapping[str, Any]], Request]:
    """`vocabulary`: the prefix is sent as a text, without the special tokens at its beginning,
    which the server puts there. None: as it is."""
    prompt: Tokens | str = prefix
    if vocabulary is not None:
        prompt = "".join(vocabulary[i].text for i in prefix if not vocabulary[i].special)
    return lambda fields: openai_api.completion(check.asker.dialect.model, prompt, fields)
