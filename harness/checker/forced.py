"""L2: the candidate scores the reference's own tokens. What is drawn, and where |d| lies."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.base.record import Floats
from harness.checker.judge import Judge
from harness.checker.outcome import Word
from harness.recording import Token

CLASSES = ("special", "think", "digit", "space", "word", "other")
BINS = 32  # powers of two: positions up to 4 G


def permutation(members: Sequence[int], *, seed: int, name: str) -> list[int]:
    """A uniform order of `members`, fixed by seed and group before any answer is seen."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return [members[i] for i in rng.permutation(len(members))]


def rounds(judge: Judge, orders: Mapping[str, Sequence[int]]) -> Iterator[list[int]]:
    """What to ask next, round by round, strata in turn: rows of `orders`, stratum by stratum.

    Each round is to be judged before the next is drawn: a settled stratum is drawn on no further,
    and the last round is the one after which `judge` knows its word, or nothing is left.
    """
    left = {stratum: iter(order) for stratum, order in orders.items()}
    for size in _round_sizes():
        rows = [
            row for s, order in left.items() if not judge.settled(s) for row in _take(order, size)
        ]
        if not rows or judge.word() is not Word.INCONCLUSIVE:
            return
        yield rows


def _round_sizes() -> Iterator[int]:
    """Prompts of each stratum in a round: few at first, so that a gross fault costs little."""
    yield from (1, 1, 2, 4)
    while True:
        yield 8


def _take(order: Iterator[int], size: int) -> list[int]:
    return [row for _, row in zip(range(size), order, strict=False)]


def token_class(token: Token) -> int:
    """An index into CLASSES; `special` takes in the template's and the tools' markers."""
    text = token.text.strip()
    if "think>" in text:
        name = "think"
    elif token.special or (text.startswith("<|") and text.endswith("|>")):
        name = "special"
    elif not text:
        name = "space"
    elif text.isdigit():
        name = "digit"
    else:
        name = "word" if any(c.isalpha() for c in text) else "other"
    return CLASSES.index(name)


class Breakdown:
    """|d| by position and by token class: for the diagnosis and the pictures, not the verdict."""

    def __init__(self) -> None:
        self._positions = np.zeros((2, BINS))  # tokens, sum of |d|
        self._classes = np.zeros((2, len(CLASSES)))
        self._generated = np.zeros(2)  # tokens, sum of d

    def add(self, d: Floats, classes: npt.NDArray[np.int64], generated_from: int) -> None:
        """One sequence: d (N,) at positions 1 .. N, the class of each token.

        `generated_from` is the first position that the reference sampled itself: from there on
        the mean of d is -KL; before it d has no such meaning.
        """
        bins = np.log2(np.arange(1, len(d) + 1)).astype(np.int64)
        for table, index in ((self._positions, bins), (self._classes, classes)):
            table[0] += np.bincount(index, minlength=table.shape[1])
            table[1] += np.bincount(index, weights=np.abs(d), minlength=table.shape[1])
        own = d[generated_from - 1 :]
        self._generated += (len(own), own.sum())

    def table(self) -> dict[str, Any]:
        """B (`mean_d`), the slope over position, mean |d| by position and by class, nats."""
        tokens = self._positions[0].sum()
        own, total = self._generated
        return {
            "mean_d": total / own if own else None,
            "mean_absolute_d": self._positions[1].sum() / tokens if tokens else None,
            "slope_per_doubling": _slope(self._positions),
            "positions": _rows("from", [2**power for power in range(BINS)], self._positions),
            "classes": _rows("class", CLASSES, self._classes),
        }


def _rows(key: str, names: Sequence[object], table: Floats) -> list[dict[str, Any]]:
    return [
        {key: name, "tokens": int(tokens), "mean_absolute_d": total / tokens}
        for name, tokens, total in zip(names, *table, strict=True)
        if tokens
    ]


def _slope(positions: Floats) -> float | None:
    """How much mean |d| grows when the position doubles, nats: least squares over tokens.

    None where fewer than two bins hold tokens.
    """
    held = positions[0] > 0
    if held.sum() < 2:
        return None
    x = np.flatnonzero(held).astype(np.float64)
    weight = positions[0][held]
    y = positions[1][held] / weight
    centred = x - np.average(x, weights=weight)
    return float((weight * centred * y).sum() / (weight * centred**2).sum())
