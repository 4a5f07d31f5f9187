"""L1: one engine against itself. The comparisons, each with groups of the judge:

repeat   the same request twice, alone
busy     alone, and among many: a group for each load
decode   what it reported while generating, and its own prefill of the same tokens
cache    the same, of a prompt that another request has left in the prefix cache, or is decoding
         from at that time
chunks   the next token after a prefix, and the same position scored in one piece

Every prompt is asked at the usual load; each further load has prompts of its own, and is judged by
their means alone (A, K, F). A prompt hits the cache in one way: either way is judged by the means
of its prompts, and the sparse statistic, which needs more of them, takes both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.base.record import Distance, Floats, Ints, Scores
from harness.checker.forced import permutation

COMPARISONS = ("repeat", "busy", "decode", "cache", "chunks")
CUTS = 4  # prefixes of one sequence
USUAL_LOAD = 16  # requests in flight; the load that L2 asks at
# A further load (None: none) and prompts of each round; then again from the first. 116 prompts in
# all: a clean S needs 115 of a corpus of 480. The fullest round comes first.
ROUNDS = ((32, 32), (2, 28), (8, 28), (None, 28))
FEWEST = 28  # prompts of a load: with fewer it could not be decided about
BULK, SPARSE, EVERY = "AKF", "S", "AKFS"
HIT, HIT_DECODING = "cache hit", "cache hit, decoding"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The prompts that are asked together, and how."""

    rows: tuple[int, ...]  # of the trace
    load: int | None  # requests in flight, beside the usual load; None: the usual one alone
    hit: frozenset[int]  # those of these rows that hit an idle prefix cache
    hit_decoding: frozenset[int]  # those that hit it while another is decoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What the judge keeps apart."""

    comparison: str
    population: int  # prompts
    statistics: str  # names of statistics, a letter each


def schedule(rows: Sequence[int], seed: int) -> list[Round]:
    """All `rows` of a trace in the order in which they are drawn, fixed before any answer is seen.

    The way of hitting the cache is drawn apart from the order, so that both ways together are
    drawn in a uniform order too; in a small corpus every prompt takes both ways.
    """
    population = len(rows)
    order = permutation(rows, seed=seed, name="consistency")
    half = permutation(rows, seed=seed, name="cache")[: population // 2]
    both = population < 2 * FEWEST
    kinds = ROUNDS[: max(1, population // FEWEST)]
    rounds: list[Round] = []
    start = 0
    while start < population:
        load, size = kinds[len(rounds) % len(kinds)]
        part = frozenset(order[start : start + size])
        rounds.append(
            Round(
                rows=tuple(order[start : start + size]),
                load=load,
                hit=part if both else part & frozenset(half),
                hit_decoding=part if both else part - frozenset(half),
            )
        )
        start += size
    return rounds


def kept(rounds: Sequence[Round]) -> frozenset[int]:
    """The rows whose scores are worth keeping once L2 has heard them: a healthy engine is not asked
    for more, and a trace may be larger than memory."""
    return frozenset(row for one in rounds[: len(ROUNDS)] for row in one.rows)


def groups(rounds: Sequence[Round]) -> dict[str, Group]:
    """Name -> group, in the order in which they are asked."""
    population = sum(len(one.rows) for one in rounds)
    loads = sorted({one.load for one in rounds if one.load is not None})
    at = {load: sum(len(one.rows) for one in rounds if one.load == load) for load in loads}
    hits = sum(len(one.hit) for one in rounds)
    decoding = sum(len(one.hit_decoding) for one in rounds)
    return {
        "repeat": Group(comparison="repeat", population=population, statistics=EVERY),
        busy_at(USUAL_LOAD): Group(comparison="busy", population=population, statistics=EVERY),
        **{
            busy_at(load): Group(comparison="busy", population=at[load], statistics=BULK)
            for load in loads
        },
        "decode": Group(comparison="decode", population=population, statistics=EVERY),
        HIT: Group(comparison="cache", population=hits, statistics=BULK),
        HIT_DECODING: Group(comparison="cache", population=decoding, statistics=BULK),
        "cache": Group(comparison="cache", population=hits + decoding, statistics=SPARSE),
        "chunks": Group(comparison="chunks", population=population, statistics=EVERY),
    }


def busy_at(load: int) -> str:
    """The group of a load."""
    return f"busy at {load}"


def first_unequal(one: Scores, other: Scores) -> int | None:
    """The first row of two scores of the same tokens that is not equal to the last bit."""
    k = min(one.top_ids.shape[1], other.top_ids.shape[1])
    unequal = (
        (one.logprobs != other.logprobs)
        | (one.top_ids[:, :k] != other.top_ids[:, :k]).any(axis=1)
        | (one.top_logprobs[:, :k] != other.top_logprobs[:, :k]).any(axis=1)
    )
    return int(unequal.argmax()) if unequal.any() else None


class Band:
    """How far apart the two sides of a comparison were found: what was measured, not judged."""

    def __init__(self) -> None:
        self.prompts = 0
        self.equal = 0  # prompts that agree to the last bit of every logprob
        self.tokens = 0
        self.largest = 0.0  # |d|, nats
        self._sum = 0.0

    def add(self, distance: Distance) -> None:
        absolute = np.abs(distance.d)
        self.prompts += 1
        self.equal += not absolute.any()
        self.tokens += len(absolute)
        self.largest = max(self.largest, float(absolute.max(initial=0.0)))
        self._sum += float(absolute.sum())

    def table(self) -> dict[str, float | int]:
        """For the findings of L1."""
        return {
            "prompts": self.prompts,
            "equal": self.equal,
            "tokens": self.tokens,
            "mean_absolute_d": self._sum / self.tokens,
            "largest_absolute_d": self.largest,
        }


def cuts(length: int) -> tuple[int, ...]:
    """Prefix lengths, ascending, spread over a sequence of `length` tokens (2 or more)."""
    spread = np.linspace(length / 4, length - 1, CUTS)
    return tuple(sorted({max(1, int(cut)) for cut in spread}))


def at_cuts(whole: Scores, lengths: tuple[int, ...]) -> Scores:
    """The whole sequence's scores (len(lengths) positions) for the token after each prefix.

    The token judged is the most probable one, for no request can name another.
    """
    rows = np.array([length - 1 for length in lengths])  # position t stands in row t - 1
    return Scores(
        logprobs=whole.top_logprobs[rows, 0],
        top_ids=whole.top_ids[rows],
        top_logprobs=whole.top_logprobs[rows],
    )


def stacked(parts: list[Scores], of: Ints) -> Scores:
    """One-position scores (each of one prefix) as one, the token judged being `of` (N,)."""
    top_ids = np.concatenate([part.top_ids for part in parts])
    top_logprobs = np.concatenate([part.top_logprobs for part in parts])
    return Scores(
        logprobs=_logprob_of(of, top_ids, top_logprobs), top_ids=top_ids, top_logprobs=top_logprobs
    )


def _logprob_of(ids: Ints, top_ids: Ints, top_logprobs: Floats) -> Floats:
    """(N,) of each id in its list; an id that is not listed lies below the smallest."""
    same = top_ids == ids[:, None]  # (N, k)
    listed = np.take_along_axis(top_logprobs, same.argmax(axis=1)[:, None], axis=1).squeeze(1)
    return np.where(same.any(axis=1), listed, top_logprobs.min(axis=1))
