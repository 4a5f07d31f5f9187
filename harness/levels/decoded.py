"""L2b asked: the candidate generates, greedy and then at T = 1; a live reference scores what came.

A prompt counts in three groups: what the candidate reported of the greedy tokens, what it reported
of the sampled ones, and how far its greedy choices are from the reference's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.base.record import Generation, Scores
from harness.checker import decoded
from harness.checker.decoded import GREEDY_MARGIN
from harness.checker.distance import over
from harness.checker.judge import Judge
from harness.checker.outcome import Word
from harness.checker.shares import SHARES
from harness.checker.tolerance import ALL
from harness.client import BUSY
from harness.levels import askable, telling
from harness.levels.state import Check
from launchers.dialect import Tokens
from launchers.pins import GREEDY, OWN

TITLE = "decode: what it generates, scored by a live reference"
NEW_TOKENS = 24  # of each continuation: several segments of 16
BUDGET = 20_000  # tokens that the candidate is asked for, prompts included
ROUND = 16  # prompts
WAYS = {"greedy": GREEDY, "sampled": OWN}
MARGIN = "greedy margin"
SHOWN = 5  # divergences in the findings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Divergence:
    """Where the candidate's greedy path first leaves the reference's."""

    case_id: str
    position: int  # of the generated tokens, from 0
    margin: float  # nats, of the reference
    chosen: int  # token id
    reference: int


@dataclass(slots=True, kw_only=True)
class _Found:
    prompts: int = 0
    divergences: list[_Divergence] = field(default_factory=list[_Divergence])


def run(check: Check) -> tuple[Word | None, list[str]]:
    """L2b, where there is a live reference."""
    if check.live is None:
        return None, ["there is no live reference (--live keeps it running)"]
    lacking = askable.missing(check, "generate")
    if lacking:
        return Word.INCONCLUSIVE, lacking
    rows = _rows(check)
    if not rows:
        return Word.INCONCLUSIVE, [f"no prompt is short enough for {BUDGET:,} tokens in all"]
    judge = _judge(check, len(rows))
    check.judges.append(judge)
    found = _Found()
    size = max(ROUND, check.live.asker.dialect.sequences_per_request)  # streamed: all in one pass
    for start in range(0, len(rows), size):
        if judge.word() is not Word.INCONCLUSIVE:
            break
        part = rows[start : start + size]
        for way in WAYS:
            _judge_way(check, judge, found, way, part)
        check.announce(telling.progress(judge, check.tokens))
    check.findings["L2b"] = _findings(check, found, rows)
    return judge.word(), [*telling.explain(judge), _told(found)]


def _rows(check: Check) -> list[int]:
    """The trace rows whose prompts are continued."""
    return decoded.drawn(
        check.trace.prompt_tokens_of,
        new_tokens=NEW_TOKENS,
        times=len(WAYS),
        budget=BUDGET,
        seed=check.settings.seed,
    )


def _judge(check: Check, population: int) -> Judge:
    tolerance = check.tolerances.of(ALL)
    return Judge(
        level="L2b",
        groups=dict.fromkeys((*WAYS, MARGIN), (population, tolerance)),
        own={MARGIN: [GREEDY_MARGIN]},
        alpha=check.settings.alpha * SHARES["L2b"],
        beta=check.settings.beta,
    )


def _judge_way(check: Check, judge: Judge, found: _Found, way: str, rows: Sequence[int]) -> None:
    """One way of sampling, over some prompts."""
    prompts = [_prompt(check, row) for row in rows]
    generations = check.asker.generate(
        prompts,
        max_new_tokens=NEW_TOKENS,
        sampling=WAYS[way],
        seeds=None,
        top_k=_alternatives(check),
        at_once=BUSY,
    )
    check.tokens += sum(
        len(p) + len(g.token_ids) for p, g in zip(prompts, generations, strict=True)
    )
    references = _scored(check, prompts, generations)
    for row, generation, reference in zip(rows, generations, references, strict=True):
        case_id = check.trace.case_ids[row]
        distance = over(_alternatives(check), reference, generation.scores)
        check.evidence.add("L2b", way, case_id, distance)
        if not judge.settled(way):
            judge.add(way, distance)
        if way == "greedy":
            _judge_margin(check, judge, found, case_id, generation, reference)


def _judge_margin(
    check: Check,
    judge: Judge,
    found: _Found,
    case_id: str,
    generation: Generation,
    reference: Scores,
) -> None:
    margin = decoded.margins(reference)
    check.evidence.add("L2b", MARGIN, case_id, decoded.as_distance(margin))
    if not judge.settled(MARGIN):
        judge.add(MARGIN, decoded.as_distance(margin))
    found.prompts += 1
    at = decoded.first_divergence(margin)
    if at is not None:
        found.divergences.append(
            _Divergence(
                case_id=case_id,
                position=at,
                margin=float(margin[at]),
                chosen=generation.token_ids[at],
                reference=int(reference.top_ids[at, 0]),
            )
        )


def _prompt(check: Check, row: int) -> Tokens:
    recorded = check.trace[row]
    return recorded.token_ids[: recorded.prompt_tokens]


def _alternatives(check: Check) -> int:
    return askable.alternatives(check, "generate", check.top_k)


def _scored(
    check: Check, prompts: Sequence[Tokens], generations: Sequence[Generation]
) -> list[Scores]:
    """What the live reference says of the generated tokens alone."""
    assert check.live is not None
    wholes = [p + g.token_ids for p, g in zip(prompts, generations, strict=True)]
    scores = check.live.asker.score(wholes, check.top_k, at_once=2)
    return [
        one.slice(len(prompt) - 1, len(whole) - 1)
        for one, prompt, whole in zip(scores, prompts, wholes, strict=True)
    ]


def _findings(check: Check, found: _Found, rows: Sequence[int]) -> dict[str, Any]:
    assert check.live is not None
    worst = sorted(found.divergences, key=lambda one: -one.margin)
    return {
        "reference": check.live.title,
        "prompts": found.prompts,
        "population": len(rows),
        "longest_prompt": max(check.trace.prompt_tokens_of[row] for row in rows),
        "new_tokens": NEW_TOKENS,
        "diverged": len(worst),
        "divergences": [
            {
                "case_id": one.case_id,
                "position": one.position,
                "margin": one.margin,
                "candidate": check.texts.get(one.chosen, f"<id {one.chosen}>"),
                "reference": check.texts.get(one.reference, f"<id {one.reference}>"),
            }
            for one in worst[:SHOWN]
        ],
    }


def _told(found: _Found) -> str:
    if not found.divergences:
        return f"all {found.prompts} greedy continuations are the reference's own"
    largest = max(one.margin for one in found.divergences)
    return (
        f"{len(found.divergences)} of {found.prompts} greedy continuations leave the reference's "
        f"own path, where its choice is at most {largest:.3g} nats more probable"
    )
