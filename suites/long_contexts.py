"""Long prompts of our own making: a book of facts, and a question that one of them answers.

Whether a context is used as far back as it reaches is seen in such prompts alone; their facts say
nothing that a model could know otherwise. Deterministic: prompt i of a length is the same for one
tokenizer always.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from harness.base.case import Case
from harness.base.errors import ConfigError

SHORTEST = 2048  # tokens: up to about 1 500 the corpus itself reaches
PROMPTS = 80  # of a stratum
RESERVE = 96  # tokens left for the continuation, and for what a check decodes after the prompt
THINGS = (
    "lantern",
    "key",
    "map",
    "drum",
    "ladder",
    "mirror",
    "basket",
    "compass",
    "kettle",
    "rope",
)
COLOURS = ("red", "blue", "green", "grey", "white", "black", "brown", "yellow")
PLACES = ("cellar", "library", "kitchen", "tower", "garden", "workshop", "attic", "stable")

TokensOf = Callable[[Sequence[str]], list[int]]


def lengths(longest: int, limit: int) -> list[int]:
    """2048 tokens, 4096 and so on, up to `longest`. ConfigError where the model takes fewer."""
    if longest > limit:
        raise ConfigError(f"--longest {longest}: the model takes {limit} tokens at most")
    if longest < SHORTEST:
        raise ConfigError(f"--longest {longest}: the shortest long context has {SHORTEST} tokens")
    found = [SHORTEST]
    while found[-1] * 2 <= longest:
        found.append(found[-1] * 2)
    return found


def cases(length: int, tokens_of: TokensOf) -> list[Case]:
    """80 prompts of nearly `length` tokens less RESERVE, never more.

    `tokens_of`: how many tokens each of some prompts has, by whoever renders for the trace.
    """
    room = length - RESERVE
    few, many = tokens_of([_prompt(length, 0, facts) for facts in (16, 48)])
    facts = int((room - few) / ((many - few) / 32)) + 16
    chosen = [facts] * PROMPTS
    while True:
        prompts = [_prompt(length, i, count) for i, count in enumerate(chosen)]
        over = [tokens - room for tokens in tokens_of(prompts)]
        if max(over) <= 0:
            break
        chosen = [
            count - (0 if extra <= 0 else 1 + extra * count // length)
            for count, extra in zip(chosen, over, strict=True)
        ]
    name = f"long-{length // 1024}k"
    return [Case(id=f"{name}-{i}", stratum=name, prompt=text) for i, text in enumerate(prompts)]


def _prompt(length: int, number: int, facts: int) -> str:
    """A text of that many facts, and the question about one that lies anywhere in it."""
    draw = random.Random(f"{length} {number}")
    asked = draw.random()
    said: list[tuple[str, str]] = []
    for line in range(facts):
        what = f"{draw.choice(COLOURS)} {draw.choice(THINGS)} {line}"
        said.append((what, draw.choice(PLACES)))
    what, _ = said[int(asked * facts)]
    book = "\n".join(f"The {thing} is in the {where}." for thing, where in said)
    return f"{book}\n\nQuestion: Where is the {what}?\nAnswer: The {what} is in the"
