"""L2 asked: the reference's own tokens, scored by the candidate, stratum by stratum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from harness import evidence
from harness.base.errors import RequestError
from harness.base.record import Scores
from harness.checker import forced
from harness.checker.distance import FEWEST, SEGMENT, over, worst_segment
from harness.checker.judge import OF_GIVEN_TOKENS, STATISTICS, Judge
from harness.checker.outcome import Word
from harness.checker.shares import SHARES
from harness.client import BUSY
from harness.levels import askable, prefixed, telling
from harness.levels.state import Check, Finding
from harness.levels.strata import Asked, strata_table
from harness.levels.turn import TOP_K

TITLE = "teacher-forced: the reference's tokens, scored"


def run(check: Check) -> tuple[Word, list[str]]:
    """L2: the reference's own tokens, scored by the candidate, stratum by stratum."""
    unscored = askable.missing(check, "score")
    if unscored:
        return prefixed.run(check, unscored)
    trace, settings = check.trace, check.settings
    given = askable.alternatives(check, "score", check.top_k)
    strata = [s for s in trace.strata if s not in askable.too_long(check)]
    too_long = list(askable.too_long(check).values())
    if not strata:
        return Word.INCONCLUSIVE, too_long or ["no evidence: the trace holds no sequence"]
    asked = {stratum: Asked() for stratum in strata}
    judge = Judge(
        level="L2",
        statistics=STATISTICS if given >= FEWEST else OF_GIVEN_TOKENS,
        groups={s: (len(trace.members(s)), check.tolerances.of(s)) for s in strata},
        alpha=settings.alpha * SHARES["L2"],
        beta=settings.beta,
        together=True,
    )
    check.judges.append(judge)
    orders = {
        s: forced.permutation(trace.members(s), seed=settings.seed, name=s)[: settings.prompts]
        for s in strata
    }
    for rows in forced.rounds(judge, orders):
        for row, scores in zip(rows, _scores(check, rows), strict=True):
            _judge_forced(check, judge, row, scores, asked)
        check.announce(telling.progress(judge, check.tokens))
    check.findings["L2"] = {"strata": strata_table(check, asked)}
    if judge.word() is Word.DIFFERENT:
        _ask_alone(check)
    lacking = [*too_long, *_one_stratum(trace.strata), *_too_few(given, check.top_k)]
    return askable.at_best_inconclusive(judge.word(), telling.explain(judge), lacking)


def rejudge(judge: Judge, path: Path) -> None:
    """Gives a fresh `judge` what a check has found, from its evidence: the same rows and word.

    To the digits of float32, in which divergences and margins are written.
    """
    for stratum, distances in evidence.distances(path, level="L2"):
        judge.extend(stratum, distances)


def _one_stratum(strata: Sequence[str]) -> list[str]:
    if len(strata) > 1:
        return []
    return [f"the trace has one stratum only ({strata[0]}); EQUIVALENT needs two at least"]


def _too_few(given: int, wanted: int) -> list[str]:
    if given == wanted:
        return []
    return [
        f"the endpoint gives {given} alternatives of a position, EQUIVALENT needs the trace's "
        f"{wanted}; what it gives was judged"
    ]


def _scores(check: Check, rows: list[int]) -> list[Scores]:
    """The candidate's scores of trace rows, asked together; L1 takes up what it can draw."""
    sequences = [check.trace[row].token_ids for row in rows]
    given = askable.alternatives(check, "score", check.top_k)
    answers = check.asker.score(sequences, given, at_once=BUSY)
    check.tokens += sum(map(len, sequences))
    for row, answer in zip(rows, answers, strict=True):
        if row in check.kept:
            check.scores[row] = answer.best(TOP_K).copied()
    return answers


def _judge_forced(
    check: Check, judge: Judge, row: int, scores: Scores, asked: Mapping[str, Asked]
) -> None:
    recorded = check.trace[row]
    given = askable.alternatives(check, "score", check.top_k)
    distance = over(given, recorded.scores, scores)
    judge.add(recorded.case.stratum, distance)
    check.evidence.add("L2", recorded.case.stratum, recorded.case.id, distance)
    check.histogram.add(distance.d)
    ids = np.array(recorded.token_ids[1:])
    check.breakdown.add(distance.d, check.classes[ids], recorded.prompt_tokens)
    asked[recorded.case.stratum].add(recorded, distance, check.classes[ids])
    mean, start = worst_segment(distance.d)
    if mean > check.worst.mean:
        part = scores.slice(start, start + SEGMENT)
        check.worst = Finding(mean=mean, row=row, start=start, scores=part, whole=scores)


def _ask_alone(check: Check) -> None:
    """The worst sequence again with nothing beside it, as somebody who is shown it will ask.

    An engine that is gone by now does not take back what was found.
    """
    tokens = check.trace[check.worst.row].token_ids
    given = askable.alternatives(check, "score", check.top_k)
    with suppress(RequestError):
        (check.worst.alone,) = check.asker.score([tokens], given, at_once=1)
        check.tokens += len(tokens)


def worst_segment_table(check: Check) -> dict[str, Any] | None:
    """The 16 tokens where the candidate is furthest off, side by side with the reference."""
    worst = check.worst
    if worst.scores is None:
        return None
    recorded = check.trace[worst.row]
    span = range(worst.start, worst.start + len(worst.scores.logprobs))
    reference = recorded.scores.slice(span.start, span.stop)
    return {
        "case_id": recorded.case.id,
        "stratum": recorded.case.stratum,
        "mean_absolute_d": worst.mean,
        "tokens": [
            {
                "position": row + 1,
                "text": _read(check, recorded.token_ids[row + 1]),
                "reference_logprob": float(reference.logprobs[i]),
                "candidate_logprob": float(worst.scores.logprobs[i]),
                "reference_top": _read(check, int(reference.top_ids[i, 0])),
                "candidate_top": _read_top(check, worst.scores, i),
            }
            for i, row in enumerate(span)
        ],
    }


def _read(check: Check, token_id: int) -> str:
    return check.texts.get(token_id, f"<id {token_id}>")


def _read_top(check: Check, scores: Scores, position: int) -> str:
    if scores.top_ids.shape[1] == 0:
        return "(not given)"
    return _read(check, int(scores.top_ids[position, 0]))
