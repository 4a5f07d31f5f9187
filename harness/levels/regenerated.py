"""L1 asked of generation: what it reports while decoding, against its own prefill of those tokens.

A prompt is sent without its first token, so that nothing of it is in the prefix cache but what
other such prompts have left there: the first request is cold, and a further one hits what it left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.base.record import Distance, Generation, Scores
from harness.checker import consistency
from harness.checker.consistency import HIT, HIT_DECODING
from harness.checker.distance import between
from harness.client import BUSY, in_parallel
from harness.levels.turn import TOP_K, Found, Turn
from launchers.dialect import Tokens
from launchers.pins import OWN

DECODED = 16  # tokens generated
COMPANY = 2 * DECODED  # by the request that is to be still decoding when its prompt comes again
PAIRS = BUSY // 2  # prompts in flight at once, each twice


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """One generation from one prompt."""

    group: str
    row: int
    prompt: Tokens
    generation: Generation

    @property
    def whole(self) -> Tokens:
        return self.prompt + self.generation.token_ids


def decode(turn: Turn) -> Iterator[Found]:
    """Cold, and hitting what that left, each against its own prefill.

    Nothing is seeded: Dialect.generate, and the note on seeds in launchers/vllm.py.
    """
    made: list[_Made] = []
    paired = [row for row in turn.rows if row in turn.plan.hit_decoding]
    single = [row for row in turn.rows if row not in turn.plan.hit_decoding]
    made += _generated(turn, "decode", single)
    made += _twice(turn, paired)
    made += _generated(turn, HIT, [row for row in turn.rows if row in turn.plan.hit])
    for one in made:
        turn.session.cache_of(one.group).add(one.prompt, one.generation)
        turn.check.tokens += len(one.whole)
    made.sort(key=lambda one: turn.rows.index(one.row))  # as they are drawn
    wholes = [one.whole for one in made]
    turn.check.tokens += sum(map(len, wholes))
    prefilled = turn.check.asker.score(wholes, TOP_K, at_once=BUSY)
    for one, scores in zip(made, prefilled, strict=True):
        yield Found(group=one.group, row=one.row, distance=_distance(one, scores))


def _distance(one: _Made, scores: Scores) -> Distance:
    return between(scores.slice(len(one.prompt) - 1, len(one.whole) - 1), one.generation.scores)


def _prompt(turn: Turn, row: int) -> Tokens:
    recorded = turn.check.trace[row]
    return recorded.token_ids[min(1, recorded.prompt_tokens - 1) : recorded.prompt_tokens]


def _generated(turn: Turn, group: str, rows: Sequence[int]) -> list[_Made]:
    prompts = [_prompt(turn, row) for row in rows]
    generations = turn.check.asker.generate(
        prompts,
        max_new_tokens=DECODED,
        sampling=OWN,
        seeds=None,
        top_k=TOP_K,
        at_once=BUSY,
    )
    return [
        _Made(group=group, row=row, prompt=prompt, generation=generation)
        for row, prompt, generation in zip(rows, prompts, generations, strict=True)
    ]


def _twice(turn: Turn, rows: Sequence[int]) -> list[_Made]:
    """Each prompt, and at its heels the same prompt again, for fewer tokens."""
    made: list[_Made] = []
    for start in range(0, len(rows), PAIRS):
        part = rows[start : start + PAIRS]
        jobs = [("decode", row) for row in part] + [(HIT_DECODING, row) for row in part]
        answers = in_parallel(lambda job: _alone(turn, *job), jobs, len(jobs))
        made += [one for one, _ in answers]
        ended = [moment for _, moment in answers]
        turn.session.pairs += len(part)
        turn.session.overlapping += sum(
            second < first
            for first, second in zip(ended[: len(part)], ended[len(part) :], strict=True)
        )
    return made


def _alone(turn: Turn, group: str, row: int) -> tuple[_Made, float]:
    """One request, and when it was answered."""
    prompt = _prompt(turn, row)
    (generation,) = turn.check.asker.generate(
        [prompt],
        max_new_tokens=COMPANY if group == "decode" else DECODED,
        sampling=OWN,
        seeds=None,
        top_k=TOP_K,
        at_once=1,
    )
    made = _Made(group=group, row=row, prompt=prompt, generation=generation)
    return made, time.monotonic()


def chunks(turn: Turn) -> Iterator[Found]:
    """The next token after growing prefixes, whose context is cached, against one whole score."""
    sequences = turn.sequences()
    lengths = [consistency.cuts(len(tokens)) for tokens in sequences]
    pieces: list[list[Scores]] = [[] for _ in sequences]
    for cut in range(consistency.CUTS):  # a longer prefix after a shorter: its context is cached
        places = [i for i in range(len(sequences)) if cut < len(lengths[i])]
        prefixes = [sequences[i][: lengths[i][cut]] for i in places]
        generations = turn.check.asker.generate(
            prefixes,
            max_new_tokens=1,
            sampling=OWN,
            seeds=None,
            top_k=TOP_K,
            at_once=BUSY,
        )
        turn.check.tokens += sum(map(len, prefixes)) + len(prefixes)
        for i, generation in zip(places, generations, strict=True):
            pieces[i].append(generation.scores)
            turn.session.cache_of("chunks").add(sequences[i][: lengths[i][cut]], generation)
    for row, scores, ends, parts in zip(turn.rows, turn.usual(), lengths, pieces, strict=True):
        whole = consistency.at_cuts(scores, ends)
        distance = between(whole, consistency.stacked(parts, whole.top_ids[:, 0]))
        yield Found(group="chunks", row=row, distance=distance)
