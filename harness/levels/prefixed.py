"""L2 where given tokens cannot be scored, but what is generated comes with its alternatives.

The candidate is asked for one token after prefixes of the recorded sequences, and what it names at
that place is held against the trace. With prompts as token ids at a few places of each sequence;
where there are chats alone, at the first token of each answer.

Trade-off accepted: a request is needed for each place, so most of a sequence is not seen. That is
enough to find a fault in the bulk, and not to exclude one: DIFFERENT or INCONCLUSIVE, and the
sparse statistic S, whose segments are 16 tokens, is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.base.case import Chat
from harness.base.record import Distance
from harness.checker import consistency, forced, prefixes
from harness.checker.distance import FEWEST, between
from harness.checker.judge import STATISTICS, Judge
from harness.checker.outcome import Word
from harness.checker.shares import SHARES
from harness.client import in_parallel
from harness.levels import askable, telling
from harness.levels.state import Check
from harness.recording import Recorded
from launchers import openai_api
from launchers.dialect import Request

AT_ONCE = 4  # somebody else's server has a rate limit
PROMPTS = 40  # of each stratum, at most
ROUND = 4  # prompts of each stratum
BULK = tuple(statistic for statistic in STATISTICS if statistic.name in "AKF")
OWN = {"max_tokens": 1, "temperature": 1.0, "top_p": 1.0}  # logprobs are the model's own


def run(check: Check, unscored: list[str]) -> tuple[Word, list[str]]:
    """`unscored`: why given tokens cannot be scored."""
    chats = bool(askable.missing(check, "completions", "completion_logprobs", "token_id_prompts"))
    name = "chat_logprobs" if chats else "completion_logprobs"
    lacking = askable.missing(check, name)
    if lacking or askable.alternatives(check, name, check.top_k) < FEWEST:
        return Word.INCONCLUSIVE, [*unscored, *lacking]
    orders = _orders(check, chats=chats)
    if not orders:
        return Word.INCONCLUSIVE, [*unscored, "the trace holds no chat"]
    judge = Judge(
        level="L2",
        statistics=BULK,
        groups={s: (len(rows), check.tolerances.of(s)) for s, rows in orders.items()},
        alpha=check.settings.alpha * SHARES["L2"],
        beta=check.settings.beta,
    )
    check.judges.append(judge)
    for start in range(0, PROMPTS, ROUND):
        rows = [row for order in orders.values() for row in order[start : start + ROUND]]
        if not rows or judge.word() is Word.DIFFERENT:
            break
        for row, distance in zip(rows, _distances(check, rows, chats=chats), strict=True):
            recorded = check.trace[row]
            judge.add(recorded.case.stratum, distance)
            check.evidence.add("L2", recorded.case.stratum, recorded.case.id, distance)
        check.announce(telling.progress(judge, check.tokens))
    if judge.word() is Word.DIFFERENT:
        return Word.DIFFERENT, telling.explain(judge)
    return Word.INCONCLUSIVE, [_seen(judge, chats=chats), *unscored]


def _orders(check: Check, *, chats: bool) -> dict[str, list[int]]:
    """The rows of each stratum that can be asked, as they are drawn."""
    trace, orders = check.trace, dict[str, list[int]]()
    for stratum in trace.strata:
        order = forced.permutation(
            trace.members(stratum), seed=check.settings.seed, name=f"prefixed {stratum}"
        )
        if not chats or isinstance(trace[order[0]].case.prompt, Chat):  # a stratum is of one kind
            orders[stratum] = order
    return orders


def _distances(check: Check, rows: Sequence[int], *, chats: bool) -> list[Distance]:
    recorded = [check.trace[row] for row in rows]
    places = [_places(one, chats=chats) for one in recorded]
    pairs = [(one, at) for one, cuts in zip(recorded, places, strict=True) for at in cuts]
    name = "chat_logprobs" if chats else "completion_logprobs"
    k = askable.alternatives(check, name, check.top_k)

    def ask(pair: tuple[Recorded, int]) -> Mapping[str, float]:
        answer = check.asker.endpoint.send(_request(check, *pair, k, chats=chats))
        return openai_api.first_alternatives(answer)

    named = in_parallel(ask, pairs, AT_ONCE)
    check.tokens += sum(at + 1 for _, at in pairs)
    distances: list[Distance] = []
    for one, cuts in zip(recorded, places, strict=True):
        theirs, named = named[: len(cuts)], named[len(cuts) :]
        at = np.array(cuts) - 1  # position t stands in row t - 1
        ours = [
            prefixes.by_text(ids, logprobs, check.texts)
            for ids, logprobs in zip(
                one.scores.top_ids[at], one.scores.top_logprobs[at], strict=True
            )
        ]
        distances.append(between(*prefixes.compared(ours, theirs)))
    return distances


def _places(recorded: Recorded, *, chats: bool) -> tuple[int, ...]:
    """How many tokens stand before each place."""
    if chats:
        return (recorded.prompt_tokens,)
    return tuple(dict.fromkeys(consistency.cuts(len(recorded.token_ids))))


def _request(check: Check, recorded: Recorded, at: int, k: int, *, chats: bool) -> Request:
    if not chats:
        fields: dict[str, Any] = {**OWN, "logprobs": k}
        return openai_api.completion(check.asker.dialect.model, recorded.token_ids[:at], fields)
    prompt = recorded.case.prompt
    assert isinstance(prompt, Chat)
    body = check.asker.dialect.chat(prompt)
    assert body is not None  # what has no chat API has no logprobs of it
    return openai_api.chat(body, {**OWN, "logprobs": True, "top_logprobs": k})


def _seen(judge: Judge, *, chats: bool) -> str:
    units = sum(row.units for row in judge.rows() if row.statistic == BULK[0].name)
    above = [row for row in judge.rows() if row.above()]
    where = "the first token of its answer" if chats else f"{consistency.CUTS} places"
    found = (
        f"{above[0].group}: {above[0].statistic} is above its tolerance, and not surely so"
        if above
        else "nothing is above its tolerance"
    )
    return f"only {where} of each of {units} prompts could be compared: {found}"
