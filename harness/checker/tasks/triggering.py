"""Tool calls triggered: does the candidate call a tool where the reference did?

    TP  both call                     precision  TP / (TP + FP)
    FP  the candidate alone           recall     TP / (TP + FN)
    FN  the reference alone           F1         2 TP / (2 TP + FP + FN)
    TN  neither                       schema     valid calls / answers that call

Counted by finish reasons, as K2-Vendor-Verifier does, but for what nobody knows: a request that
failed, or an answer that was cut off (there: no call). It is in no estimate, in every bound, and
counted. `ratios` says how far off each number may be.

An F1 alone says little: two runs of one engine do not agree on every case. `against_itself` sets
the candidate's beside that of the reference's second run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from harness.base.trigger import Trigger
from harness.checker.tasks.f1_differences import Difference, difference, resampled
from harness.checker.tasks.pairing import Bounds
from harness.checker.tasks.ratios import (
    APART,
    HIT,
    MISS,
    Measure,
    Part,
    Ratio,
    add_up,
    f1,
    measure,
)

Pair = tuple[Trigger, Trigger]  # the reference's and the candidate's, of one case


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens, summed over the answers that tell them. None: none does, which is not 0."""

    prompt_tokens: int | None
    completion_tokens: int | None
    untold: int  # answers that leave one of them out


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerFinding:
    """One candidate beside the reference."""

    cases: int
    pairs: int  # = tp + fp + fn + tn + those of which a side is not known
    tp: int
    fp: int
    fn: int
    tn: int
    unanswered: int  # pairs of which the candidate's side is not known
    missing: int  # of these: without any record
    reference_unanswered: int
    precision: Measure
    recall: Measure
    f1: Measure
    f1_resampled: Bounds | None  # the bootstrap's interval; None: it saw no spread
    schema: Measure
    finish_reasons: Mapping[str, int]  # of the candidate's answers, the most frequent first
    reference_finish_reasons: Mapping[str, int]
    contradicted: int  # candidate's answers whose calls and finish reason disagree
    usage: Usage  # the candidate's


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstItself:
    """What the candidate's F1 is worth: that of the reference against itself is the yardstick."""

    itself: Measure  # F1 of the reference's second run, against its first
    candidate: Measure  # F1 of the candidate, against the same first run
    difference: Difference  # candidate less itself; engines that are the same: 0 on average


def compare(
    reference: Sequence[Trigger], candidate: Sequence[Trigger], rng: np.random.Generator
) -> TriggerFinding:
    """Every record of the reference is a request that the candidate was to answer. A case that the
    reference answered once is held against all repeats of the candidate.

    `rng` draws the bootstrap. ValueError: a record stands twice, or has no partner to be.
    """
    pairs = list(_pairs(reference, candidate))
    cases = _cases(reference)
    tally = Counter((ours.called, theirs.called) for ours, theirs in pairs)
    triggers = _ratio(cases, pairs, _jaccard)
    return TriggerFinding(
        cases=len(cases),
        pairs=len(pairs),
        tp=tally[True, True],
        fp=tally[False, True],
        fn=tally[True, False],
        tn=tally[False, False],
        unanswered=sum(theirs.called is None for _, theirs in pairs),
        missing=len(pairs) - len(candidate),
        reference_unanswered=sum(ours.called is None for ours, _ in pairs),
        precision=measure(_ratio(cases, pairs, _precision)),
        recall=measure(_ratio(cases, pairs, _recall)),
        f1=measure(triggers, f1),
        f1_resampled=resampled(triggers, rng),
        schema=schema([theirs for _, theirs in pairs]),
        finish_reasons=finish_reasons(candidate),
        reference_finish_reasons=finish_reasons(reference),
        contradicted=sum(theirs.contradicts_itself for theirs in candidate),
        usage=usage(candidate),
    )


def against_itself(
    recorded: Sequence[Trigger],
    again: Sequence[Trigger],
    candidate: Sequence[Trigger],
    rng: np.random.Generator,
) -> AgainstItself:
    """`again`: a second run of the reference, over the cases of the first. A case counts whole, on
    both sides of the difference."""
    cases = _cases(recorded)
    itself = _ratio(cases, list(_pairs(recorded, again)), _jaccard)
    theirs = _ratio(cases, list(_pairs(recorded, candidate)), _jaccard)
    return AgainstItself(
        itself=measure(itself, f1),
        candidate=measure(theirs, f1),
        difference=difference(theirs, itself, rng),
    )


def schema(answers: Sequence[Trigger]) -> Measure:
    """Of the answers that call, those whose calls are all valid. One that says it calls, and does
    not, is none of them; of a request that failed any of it may have been so."""
    parts = ((answer.case, _valid(answer)) for answer in answers)
    return measure(add_up(_cases(answers), parts))


def finish_reasons(answers: Iterable[Trigger]) -> dict[str, int]:
    """How many answers ended so, the most frequent first. A request that failed has none."""
    counts = Counter(a.finish_reason for a in answers if a.finish_reason is not None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def usage(answers: Sequence[Trigger]) -> Usage:
    prompt = [a.prompt_tokens for a in answers if a.prompt_tokens is not None]
    completion = [a.completion_tokens for a in answers if a.completion_tokens is not None]
    return Usage(
        prompt_tokens=sum(prompt) if prompt else None,
        completion_tokens=sum(completion) if completion else None,
        untold=sum(
            a.finish_reason is not None and None in (a.prompt_tokens, a.completion_tokens)
            for a in answers
        ),
    )


def _pairs(reference: Sequence[Trigger], candidate: Sequence[Trigger]) -> Iterator[Pair]:
    """In the order of cases and repeats. What the candidate has no record of is unanswered."""
    ours, theirs = _by_case(reference), _by_case(candidate)
    for case in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(case, {}), theirs.get(case, {})
        if len(mine) == 1 and other:
            mine = dict.fromkeys(other, *mine.values())
        if strange := other.keys() - mine.keys():
            raise ValueError(f"case {case!r}, repeat {min(strange)}: the reference has no such one")
        for repeat in sorted(mine):
            yield mine[repeat], other.get(repeat) or _unanswered(case, repeat)


def _by_case(records: Iterable[Trigger]) -> dict[str, dict[int, Trigger]]:
    found: dict[str, dict[int, Trigger]] = {}
    for record in records:
        repeats = found.setdefault(record.case, {})
        if record.repeat in repeats:
            raise ValueError(f"case {record.case!r}, repeat {record.repeat}: stands there twice")
        repeats[record.repeat] = record
    return found


def _unanswered(case: str, repeat: int) -> Trigger:
    return Trigger(
        case=case,
        repeat=repeat,
        finish_reason=None,
        calls=None,
        valid=None,
        prompt_tokens=None,
        completion_tokens=None,
    )


def _cases(records: Iterable[Trigger]) -> list[str]:
    return sorted({record.case for record in records})


def _ratio(
    cases: Sequence[str], pairs: Iterable[Pair], part: Callable[[bool, bool], Part]
) -> Ratio:
    """`part`: what a pair adds, of whether the reference and the candidate call."""
    return add_up(
        cases,
        (
            (ours.case, {part(r, c) for r, c in product(_may(ours), _may(theirs))})
            for ours, theirs in pairs
        ),
    )


def _may(answer: Trigger) -> tuple[bool, ...]:
    """Whether it calls, or both where nobody knows."""
    return (False, True) if answer.called is None else (answer.called,)


def _precision(reference: bool, candidate: bool) -> Part:
    return reference and candidate, candidate


def _recall(reference: bool, candidate: bool) -> Part:
    return reference and candidate, reference


def _jaccard(reference: bool, candidate: bool) -> Part:
    return reference and candidate, reference or candidate


def _valid(answer: Trigger) -> set[Part]:
    if answer.called is None:
        return {HIT, MISS, APART}
    if not answer.called:
        return {APART}
    if answer.calls == 0:
        return {MISS}
    return {HIT, MISS} if answer.valid is None else {HIT if answer.valid else MISS}
