"""What a comparison of scored records found, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.checker.outcome import Word
from harness.checker.tasks import within
from harness.checker.tasks.comparing import TasksFinding
from harness.checker.tasks.pairing import Bounds, Paired
from harness.checker.tasks.suite import SuiteFinding


def headline(finding: TasksFinding) -> str:
    """One line: the word's reason over all suites."""
    looked = [s for s in finding.suites if s.paired.cases]
    if not looked:
        return "no case is on both sides"
    if finding.word is Word.INCONCLUSIVE:
        return f"scores do not show a difference: {_evidence(finding, looked)}"
    named = [s for s in looked if s.paired.suite in finding.different]
    if not named:  # only the average of the suites is enough
        leading = max(looked, key=lambda s: s.log10_either)
        return (
            "the suites differ together and none by itself; most is said by "
            f"{_what(leading)}: {_evidence(finding, looked)}"
        )
    parts = "; ".join(_what(suite) for suite in named)
    return f"{parts}: {_evidence(finding, named)}"


def _evidence(finding: TasksFinding, suites: list[SuiteFinding]) -> str:
    if finding.question.sequential:
        assert finding.log10_average is not None
        return (
            f"evidence 10^{finding.log10_average:.1f}, needed "
            f"10^{-math.log10(finding.question.alpha):.1f}, at whatever moment one looks"
        )
    known = [s.p_holm for s in suites if s.p_holm is not None]
    if not known:
        return "no case differs for certain"
    looked = sum(bool(suite.paired.cases) for suite in finding.suites)
    return f"smallest p {min(known):.2g} after Holm over {_plural(looked, 'suite')}, in one look"


def _what(suite: SuiteFinding) -> str:
    return (
        f"{suite.paired.suite}, {suite.direction} "
        f"({points(suite.difference, sign=True)} pt, {suite.lost} lost and {suite.won} won of "
        f"{len(suite.paired.cases):,} cases)"
    )


def margin(finding: TasksFinding) -> str | None:
    """The statement about the margin; None where it was not asked for."""
    if finding.question.margin is None:
        return None
    delta = f"{100 * finding.question.margin:.3g} pt"
    if finding.within:
        return f"not worse by more than {delta} in any suite (which is no word on being the same)"
    short = list(_short(finding)) or [("any suite", "no case is on both sides")]
    return f"that it is not worse by more than {delta} is not shown: " + "; ".join(
        f"{name}, {why}" for name, why in short
    )


def _short(finding: TasksFinding) -> Iterator[tuple[str, str]]:
    """Suites for which the margin is not shown, each with why."""
    alpha = finding.question.alpha
    for suite in finding.suites:
        name = suite.paired.suite
        if suite.log10_within is None:
            yield name, "no case is on both sides"
        elif suite.paired.reference_alone:
            yield name, "the candidate left cases out, and they might be lost ones"
        elif not within.shown(log10_evidence=suite.log10_within, p=suite.p_within, alpha=alpha):
            evidence = f"evidence 10^{suite.log10_within:.1f}, needed 10^{-math.log10(alpha):.1f}"
            yield name, evidence if suite.p_within is None else f"p {suite.p_within:.2g}"


def notes(finding: TasksFinding) -> list[str]:
    """What is missing, suite by suite: a reader must not take it for agreement."""
    return [
        f"{suite.paired.suite}: {note}"
        for suite in finding.suites
        for note in (*_missing(suite.paired), *suite.unsaid)
    ]


def _missing(paired: Paired) -> Iterator[str]:
    alone, failed = paired.reference_alone + paired.candidate_alone, paired.reference_failed
    if alone:
        yield (
            f"{_plural(alone, 'record')} without a partner in no statistic (reference "
            f"{paired.reference_alone}, candidate {paired.candidate_alone})"
        )
    if failed + paired.candidate_failed:
        yield (
            f"failed requests: reference {failed}, candidate {paired.candidate_failed}, of "
            f"{paired.pairs}; they stay in, worth anything from 0 to 1, and nothing is said that "
            "depends on which"
        )


def points(bounds: Bounds | None, *, sign: bool) -> str:
    """A score or a difference in percent points; two numbers where failed requests leave open
    which."""
    if bounds is None:
        return "-"
    form = "+.1f" if sign else ".1f"
    low, high = (f"{100 * bound + 0.0:{form}}" for bound in bounds)
    return low if low == high else f"{low} .. {high}"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count:,} {word}s"
