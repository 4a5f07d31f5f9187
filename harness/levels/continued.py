"""Whole answers drawn by the candidate, each token a draw from a distribution that is told
afterwards: by a live reference, or by the candidate itself once its prefill is shown to be right.

What goes wrong only as decoding goes on shows here: engines count the penalties of OpenAI's API,
and SGLang all of them, over generated tokens alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.base.record import Bools, Floats, Generation, Scores
from harness.checker.sampling import Counts, Parameters, Prefixes
from harness.checker.sampling_prefixes import Candidates, telling, variance
from harness.checker.tolerance import ALL
from harness.client import BUSY, Asker
from harness.levels.state import Check
from launchers.dialect import Tokens

PROMPT = 12  # tokens of a recorded sequence, that an answer goes on from
NEW_TOKENS = 56
ANSWERS = 64
MOST = 1_000  # draws that are judged: their grid takes seconds
VARIANCE = 0.1  # nats squared, of the logprob: less tells next to nothing, and takes as long
REST = 0.06  # of the mass that may not be listed: at another temperature it is a guess


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Positions whose next token was drawn once, and by what the reference holds it likely."""

    prefixes: Prefixes  # P
    counts: Counts  # (P, k + 1): one 1 in each row, the last column the rest
    generated: int  # tokens, of which only those that tell are among the draws
    tokens: int  # that the candidate was asked for: prompts, answers, and their scores if its own


def draws(
    check: Check,
    scorer: Asker,
    found: Candidates,
    fields: Mapping[str, Any],
    promised: Parameters,
    *,
    most: int = MOST,
) -> Draws | None:
    """None: the trace has no sequence that tells enough, or nothing that told enough was drawn.

    `scorer` tells the distributions; `fields` are sent. Which position counts depends on what is
    told of it, never on what was drawn there.
    """
    prompts = _prompts(check, found)
    if not prompts:
        return None
    generations = check.asker.generate(
        prompts,
        max_new_tokens=NEW_TOKENS,
        sampling=fields,
        seeds=None,
        top_k=1,
        at_once=BUSY,
    )
    wholes = [p + g.token_ids for p, g in zip(prompts, generations, strict=True)]
    own = scorer is check.asker
    scores = scorer.score(wholes, check.top_k, at_once=BUSY if own else 2)
    parts = [_of(*one) for one in zip(prompts, generations, scores, strict=True)]
    logprobs, seen, columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    prefixes = Prefixes(logprobs=logprobs, named=np.ones_like(seen), seen=seen)
    told = telling(
        prefixes,
        promised,
        off=check.tolerances.of(ALL).benign_d_999,
        variance_from=VARIANCE,
        rest_upto=REST,
    )
    places = np.flatnonzero(told)[:most]
    if not len(places):
        return None
    counts = np.zeros((len(places), check.top_k + 1), dtype=np.int64)
    counts[np.arange(len(places)), columns[places]] = 1
    return Draws(
        prefixes=prefixes.take(places),
        counts=counts,
        generated=len(told),
        tokens=sum(map(len, wholes)) * (1 + own),
    )


def _prompts(check: Check, found: Candidates) -> list[Tokens]:
    """The beginnings of the sequences whose beginnings tell most, in turn."""
    worth = np.bincount(
        found.rows,
        weights=variance(np.exp(found.prefixes.logprobs), found.prefixes.logprobs),
        minlength=len(check.trace),
    )
    best = [row for row in np.argsort(-worth, kind="stable").tolist() if worth[row] > 0]
    rows = best[:ANSWERS]
    return [check.trace[rows[i % len(rows)]].token_ids[:PROMPT] for i in range(ANSWERS) if rows]


def _of(
    prompt: Tokens, generation: Generation, scores: Scores
) -> tuple[Floats, Bools, Sequence[int]]:
    """Of each generated token: the listed logprobs (N, k), which of these have occurred (N, k), and
    the column that was drawn (N,)."""
    whole = prompt + generation.token_ids
    part = scores.slice(len(prompt) - 1, len(whole) - 1)
    ends = range(len(prompt), len(whole))
    seen = [np.isin(ids, whole[:end]) for ids, end in zip(part.top_ids, ends, strict=True)]
    hit = part.top_ids == np.array(generation.token_ids)[:, None]
    columns = np.where(hit.any(axis=1), hit.argmax(axis=1), part.top_ids.shape[1])
    return part.top_logprobs.astype(np.float64), np.array(seen), columns.tolist()
