"""The tiny models' skills as a benchmark: short questions that have one right answer.

Those of `scripts/tiny_scores.py`, greedy and exact, asked of a running engine as a user asks: by
its chat API. An engine without one renders, continues and reads the tokens. Plain ASCII alone, so
that tokens read one by one make the same text.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.case import Chat
from harness.base.errors import RequestError
from harness.client import Asker
from launchers import openai_api
from launchers.dialect import Detokenizing
from launchers.pins import GREEDY

sys.path.append(str(Path(__file__).parents[1]))  # the modules of tasks import each other by name

import tiny_tasks
from tiny_tasks import Dialogue

ANSWER_TOKENS = 64  # the longest right answer has 47
ANSWER_END = ("<|im_end|>", "</think>")
SKILLS: dict[str, tuple[int, Callable[[random.Random], Dialogue]]] = {  # more of what is short
    "arithmetic-thinking": (20, lambda rng: tiny_tasks.arithmetic(rng, thinking=True)),
    "arithmetic": (40, lambda rng: tiny_tasks.arithmetic(rng, thinking=False)),
    "json": (12, lambda rng: tiny_tasks.json_record(rng, thinking=False)),
    "chat": (28, lambda rng: tiny_tasks.chat(rng, thinking=False)),
    "retrieval": (20, lambda rng: _retrieval(rng)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A question, and the one answer that counts."""

    id: str
    chat: Chat
    expected: str


def items() -> list[Item]:
    """The same each time; seeds held out of what the models learned from."""
    return [item for skill in SKILLS for item in _some(skill)]


def _retrieval(rng: random.Random) -> Dialogue:
    return tiny_tasks.retrieval(rng, facts=6, sentences=4, queries=1, thinking=False)


def _some(skill: str) -> Iterator[Item]:
    count, make = SKILLS[skill]
    rng = random.Random(f"zoo {skill}")
    made = 0
    while made < count:
        dialogue = make(rng)
        texts = [str(message["content"]) for message in dialogue.messages]
        if not "".join(texts).isascii():
            continue
        chat = Chat(messages=tuple(dialogue.messages[:-1]), tools=None, thinking=dialogue.thinking)
        yield Item(id=f"{skill}-{made:03}", chat=chat, expected=texts[-1])
        made += 1


def answered(asker: Asker, part: Sequence[Item]) -> list[tuple[str, int]]:
    """What the engine answers to each, and with how many tokens (0: it does not say).

    Raises RequestError where one is not answered.
    """
    if asker.dialect.chat(part[0].chat) is None:
        return _by_tokens(asker, part)
    return [_by_chat(asker, item) for item in part]


def _by_chat(asker: Asker, item: Item) -> tuple[str, int]:
    body = asker.dialect.chat(item.chat)
    assert body is not None
    fields = {"temperature": 0, "max_tokens": ANSWER_TOKENS}
    answer = openai_api.answered(asker.endpoint.send(openai_api.chat(body, fields)))
    tokens = (answer.prompt_tokens or 0) + (answer.completion_tokens or 0)
    return answer.choices[0].content.strip(), tokens


def _by_tokens(asker: Asker, part: Sequence[Item]) -> list[tuple[str, int]]:
    if not isinstance(asker.dialect, Detokenizing):
        raise RequestError(f"{asker.endpoint.url}: neither answers chats nor reads tokens")
    prompts = asker.render([item.chat for item in part])
    generations = asker.generate(
        prompts,
        max_new_tokens=ANSWER_TOKENS,
        sampling=GREEDY,
        seeds=[0] * len(prompts),
        top_k=1,
        at_once=1 if len(part) == 1 else 2,
    )
    ids = sorted({token for one in generations for token in one.token_ids})
    answer = asker.endpoint.send(asker.dialect.detokenize(ids))
    texts = dict(zip(ids, asker.dialect.detokenized(answer)[0], strict=True))
    return [
        (
            _spoken("".join(texts[token] for token in one.token_ids)),
            len(prompt) + len(one.token_ids),
        )
        for prompt, one in zip(prompts, generations, strict=True)
    ]


def _spoken(text: str) -> str:
    end, thought = ANSWER_END
    return text.split(end)[0].split(thought)[-1].strip()
