"""The page's sections on what answers show by themselves: the detectors, and how answers end."""

from __future__ import annotations

from collections.abc import Iterator

from harness.checker import ending
from harness.checker.detected import Counted, Row
from harness.checker.detectors import DETECTORS
from harness.report import tables
from harness.report.suites_section import heads
from harness.report.text import percent, shown
from harness.verifying.verification import Deployment, Verification

ENDS = ("#asked", "#answered", "#empty", "#reasoning only", "#cut", "stopped before an answer")


def detectors(found: Verification) -> str:
    """How often each found something, then its first examples."""
    if not any(one.noticed.answered for one in found.deployments):
        return '<p class="note">No answer came that could be looked at.</p>'
    rows = "".join(_detector(name, found) for name in DETECTORS)
    return tables.table(("sign", *heads(found)), rows, "cards even", "") + _examples(found)


def _detector(name: str, found: Verification) -> str:
    cells = "".join(
        f'<td class="across {_tint(one.noticed, name)}" data-label="{place}. {shown(one.name)}">'
        f"{_share(one.noticed, name)}</td>"
        for place, one in enumerate(found.deployments, 1)
    )
    return f'<tr><th scope="row" class="across">{_named(name)}</th>{cells}</tr>'


def _share(noticed: Counted, name: str) -> str:
    if not noticed.answered:
        return "no answers"
    answers = _row(noticed, name).answers
    found = f"<b>{answers:,}</b>" if answers else "0"
    return f"{found} of {noticed.answered:,} answers"


def _tint(noticed: Counted, name: str) -> str:
    return "" if _row(noticed, name).answers else "quiet"


def _row(noticed: Counted, name: str) -> Row:
    return next(row for row in noticed.rows if row.name == name)


def _named(name: str) -> str:
    return shown(name.replace("_", " "))


def _examples(found: Verification) -> str:
    rows = "".join(row for one in found.deployments for row in _examples_of(one))
    if not rows:
        return ""
    heads_ = ("sign", "deployment", "case", "what was seen")
    body = tables.table(heads_, rows, "cards examples", "The first few of each.")
    return f"<details><summary>Examples</summary>{body}</details>"


def _examples_of(one: Deployment) -> Iterator[str]:
    for row in one.noticed.rows:
        for example in row.examples:
            yield (
                f'<tr><th scope="row">{_named(row.name)}</th><td>{shown(one.name)}</td>'
                f'<td class="across"><code>{shown(example.case)}</code> '
                f'<span class="quiet">request {example.n:,}</span></td>'
                f'<td class="across">{shown(example.evidence)}</td></tr>'
            )


def endings(found: Verification) -> str:
    """How often an answer ended before it began, and how often it may."""
    if not any(one.endings.asked for one in found.deployments):
        return '<p class="note">The end-of-sequence probe was not asked.</p>'
    rows = "".join(_ends(place, one) for place, one in enumerate(found.deployments, 1))
    caption = (
        "One request, asked again and again. An answer that is empty, or of reasoning only, was "
        "stopped before it began; a cut one ran into its length. The bound is one-sided and exact "
        "(Clopper and Pearson): it is above the share in 95 of 100 such probes."
    )
    return tables.table(("deployment", *ENDS), rows, "cards", caption)


def _ends(place: int, one: Deployment) -> str:
    ends = one.endings
    numbers = (ends.asked, ends.answered, ends.empty, ends.reasoning_only, ends.cut)
    cells = "".join(
        f'<td class="n" data-label="{label[1:]}">{count:,}</td>'
        for label, count in zip(ENDS, numbers, strict=False)
    )
    return (
        f'<tr><th scope="row" class="across">{place}. {shown(one.name)}</th>{cells}'
        f'<td class="across">{_most(one)}</td></tr>'
    )


def _most(one: Deployment) -> str:
    ends = one.endings
    if not ends.answered:
        return '<span class="quiet">nothing was answered: nothing is known</span>'
    most = percent(ending.upper(ends.silent, ends.answered))
    return (
        f"<b>{ends.silent:,}</b> of {ends.answered:,} answers; "
        f"at most {most} of answers, {percent(ending.CONFIDENCE)}"
    )
