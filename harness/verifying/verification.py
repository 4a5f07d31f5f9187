"""What a verification says: one word for each deployment, and one for all of them. Pure.

EQUIVALENT needs the check's EQUIVALENT, every case asked and answered, and none broken but what the
pin's release is known not to keep. What a deployment takes that the contract refuses is `not
enforced`: it breaks only the promise of one that was to enforce it, and is said beside the word. So
is an answer that was cut, unless more than half of a suite's answers were, streamed or not. A suite
that keeps nothing is not kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from harness.base.held import How
from harness.checker.detected import Counted
from harness.checker.ending import Endings
from harness.checker.outcome import Word
from harness.checker.tasks.triggering import TriggerFinding
from harness.comparison import Row as Checked
from harness.comparison import listed
from harness.verifying.holding import Row, SuiteCount
from harness.verifying.known import Known, excused

SCHEMA = 1
ENFORCED = ("parameters",)  # suites of what `serve --enforce` refuses
MOST_UNFINISHED = 1 / 2  # of what a suite was to be answered: with more, it says too little
EXIT_CODES = {Word.EQUIVALENT: 0, Word.DIFFERENT: 1, Word.INCONCLUSIVE: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One way of asking, and what the sampler audit of the check says is applied then."""

    way: str  # an arm of `harness.levels.sampled`
    word: Word | None  # None: it has no say
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One engine, as it was asked. `noticed`, `endings` and `trigger` decide nothing."""

    name: str
    enforced: bool  # it was to refuse what the contract does not allow
    checked: Checked | None  # against the reference; None: there was none
    unchecked: str | None  # why there was none
    applied: tuple[Applied, ...]  # empty where the sampler was not audited
    suites: tuple[SuiteCount, ...]
    known: tuple[Known, ...]  # what its pin says that it does not keep
    noticed: Counted  # by the detectors
    endings: Endings  # of the end-of-sequence probe
    trigger: TriggerFinding | None  # None: no cases were named
    failed: str | None  # why the engine was given up; None: it was not
    word: Word
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All of it."""

    schema: int
    word: Word
    reasons: tuple[str, ...]
    family: str  # whose contract it is, of launchers/contracts
    against: str | None  # the trace; None: there is no reference
    deployments: tuple[Deployment, ...]
    rows: tuple[Row, ...]  # every case, as each deployment held it
    not_run: Mapping[str, str]  # suite -> why
    command: str  # that goes on with it, or does it again
    exit_code: int
    provenance: Mapping[str, Any]


def to_json(found: Verification, run: Path) -> bytes:
    """One JSON object on one line, with the directory that holds the evidence."""
    document = {**asdict(found), "run": str(run)}
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def decided(
    checked: Checked | None,
    suites: Sequence[SuiteCount],
    *,
    enforced: bool,
    failed: str | None,
    unchecked: str | None = None,
    known: Sequence[Known] = (),
    not_run: Sequence[str] = (),
) -> tuple[Word, tuple[str, ...]]:
    """A deployment's word, and why. `unchecked`: why there is no check; `known`: what its release
    is known not to keep; `not_run`: suites that say nothing."""
    left = _without(suites, excused(known))
    different = [*_of_check(checked, unchecked, Word.DIFFERENT), *_of_suites(left, (How.BROKEN,))]
    if enforced:
        different += _of_suites([s for s in left if s.suite in ENFORCED], (How.NOT_ENFORCED,))
    if different:
        return Word.DIFFERENT, tuple(different)
    open_ = [] if failed is None else [f"it was given up: {failed}"]
    open_ += _of_check(checked, unchecked, Word.INCONCLUSIVE)
    open_ += _of_suites(left, (How.UNANSWERED,))
    open_ += _of_suites([s for s in left if _mostly_unfinished(s)], (How.UNFINISHED,))
    open_ += [f"{one.suite}: no case is kept" for one in suites if not one.counts.get(How.KEPT)]
    if not suites:
        open_.append("nothing was asked")
    if open_:
        return Word.INCONCLUSIVE, tuple(open_)
    both = "it computes what the reference computes, and keeps what it owes"
    silent = [f"not run: {listed(not_run)}"] if not_run else []
    return Word.EQUIVALENT, (both, *_beside(suites, known), *silent)


def _without(
    suites: Sequence[SuiteCount], less: Mapping[str, Mapping[How, int]]
) -> list[SuiteCount]:
    """What is left to be judged. The cases stay as many as they are."""
    return [
        replace(one, counts=dict(Counter(one.counts) - Counter(less.get(one.suite, {}))))
        for one in suites
    ]


def _mostly_unfinished(suite: SuiteCount) -> bool:
    return suite.cut > MOST_UNFINISHED


def together(deployments: Sequence[Deployment]) -> tuple[Word, tuple[str, ...]]:
    """DIFFERENT where any is, EQUIVALENT where all are."""
    words = Counter(one.word for one in deployments)
    for word in (Word.DIFFERENT, Word.INCONCLUSIVE):
        if words[word]:
            names = [one.name for one in deployments if one.word is word]
            return word, (f"{listed(names)}: {word}",)
    return Word.EQUIVALENT, ()


def exit_code(deployments: Sequence[Deployment]) -> int:
    """The first that occurs of 4 (an engine failed), 1, 3, 0."""
    if any(one.failed or (one.checked and one.checked.word is None) for one in deployments):
        return 4
    return next(
        EXIT_CODES[word]
        for word in (Word.DIFFERENT, Word.INCONCLUSIVE, Word.EQUIVALENT)
        if any(one.word is word for one in deployments)
    )


def _of_check(checked: Checked | None, unchecked: str | None, word: Word) -> list[str]:
    """Why the check says so, if it does; nothing known is INCONCLUSIVE."""
    if checked is None:
        why = unchecked or "there was no reference"
        return [f"nobody knows what it computes: {why}"] * (word is Word.INCONCLUSIVE)
    if checked.word is None:
        return [f"its check failed: {checked.error}"] * (word is Word.INCONCLUSIVE)
    if checked.word is not word:
        return []
    return [f"check {checked.level}: {reason}" for reason in checked.reasons]


def _of_suites(suites: Sequence[SuiteCount], hows: Sequence[How]) -> list[str]:
    return [
        f"{one.suite}: {one.counts[how]} of {one.cases} cases {how}"
        for one in suites
        for how in hows
        if one.counts.get(how)
    ]


def _beside(suites: Sequence[SuiteCount], known: Sequence[Known]) -> list[str]:
    """What does not change the word, and is to be told."""
    told = _of_suites(suites, (How.NOT_ENFORCED, How.UNFINISHED))
    if count := sum(one.found for one in known):
        told.append(f"{count} cases that its release is known not to keep (serving.known)")
    return told
