"""A language of which every next token is a pure function of all the tokens before it.

    0 .. 255      a byte of a prompt; never generated
    256           the end
    300 .. 319    the first half of a character: no text, and the next token brings the character
    320 .. 699    words

So a generation continued from its prompt and the tokens that have come gives those that would have
come. No end comes behind fewer than LEAST generated tokens: they are told from a prompt's by
their ids. A half is always followed by a word.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import takewhile

END = 256
HALVES = range(300, 320)
WORDS = range(320, 700)
GENERATED = range(300, 700)
VOCABULARY = 700
LEAST = 10
END_ONCE_IN = 70  # tokens, behind the first LEAST: the mean length is 80
UNLIKELY = -30.0  # the logprob of what is no alternative
BROKEN = "\N{REPLACEMENT CHARACTER}"
CHARACTERS = "éßñøłЖЯ中文日本語한국€☃😀🎲🚀𝄞"
# What a careless reader of a stream takes for something else.
ODD = ('"so" ', "a\\b ", "line\n", "data: [DONE] ", "\u2028next ", "\n\ndata: {} ", "{[", "\t")


def words() -> tuple[str, ...]:
    """A text for each of WORDS."""
    made = [a + b + c + " " for a in "bcdfghjklmnprstvwyz" for b in "aeiou" for c in "lnst"]
    return (*ODD, *made[len(ODD) :])


TEXTS = dict(zip(WORDS, words(), strict=True)) | {END: ""}
HALVED = dict(zip(HALVES, CHARACTERS, strict=True))


class Context:
    """All tokens so far, and what comes next."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._hash = hashlib.blake2b(_packed(tokens), digest_size=16)
        self._last = tokens[-1] if tokens else END
        self._run = sum(1 for _ in takewhile(GENERATED.__contains__, reversed(tokens)))

    def add(self, token: int) -> None:
        self._hash.update(_packed((token,)))
        self._last = token
        self._run = self._run + 1 if token in GENERATED else 0

    def next(self) -> int:
        return self._next(self._draw())

    def ranked(self, count: int) -> dict[int, float]:
        """The `count` likeliest tokens with their logprobs, best first: the first is the next."""
        draw = self._draw()
        first, start, noise = self._next(draw), draw >> 32, (draw >> 64) % 1000 / 20_000
        others = (GENERATED[(start + 7 * place) % len(GENERATED)] for place in range(count))
        tokens = [first, *(token for token in others if token != first)][:count]
        return {token: -0.5 - rank - noise for rank, token in enumerate(tokens)}

    def _draw(self) -> int:
        return int.from_bytes(self._hash.digest(), "little")

    def _next(self, draw: int) -> int:
        halved = self._last in HALVES
        if not halved and self._run >= LEAST and draw % END_ONCE_IN == 0:
            return END
        pool = WORDS if halved else GENERATED
        return pool[(draw >> 16) % len(pool)]


class Speech:
    """Generated tokens to text, one by one."""

    def __init__(self, before: Sequence[int]) -> None:
        """`before`: the prompt. Behind a half of a character its other half is not known."""
        self._open = BROKEN if before and before[-1] in HALVES else ""

    def said(self, token: int) -> str:
        begun = self._open
        if token in HALVES:
            self._open = HALVED[token]
            return begun
        self._open = ""
        return begun + TEXTS[token]


def tokenised(text: str) -> list[int]:
    return list(text.encode("utf-8", "surrogatepass"))


def detokenised(tokens: Iterable[int]) -> str:
    """The text of any tokens, prompts and generated ones."""
    speech, said = Speech(()), bytearray()
    for token in tokens:
        said += bytes((token,)) if token < END else speech.said(token).encode()
    return said.decode("utf-8", "replace")


def named(token: int) -> str:
    """A token by itself, as a list of alternatives shows it."""
    if token in HALVES:
        return HALVED[token]
    return TEXTS[token] if token in TEXTS else bytes((token,)).decode("latin-1")


def generated(prompt: Sequence[int], most: int) -> tuple[list[int], str]:
    """The tokens that follow, the end among them, and why there are no more: stop or length."""
    context, tokens = Context(prompt), list[int]()
    while len(tokens) < most:
        token = context.next()
        tokens.append(token)
        if token == END:
            return tokens, "stop"
        context.add(token)
    return tokens, "length"


def digest(tokens: Sequence[int]) -> str:
    """Names a prompt."""
    return hashlib.blake2b(_packed(tokens), digest_size=8).hexdigest()


def _packed(tokens: Sequence[int]) -> bytes:
    return array("I", tokens).tobytes()
