"""Asks one running engine, part by part; what fails is kept by name, and the rest is asked.

No seed is sent where nothing of sampling is: vLLM 0.32.0 on a CPU ends where a request has a seed
and its prompt is prefilled in parts, and SGLang takes no notice of one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from harness import templates
from harness.base.case import Chat
from harness.base.errors import RequestError
from harness.base.record import Generation, Scores
from harness.candidate import Opened
from harness.checker import forced
from harness.client import BUSY, Asker, Endpoint, flatten, in_parallel, parts
from harness.recording import Recorded, Trace
from launchers import openai_api
from launchers.dialect import Reply, Request, Tokens
from launchers.openai_api import Answered
from launchers.pins import GREEDY
from scripts.zoo import tiny_items
from scripts.zoo.tiny_items import Item

ROWS = 6  # of each stratum, at most: scored, continued, rendered
TOKENS = 1_500  # of each stratum, at most: long sequences take most of the time, and tell no more
ANSWER_TOKENS = 32  # of a greedy answer: vLLM's and SGLang's own tests take as many
AGAIN_TOKENS, AGAIN_STEP = 4, 3  # of every third once more: a wrong cache shows at once
TOP_K = 5  # alternatives of a token of a greedy answer: theirs too
TEMPLATES = 24  # chats for templates, of all that the trace has
TEXTS = 12
SPREAD, SURE = 6, 2  # prefixes whose next token is spread the widest, and the most certain
WHOLE = 0.98  # of the mass is listed there
AT_A_TIME = 128  # completions of one request
GREEDILY = {"temperature": 0}
KINDS: Mapping[str, tuple[int, Mapping[str, Any]]] = {  # completions of each prefix, what is sent
    "": (2_048, {}),
    ", top-p sent": (256, {"temperature": 1.0, "top_p": 0.8}),  # low: few tell that it is lost
    ", 4 tokens": (256, {"max_tokens": 4}),  # what speculates drafts the second
}
PATIENCE_S = 60.0  # of one answer: an engine that hangs shall not hold up the others

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One answer of the chat API: all that a user can see of it."""

    content: str
    reasoning: str
    calls: tuple[tuple[str, str], ...]  # name and arguments of each tool call
    finish_reason: str


class Impatient(Endpoint):
    """An endpoint that is not waited for longer than PATIENCE_S."""

    def ask(self, request: Request, *, timeout_s: float | None = None) -> Reply:
        return super().ask(request, timeout_s=timeout_s or PATIENCE_S)


def rows_of(trace: Trace, seed: int, tokens: int = TOKENS) -> list[Recorded]:
    """ROWS of each stratum, fewer where they have more `tokens`; the same for every engine."""
    chosen: list[int] = []
    for stratum in trace.strata:
        order = forced.permutation(trace.members(stratum), seed=seed, name=f"probe {stratum}")
        ends = np.cumsum([trace.tokens_of[row] for row in order[:ROWS]])
        chosen += order[: max(1, int((ends <= tokens).sum()))]
    return [trace[row] for row in sorted(chosen)]


def chats_of(trace: Trace, rows: Sequence[Recorded]) -> dict[str, Chat]:
    """What is rendered: chats of the rows, and every n-th of those for templates."""
    found = {row.case.id: row.case.prompt for row in rows if isinstance(row.case.prompt, Chat)}
    member = trace.member(templates.MEMBER)
    others = [] if member is None else list(templates.read(member))
    step = -(-len(others) // TEMPLATES) or 1
    return found | {f"template {one.case_id}": one.chat for one in others[::step]}


class Asking:
    """Asks one engine part by part; what fails is kept in `failures`."""

    def __init__(self, opened: Opened, asker: Asker) -> None:
        self.failures: dict[str, str] = {}
        self._opened = opened
        self._asker = asker

    def scores(self, rows: Sequence[Recorded], top_k: int) -> dict[str, Scores] | None:
        if not self._can("score"):
            return None

        def ask(part: Sequence[Recorded]) -> list[Scores]:
            sequences = [row.token_ids for row in part]
            return self._asker.score(sequences, top_k, at_once=1, per_request=len(part))

        return self._named("scores", _named(rows), ask, size=self._size)

    def greedy(
        self, rows: Sequence[Recorded], tokens: int, name: str
    ) -> dict[str, Generation] | None:
        if not self._can("generate"):
            return None
        dialect = self._asker.dialect

        def ask(part: Sequence[Recorded]) -> list[Generation]:
            request = dialect.generate(
                [row.token_ids[: row.prompt_tokens] for row in part],
                max_new_tokens=tokens,
                sampling=GREEDY,
                seeds=None,
                top_k=TOP_K,
            )
            return dialect.generated(self._asker.endpoint.send(request), TOP_K)

        return self._named(name, _named(rows), ask, size=self._size)

    def rendered(self, chats: Mapping[str, Chat]) -> dict[str, Tokens] | None:
        if not self._can("render_chat"):
            return None
        return self._named("rendered", chats, self._asker.render, size=1)

    def texts(self, rows: Sequence[Recorded]) -> dict[str, Text] | None:
        """Whole answers of the chat API at T = 0, no limit sent."""
        return self._texts("texts", rows, GREEDILY, openai_api.answered)

    def streams(self, rows: Sequence[Recorded]) -> dict[str, Text] | None:
        """The same in pieces; a stream that is no whole one is a failure."""
        fields = {**GREEDILY, **openai_api.STREAMED}
        return self._texts("streams", rows, fields, openai_api.streamed)

    def _texts(
        self,
        name: str,
        rows: Sequence[Recorded],
        fields: Mapping[str, Any],
        read: Callable[[bytes], Answered],
    ) -> dict[str, Text] | None:
        """Those first whose answer by the reference is the longest: what cuts answers off shows."""
        chats = {row.case.id: row.case.prompt for row in sorted(rows, key=_answer, reverse=True)}
        asked = {name: chat for name, chat in chats.items() if isinstance(chat, Chat)}
        if not self._can("chat") or self._chatless(asked):
            return None

        def ask(part: Sequence[Chat]) -> list[Text]:
            bodies = [self._asker.dialect.chat(chat) or {} for chat in part]
            sent = [self._asker.endpoint.send(openai_api.chat(body, fields)) for body in bodies]
            return [_text(read(answer)) for answer in sent]

        return self._named(name, dict(list(asked.items())[:TEXTS]), ask, size=1)

    def draws(self, rows: Sequence[Recorded]) -> dict[str, Counter[str]] | None:
        """What is sampled after a few prefixes, counted by its text."""
        chats = {row.case.id: row.case.prompt for row in rows if isinstance(row.case.prompt, Chat)}
        if not self._can("completions", "token_id_prompts") or self._chatless(chats):
            return None
        asked = {
            f"{name}{kind}": (prefix, draws, {"max_tokens": 1, "n": AT_A_TIME, **sent})
            for kind, (draws, sent) in KINDS.items()
            for name, prefix in _prefixes(rows).items()
        }

        def ask(part: Sequence[tuple[Tokens, int, dict[str, Any]]]) -> list[Counter[str]]:
            ((prefix, draws, fields),) = part
            request = openai_api.completion(self._asker.dialect.model, prefix, fields)
            found: Counter[str] = Counter()
            for _ in range(draws // AT_A_TIME):
                answer = openai_api.answered(self._asker.endpoint.send(request))
                found.update(choice.content for choice in answer.choices)
            return [found]

        return self._named("draws", asked, ask, size=1)

    def items(self, items: Sequence[Item]) -> tuple[dict[str, bool] | None, int]:
        """Question -> answered rightly; and how many tokens that took."""
        texts = not self._chatless({item.id: item.chat for item in items})
        if not (self._can("chat") if texts else self._can("generate", "render_chat")):
            return None, 0
        asked = {item.id: item for item in items}
        found = self._named(
            "answers",
            asked,
            lambda part: tiny_items.answered(self._asker, part),
            size=1 if texts else self._size,
        )
        right = {name: answer == asked[name].expected for name, (answer, _) in found.items()}
        return right, sum(tokens for _, tokens in found.values())

    @property
    def _size(self) -> int:
        return self._asker.dialect.sequences_per_request

    def _chatless(self, chats: Mapping[str, Chat]) -> bool:
        """Whether the engine has no chat API; true as well where there is no chat."""
        return all(self._asker.dialect.chat(chat) is None for chat in chats.values())

    def _can(self, *names: str) -> bool:
        known = self._opened.capabilities
        return known is None or all(getattr(known, name).yes for name in names)

    def _named(
        self,
        what: str,
        asked: Mapping[str, S],
        ask: Callable[[Sequence[S]], Sequence[T]],
        *,
        size: int,
        at_once: int = BUSY,
    ) -> dict[str, T]:
        """What came, by name. `size`: how many go in one request, which fail together."""

        def one(names: Sequence[str]) -> list[tuple[str, T]]:
            return list(zip(names, ask([asked[name] for name in names]), strict=True))

        def patiently(names: Sequence[str]) -> list[tuple[str, T]]:
            """What fails twice has failed: a connection may break by itself."""
            try:
                return one(names)
            except RequestError:
                pass
            try:
                return one(names)
            except RequestError as error:
                self.failures.update({f"{what} {name}": str(error) for name in names})
                return []

        return dict(flatten(in_parallel(patiently, parts(list(asked), size), at_once)))


def _named(rows: Sequence[Recorded]) -> dict[str, Recorded]:
    return {row.case.id: row for row in rows}


def _answer(row: Recorded) -> int:
    return len(row.token_ids) - row.prompt_tokens


def _text(answer: Answered) -> Text:
    choice = answer.choices[0]
    return Text(
        content=choice.content,
        reasoning=choice.reasoning,
        calls=tuple((call.name, call.arguments) for call in choice.tool_calls),
        finish_reason=choice.finish_reason,
    )


def _prefixes(rows: Sequence[Recorded]) -> dict[str, Tokens]:
    """Beginnings of answers, by name. Before tokens whose logprob varies the most: by that another
    temperature shows. And before those of which the reference was the most sure: what is lost there
    now and then shows at once."""
    spread: list[tuple[float, str, Tokens]] = []
    sure: list[tuple[float, str, Tokens]] = []
    for row in rows:
        own = row.scores.top_logprobs[row.prompt_tokens - 1 :]
        p = np.exp(own)
        entropy = -(p * own).sum(axis=1)  # of what is listed, nats
        variance = (p * own**2).sum(axis=1) - entropy**2  # of the logprob
        variance[p.sum(axis=1) < WHOLE] = 0.0  # of many others nothing is known
        for places, values, sign in ((spread, variance, -1), (sure, entropy, 1)):
            place = int((sign * values).argmin())
            prefix = row.token_ids[: row.prompt_tokens + place]
            places.append((sign * float(values[place]), row.case.id, prefix))
    named = (("spread", sorted(spread)[:SPREAD]), ("sure", sorted(sure)[:SURE]))
    return {f"{name} {what}": prefix for what, best in named for _, name, prefix in best}
