"""Several engines and no reference: all score the same tokens, and all pairs are compared.

Every engine renders the same prompts; the first continues them, and each scores prompt and
continuation. Who stands alone against a majority that agrees is named; where there is no such
majority, nobody can tell, and that is what is said. Agreement is not correctness, so nobody is
called EQUIVALENT.

runs/<id>/  comparison.json  report.html  candidates/<n>/engine.log  candidates/<n>/answers.trace
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from harness import candidate, recording
from harness.base.case import Case
from harness.base.errors import RequestError
from harness.base.record import Floats
from harness.candidate import Opened
from harness.checker import consensus
from harness.checker.consensus import Consensus, mean_absolute
from harness.checker.outcome import Word
from harness.client import BUSY
from harness.comparison import Pair, Row, listed
from harness.recording import Recorded, Trace
from launchers.dialect import Tokens
from launchers.pins import NUMERICS_CLASSES, OWN, LoadedPin

Announce = Callable[[str], None]
NEW_TOKENS = 48  # that the first engine adds to each prompt, at T = 1
TOP_K = 2  # the alternatives are not compared; two are the fewest that every engine gives
MAXIMUM = 8  # engines: all pairs and all majorities of them are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One engine that takes part. `pin` None: a running server."""

    name: str
    title: str
    numerics: str
    pin: LoadedPin | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one engine said: `trace` holds its logprobs, a row per sequence."""

    member: Member
    rendered: tuple[Tokens, ...]
    trace: Trace
    tokens: int
    seconds: float
    launch_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What all answers say together; places are those of the answers."""

    rendered_otherwise: dict[int, tuple[str, ...]]  # engine -> cases in which it leaves the rest
    judged: Consensus
    pairs: tuple[Pair, ...]


def ask(
    member: Member,
    cases: Sequence[Case],
    sequences: Sequence[Recorded] | None,
    *,
    folder: Path,
    seed: int,
    announce: Announce,
) -> Answers:
    """Launches one engine and has it score `sequences`; None: it makes them first."""
    log = folder / "engine.log"
    with candidate.opened(member.name, member.pin, log=log, announce=announce) as opened:
        began = time.monotonic()
        announce("rendering")
        rendered = opened.asker.render([case.prompt for case in cases])
        tokens = (
            _continued(opened, rendered, seed)
            if sequences is None
            else [recorded.token_ids for recorded in sequences]
        )
        announce(f"scoring {sum(map(len, tokens)):,} tokens")
        scores = opened.asker.score(tokens, TOP_K, at_once=BUSY)
        seconds, launch = time.monotonic() - began, opened.launch_seconds
    rows = [
        Recorded(case=c, token_ids=t, prompt_tokens=len(r), scores=s)
        for c, t, r, s in zip(cases, tokens, rendered, scores, strict=True)
    ]
    path = folder / "answers.trace"
    manifest = {"answers_of": opened.described()}
    recording.write(path, manifest=manifest, sequences=rows, pool=[], vocabulary={})
    return Answers(
        member=member,
        rendered=tuple(rendered),
        trace=Trace(path),
        tokens=sum(map(len, tokens)),
        seconds=seconds,
        launch_seconds=launch,
    )


def _continued(opened: Opened, prompts: Sequence[Tokens], seed: int) -> list[Tokens]:
    generations = opened.asker.generate(
        prompts,
        max_new_tokens=NEW_TOKENS,
        sampling=OWN,
        seeds=[seed + i for i in range(len(prompts))],
        top_k=TOP_K,
        at_once=BUSY,
    )
    return [p + g.token_ids for p, g in zip(prompts, generations, strict=True)]


def judged(answers: Sequence[Answers], cases: Sequence[Case], alpha: float) -> Finding:
    """All pairs compared, a sequence at a time: memory does not grow with the answers."""
    places = list(combinations(range(len(answers)), 2))
    means = {pair: np.zeros(len(cases)) for pair in places}
    tokens = 0
    for row in range(len(cases)):
        logprobs = [_logprobs(given, row) for given in answers]
        tokens += len(logprobs[0])
        for first, second in places:
            means[first, second][row] = mean_absolute(logprobs[first], logprobs[second])
    looseness = [NUMERICS_CLASSES.index(given.member.numerics) for given in answers]
    weights = np.array([count - 1 for count in answers[0].trace.tokens_of])
    return Finding(
        rendered_otherwise=_rendered_otherwise(answers, cases),
        judged=consensus.judge(means, looseness, alpha),
        pairs=tuple(
            Pair(
                first=first,
                second=second,
                mean_absolute_d=float(np.average(means[first, second], weights=weights)),
                tokens=tokens,
            )
            for first, second in places
        ),
    )


def _logprobs(given: Answers, row: int) -> Floats:
    logprobs = given.trace[row].scores.logprobs
    if not np.isfinite(logprobs).all():
        bad = int(np.argmin(np.isfinite(logprobs)))
        raise RequestError(
            f"{given.member.title}: its logprob of case {given.trace.case_ids[row]} at position "
            f"{bad + 1} is not a finite number"
        )
    return logprobs


def _rendered_otherwise(
    answers: Sequence[Answers], cases: Sequence[Case]
) -> dict[int, tuple[str, ...]]:
    """Who leaves the majority's token ids, where a majority has the same."""
    found: dict[int, list[str]] = {}
    for row, case in enumerate(cases):
        (most, votes), *_ = Counter(given.rendered[row] for given in answers).most_common(1)
        if 2 * votes > len(answers):
            for place, given in enumerate(answers):
                if given.rendered[row] != most:
                    found.setdefault(place, []).append(case.id)
    return {place: tuple(ids) for place, ids in found.items()}


def row_of(place: int, answers: Sequence[Answers], finding: Finding) -> Row:
    """DIFFERENT for who stands alone, INCONCLUSIVE for everybody else."""
    given = answers[place]
    reasons = _reasons(place, answers, finding)
    alone = place in finding.judged.alone or place in finding.rendered_otherwise
    return Row(
        name=given.member.title,
        numerics=given.member.numerics,
        word=Word.DIFFERENT if alone else Word.INCONCLUSIVE,
        level="L0" if place in finding.rendered_otherwise else "L2",
        reasons=tuple(reasons),
        tokens=given.tokens,
        seconds=given.seconds,
        launch_seconds=given.launch_seconds,
        report=None,
        error=None,
        exit_code=1 if alone else 3,
    )


def _reasons(place: int, answers: Sequence[Answers], finding: Finding) -> list[str]:
    core, alone = finding.judged.core, finding.judged.alone
    reasons: list[str] = []
    if place in finding.rendered_otherwise:
        ids = finding.rendered_otherwise[place]
        reasons.append(
            f"it renders {len(ids)} of {len(answers[0].rendered)} prompts into other tokens than "
            f"the majority, {ids[0]} for one"
        )
    if place in alone:
        others = listed([answers[i].member.title for i in core])
        near = max(_between(finding, a, b) for a, b in combinations(core, 2))
        far = min(_between(finding, place, other) for other in core)
        reasons.append(
            f"mean |d| to {others} is {far:.2g} nats a token or more, among these "
            f"{near:.2g} at most"
        )
    elif place in core:
        agreed = listed([answers[i].member.title for i in core if i != place])
        reasons.append(f"it agrees with {agreed}: that is agreement, not correctness")
    return reasons or ["nobody stands alone beyond doubt"]


def _between(finding: Finding, first: int, second: int) -> float:
    low, high = min(first, second), max(first, second)
    found = next(p for p in finding.pairs if (p.first, p.second) == (low, high))
    assert found.mean_absolute_d is not None
    return found.mean_absolute_d


def headline(rows: Sequence[Row]) -> str:
    """Who stands alone, or that nobody can tell."""
    alone = [row.name for row in rows if row.word is Word.DIFFERENT]
    if len(alone) == 1:
        return f"{alone[0]} stands alone."
    if alone:
        return f"{listed(alone)} stand apart from the rest."
    return "Nobody stands alone: without a reference, nothing is decided."
