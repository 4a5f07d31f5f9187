"""Two runs of scored records, compared: DIFFERENT with its direction, or INCONCLUSIVE.

Scores say better or worse and never that two engines are the same, so there is no EQUIVALENT
here. "Not worse by more than a margin" is a statement of its own beside the word.

One look at a size fixed beforehand: McNemar's exact test (sign flips where a case has repeats or
other scores than 0 and 1), Holm over the suites. `sequential`: the suites' wealths, averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.base.scored import Scored
from harness.checker.outcome import Word
from harness.checker.tasks import several, within
from harness.checker.tasks.pairing import pair
from harness.checker.tasks.suite import Question, SuiteFinding, look


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksFinding:
    """All suites together."""

    word: Word
    question: Question
    suites: tuple[SuiteFinding, ...]
    different: tuple[str, ...]  # suites that differ, each by itself
    log10_average: float | None  # of the suites' evidence; None: no case on both sides
    within: bool | None  # not worse by more than the margin in any suite; None: not asked


def compare(
    reference: Sequence[Scored],
    candidate: Sequence[Scored],
    question: Question,
    rng: np.random.Generator,
) -> TasksFinding:
    """`rng` draws the sign flips and the bootstrap: the same seed, the same finding."""
    paired = pair(reference, candidate)
    asked = sum(bool(suite.cases) for suite in paired)
    streams = rng.spawn(len(paired))
    found = [look(p, question, asked, r) for p, r in zip(paired, streams, strict=True)]
    suites = _adjusted(found)
    logs = [suite.log10_either * math.log(10) for suite in suites if suite.paired.cases]
    average = several.log_average(logs) if logs else None
    different = tuple(s.paired.suite for s in suites if _differs(s, question, asked))
    said = bool(different)
    if question.sequential:
        said = average is not None and average >= -math.log(question.alpha)
    return TasksFinding(
        word=Word.DIFFERENT if said else Word.INCONCLUSIVE,
        question=question,
        suites=suites,
        different=different,
        log10_average=None if average is None else average / math.log(10),
        within=None if question.margin is None else _within(suites, question.alpha),
    )


def _differs(suite: SuiteFinding, question: Question, suites: int) -> bool:
    if question.sequential:
        alone = several.log_alone(suite.log10_either * math.log(10), max(suites, 1))
        return alone >= -math.log(question.alpha)
    return suite.p_holm is not None and suite.p_holm <= question.alpha


def _within(suites: Sequence[SuiteFinding], alpha: float) -> bool:
    """Of every suite, at alpha each: "in all of them" needs no correction (Berger,
    Technometrics 24, 1982). A case that the candidate left out might have been a lost one."""
    return bool(suites) and all(
        within.shown(log10_evidence=suite.log10_within, p=suite.p_within, alpha=alpha)
        and suite.paired.reference_alone == 0
        for suite in suites
    )


def _adjusted(suites: Sequence[SuiteFinding]) -> tuple[SuiteFinding, ...]:
    """A suite in which no case differs takes part: its p is 1, and it is one of those asked."""
    asked = [suite for suite in suites if suite.paired.cases]
    adjusted = several.holm([1.0 if suite.p is None else suite.p for suite in asked])
    by_name = {s.paired.suite: p for s, p in zip(asked, adjusted, strict=True)}
    return tuple(
        replace(suite, p_holm=None if suite.p is None else by_name[suite.paired.suite])
        for suite in suites
    )
