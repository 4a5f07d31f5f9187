"""The page's table of all contracts: suites in rows, deployments in columns."""

from __future__ import annotations

from collections.abc import Sequence

from harness.base.held import How
from harness.checker.outcome import Word
from harness.report import tables
from harness.report.holding_text import SIGNS, counts
from harness.report.text import shown
from harness.verifying.holding import SuiteCount
from harness.verifying.known import excused
from harness.verifying.verification import Applied, Deployment, Verification

PARAMETERS = "parameters"  # beside which stands what the sampler audit says
TINTS = {
    How.KEPT: "kept",
    How.BROKEN: "broken",
    How.NOT_ENFORCED: "not-enforced",
    How.UNANSWERED: "unanswered",
    How.UNFINISHED: "unfinished",
}
OF_WORDS = {Word.EQUIVALENT: "kept", Word.DIFFERENT: "broken", Word.INCONCLUSIVE: "unanswered"}
CAPTION = (
    "Of all cases of a suite, how many came out how; a cell has the sign and the colour of the "
    "worst. No case leaves the number after “of”, whatever came of it."
)


def section(found: Verification) -> str:
    """Suites that ran, in their order, then those that did not."""
    asked = dict.fromkeys(suite.suite for one in found.deployments for suite in one.suites)
    rows = ""
    for name in asked:
        rows += _suite(name, found.deployments)
        rows += _applied(found.deployments) if name == PARAMETERS else ""
    for name, why in found.not_run.items():
        rows += _not_run(name, why, len(found.deployments))
        rows += _applied(found.deployments) if name == PARAMETERS else ""
    if PARAMETERS not in [*asked, *found.not_run]:
        rows += _applied(found.deployments)
    return tables.table(("suite", *heads(found)), rows, "cards suites even", CAPTION)


def heads(found: Verification) -> list[str]:
    """As the columns are called: a number and the name."""
    return [f"{place}. {shown(one.name)}" for place, one in enumerate(found.deployments, 1)]


def _suite(name: str, deployments: Sequence[Deployment]) -> str:
    cells = ""
    for place, one in enumerate(deployments, 1):
        count = next((suite for suite in one.suites if suite.suite == name), None)
        tint, sign, said = _held(count)
        cells += _cell(place, one, tint, sign, said + _known(name, one))
    return f'<tr><th scope="row" class="across">{shown(name)}</th>{cells}</tr>'


def _held(count: SuiteCount | None) -> tuple[str, str, str]:
    """Tint, sign, words."""
    if count is None:
        return "", "–", "not asked"
    said = f"<b>{counts(count)}</b> of {count.cases:,}"
    return TINTS[count.how], SIGNS[count.how], said


def _known(suite: str, one: Deployment) -> str:
    count = sum(excused(one.known).get(suite, {}).values())
    return f"<small>{count:,} of them known of its release</small>" if count else ""


def _applied(deployments: Sequence[Deployment]) -> str:
    """A row for each way of asking; one that says so where nobody was audited."""
    ways = dict.fromkeys(one.way for each in deployments for one in each.applied)
    return "".join(_way(way, deployments) for way in ways or [""])


def _way(way: str, deployments: Sequence[Deployment]) -> str:
    cells = ""
    for place, one in enumerate(deployments, 1):
        audited = next((each for each in one.applied if each.way == way), None)
        cells += _cell(place, one, *_audited(audited))
    how = f": {shown(way)}" if way else ""
    return (
        f'<tr class="beside"><th scope="row" class="across">applied{how} '
        f'<span class="quiet">(sampler audit)</span></th>{cells}</tr>'
    )


def _audited(applied: Applied | None) -> tuple[str, str, str]:
    """Tint, sign, words."""
    if applied is None:
        return "", "–", "not audited"
    why = f": {shown(applied.reasons[0])}" if applied.reasons else ""
    if applied.word is None:
        return "", "–", f"no say{why}"
    return OF_WORDS[applied.word], tables.SIGNS[applied.word], f"<b>{applied.word}</b>{why}"


def _cell(place: int, one: Deployment, tint: str, sign: str, said: str) -> str:
    return (
        f'<td class="held across {tint or "quiet"}" data-label="{place}. {shown(one.name)}">'
        f'<span class="sign" aria-hidden="true">{sign}</span> {said}</td>'
    )


def _not_run(name: str, why: str, columns: int) -> str:
    return (
        f'<tr class="unasked"><th scope="row" class="across">{shown(name)}</th>'
        f'<td class="across quiet" colspan="{columns}">not run: {shown(why)}</td></tr>'
    )
