"""Which recorded prefixes tell most about a sampler, each drawn from many times.

    spread  a high variance of the logprob: tells the temperature, and where top-p cuts
    rest    much mass that is not listed: tells top-k, and that nothing is cut off
    seen    probable tokens that have occurred before: tells penalties

Everything is taken from a trace: what the reference says there, and how far benign engines differ
there. A prefix where they differ much is worth less than its variance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.base.record import Bools, Floats
from harness.checker.sampling import Parameters, Prefixes, probabilities

WANTED = {"rest": 4, "seen": 8, "spread": 20}  # prefixes of each kind; the scarce kinds first
OF_CHATS = {"spread": 10}
DRAWS = {"rest": 20, "seen": 56, "spread": 88}  # answers asked of each in a round
LEAST_ROOM = 0.001  # between top-p and the mass of the first tokens, any number of them
OF_ROW = 3  # prefixes of one sequence, at most
UNNAMED = 0.004  # of the mass: on tokens that no text tells
SMALL_REST = 0.06
DIVERGENCE_COST = 3000.0  # a benign divergence of 1/3000 nats halves what a prefix is worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """N positions of a trace that a prefix may end at."""

    prefixes: Prefixes  # N of them
    rows: npt.NDArray[np.int64]  # (N,) of the trace
    lengths: npt.NDArray[np.int64]  # (N,) tokens of the prefix
    divergence: Floats  # (N,) nats: the worst benign configuration's
    tolerated: Floats  # (N,) nats: tau K of that stratum
    off: Floats  # (N,) nats: the benign 99.9 % quantile of |d| in that stratum


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The places in `Candidates` to draw from, and how often in a round."""

    places: npt.NDArray[np.int64]  # (P,)
    draws: npt.NDArray[np.int64]  # (P,)
    kinds: tuple[str, ...]  # P


def choose(candidates: Candidates, promised: Parameters, wanted: Mapping[str, int]) -> Chosen:
    """The best prefixes of each kind under the promise. Fewer than wanted where there are no more.

    `wanted`: kind -> how many prefixes.
    """
    worth = _worth(candidates, promised)
    taken: list[int] = []
    kinds: list[str] = []
    for kind, most in wanted.items():
        of_row: dict[int, int] = {}
        for place in np.argsort(-worth[kind], kind="stable").tolist():
            if kinds.count(kind) == most or worth[kind][place] <= 0:
                break
            row = int(candidates.rows[place])
            if place in taken or of_row.get(row, 0) == OF_ROW:
                continue
            of_row[row] = of_row.get(row, 0) + 1
            taken.append(place)
            kinds.append(kind)
    return Chosen(
        places=np.array(taken, dtype=np.int64),
        draws=np.array([DRAWS[kind] for kind in kinds], dtype=np.int64),
        kinds=tuple(kinds),
    )


def _worth(candidates: Candidates, promised: Parameters) -> dict[str, Floats]:
    """What each place is worth for each kind, (N,); 0 or less: nothing."""
    prefixes = candidates.prefixes
    cells = probabilities(prefixes, promised, np.array([promised.top_p]))[0, 0]  # (N, k + 1)
    listed, rest = cells[:, :-1], prefixes.rest()
    unnamed = (np.exp(prefixes.logprobs) * ~prefixes.named).sum(axis=1)
    usable = (unnamed <= UNNAMED) & _clear(prefixes, promised, candidates.off)
    credit = usable / (1 + DIVERGENCE_COST * candidates.divergence)
    seen = (listed * prefixes.seen).sum(axis=1)
    small = rest <= SMALL_REST
    worth = {
        "spread": np.where(small, credit * variance(listed, prefixes.logprobs), 0.0),
        "rest": np.where(rest > SMALL_REST, usable * rest, 0.0),
        "seen": np.where(small, credit * seen * (1 - seen), 0.0),
    }
    lengths = candidates.lengths  # a long prefix takes tokens from the answers
    return {kind: values * DRAWS[kind] / (DRAWS[kind] + lengths) for kind, values in worth.items()}


def telling(
    prefixes: Prefixes, promised: Parameters, *, off: float, variance_from: float, rest_upto: float
) -> Bools:
    """Which prefixes tell something by a single draw, (P,).

    `off`: nats that benign engines differ by. What is not listed is taken as it fits best at each
    prefix, which costs nothing where nearly all is listed (`rest_upto`), and where one prefix is
    drawn from many times.
    """
    cells = probabilities(prefixes, promised, np.array([promised.top_p]))[0, 0]
    told = variance(cells[:, :-1], prefixes.logprobs) >= variance_from
    listed = prefixes.rest() <= rest_upto
    return told & listed & _clear(prefixes, promised, np.full(len(listed), off))


def variance(weights: Floats, logprobs: Floats) -> Floats:
    """Of the logprob, in nats squared: what one draw tells of ln T."""
    total = weights.sum(axis=1)
    mean = (weights * logprobs).sum(axis=1) / total
    return (weights * (logprobs - mean[:, None]) ** 2).sum(axis=1) / total


def _clear(prefixes: Prefixes, promised: Parameters, off: Floats) -> Bools:
    """Whether the nucleus stays the same, (N,), where no token is off by more than `off` (N,).

    Then the odds of its mass change by exp(2 off) at most, and so may those of two tokens.
    """
    if promised.top_p >= 1:
        return np.ones(len(prefixes.logprobs), dtype=np.bool_)
    logits = prefixes.logprobs / promised.temperature
    weights = np.exp(logits)
    sums = np.cumsum(weights / (weights.sum(axis=1) + prefixes.rest())[:, None], axis=1)
    moved = 2 * off / promised.temperature
    room = promised.top_p * (1 - promised.top_p) * moved + LEAST_ROOM
    far = np.abs(sums - promised.top_p).min(axis=1) >= room
    inside = np.minimum((sums < promised.top_p).sum(axis=1), logits.shape[1] - 2)  # the last kept
    rows = np.arange(len(logits))
    all_inside = sums[:, -1] < promised.top_p  # the edge lies among the unlisted tokens
    return far & (all_inside | (logits[rows, inside] - logits[rows, inside + 1] >= moved))
