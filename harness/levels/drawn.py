"""One-token answers drawn after recorded prefixes, through the completions API: texts alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.base.errors import RequestError
from harness.checker.sampling import Counts, Prefixes
from harness.checker.sampling_prefixes import Candidates, Chosen
from harness.client import in_parallel
from harness.levels.state import Check
from harness.recording import Token
from launchers import openai_api
from launchers.dialect import Tokens

AT_ONCE = 8  # requests in flight, each with many answers
REFUSED = range(400, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prefix, and what its cells are called."""

    prompt: Tokens | str
    length: int  # tokens
    cells: Mapping[str, int]  # text -> column
    draws: int  # answers asked for


class Drawing:
    """Draws round by round, and counts. `counts` is (P, k + 1), the last column the rest."""

    def __init__(self, check: Check, found: Candidates, chosen: Chosen, *, as_text: bool) -> None:
        self.prefixes: Prefixes = found.prefixes.take(chosen.places)
        self.counts: Counts = np.zeros((len(chosen.places), check.top_k + 1), dtype=np.int64)
        self.texts: list[set[str]] = [set() for _ in chosen.places]  # that came, unlisted too
        self.tokens = 0
        self._check = check
        vocabulary = check.trace.vocabulary() if as_text else None
        self._questions = [
            _question(check, found, place, int(draws), vocabulary)
            for place, draws in zip(chosen.places.tolist(), chosen.draws, strict=True)
        ]

    @property
    def round_tokens(self) -> int:
        return sum(question.length + question.draws for question in self._questions)

    def refusal(self, fields: Mapping[str, Any]) -> str | None:
        """Why the endpoint does not draw as it is asked to; None where it does. One request."""
        question = min(self._questions, key=lambda question: question.length)
        request = openai_api.completion(
            self._check.asker.dialect.model,
            question.prompt,
            {"max_tokens": 1, "n": 2, **fields},
        )
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
        answers = in_parallel(lambda q: self._ask(q, fields), self._questions, AT_ONCE)
        for place, (question, texts) in enumerate(zip(self._questions, answers, strict=True)):
            rest = self.counts.shape[1] - 1
            columns = [question.cells.get(text, rest) for text in texts]
            self.counts[place] += np.bincount(columns, minlength=rest + 1)
            self.texts[place].update(texts)
        self.tokens += self.round_tokens

    def _ask(self, question: Question, fields: Mapping[str, Any]) -> list[str]:
        asker = self._check.asker
        request = openai_api.completion(
            asker.dialect.model,
            question.prompt,
            {"max_tokens": 1, "n": question.draws, **fields},
        )
        choices = openai_api.answered(asker.endpoint.send(request)).choices
        if len(choices) != question.draws:
            raise RequestError(f"{len(choices)} answers came where n = {question.draws}")
        return [choice.content for choice in choices]


def _question(
    check: Check,
    found: Candidates,
    place: int,
    draws: int,
    vocabulary: Mapping[int, Token] | None,
) -> Question:
    recorded = check.trace[int(found.rows[place])]
    length = int(found.lengths[place])
    prefix = recorded.token_ids[:length]
    ids = recorded.scores.top_ids[length - 1].tolist()
    named = found.prefixes.named[place].tolist()
    return Question(
        prompt=prefix if vocabulary is None else _text(vocabulary, prefix),
        length=length,
        cells={check.texts[i]: column for column, i in enumerate(ids) if named[column]},
        draws=draws,
    )


def _text(vocabulary: Mapping[int, Token], prefix: Tokens) -> str:
    """Without the special tokens at its beginning: the server puts them there."""
    return "".join(vocabulary[i].text for i in prefix if not vocabulary[i].special)
