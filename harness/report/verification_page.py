"""A verification as one HTML page, in the looks of `page`. A pure function of a Verification."""

from __future__ import annotations

from pathlib import Path
from string import Template

from harness.base.held import How
from harness.checker.outcome import Word
from harness.comparison import Row as Checked
from harness.report import cases_section, noticed_section, suites_section, tables, trigger_section
from harness.report.holding_text import BEST_FIRST, MEANING, SIGNS, headline
from harness.report.text import percent, shown
from harness.verifying.known import Known
from harness.verifying.verification import Deployment, Verification

HERE = Path(__file__).parent


def page(found: Verification) -> str:
    """A whole HTML document. Its links are from the run directory."""
    template = Template((HERE / "verification.html").read_text(encoding="utf-8"))
    return template.substitute(
        css=(HERE / "report.css").read_text(encoding="utf-8"),
        word=found.word.value,
        sign=tables.SIGNS[found.word],
        headline=shown(headline(found)),
        reasons=tables.bullets(found.reasons, "reasons") if found.reasons else "",
        family=shown(found.family),
        against="without a reference: what they compute is not known"
        if found.against is None
        else f"against <strong>{shown(found.against)}</strong>",
        asked=_asked(found),
        deployments=_deployments(found),
        suites=suites_section.section(found),
        kinds="".join(_kind(how) for how in BEST_FIRST),
        differing=cases_section.differing(found),
        not_kept=cases_section.not_kept(found),
        detectors=noticed_section.detectors(found),
        endings=noticed_section.endings(found),
        trigger=trigger_section.section(found),
        command=shown(found.command),
        provenance="\n".join(
            f"<dt>{shown(key)}</dt><dd>{shown(value)}</dd>"
            for key, value in found.provenance.items()
        ),
    )


def _asked(found: Verification) -> str:
    suites = len({row.suite for row in found.rows})
    left = ", ".join(found.not_run)
    not_run = f" Not run: {shown(left)}." if left else ""
    return f"Each was to answer {len(found.rows):,} cases of {suites:,} suites.{not_run}"


def _kind(how: How) -> str:
    tint = suites_section.TINTS[how]
    return (
        f'<dt><span class="held {tint}"><span class="sign" aria-hidden="true">{SIGNS[how]}</span> '
        f"{how}</span></dt><dd>{shown(MEANING[how])}</dd>"
    )


def _deployments(found: Verification) -> str:
    rows = "".join(_deployment(place, one) for place, one in enumerate(found.deployments, 1))
    heads = ("deployment", "word", "why", "what it computes")
    return tables.table(heads, rows, "cards candidates", "") + _known(found)


def _deployment(place: int, one: Deployment) -> str:
    enforced = (
        "is to refuse what its contract does not allow"
        if one.enforced
        else "was not told to refuse anything"
    )
    why = [*one.reasons]
    if one.failed is not None and not any(one.failed in reason for reason in why):
        why.append(f"it was given up: {one.failed}")
    return (
        f'<tr class="{one.word}"><th scope="row" class="across">{place}. {shown(one.name)}<br>'
        f'<span class="quiet">{enforced}</span></th>'
        f'<td class="word across">{tables.SIGNS[one.word]} {one.word}</td>'
        f'<td class="across">{tables.bullets(why, "reasons")}</td>'
        f'<td class="across" data-label="computes">{_checked(one.checked, one.unchecked)}</td></tr>'
    )


def _checked(checked: Checked | None, unchecked: str | None) -> str:
    if checked is None:
        why = unchecked or "there was no reference"
        return f'<span class="quiet">not checked: {shown(why)}</span>'
    said = _check(checked.word, checked.level)
    if checked.report is not None:
        said = f'<a href="{shown(checked.report)}">{said}</a>'
    error = (checked.error or "").split("\n", 1)[0]
    return f"{said}: {shown(error)}" if error else said


def _check(word: Word | None, level: str | None) -> str:
    if word is None:
        return "check failed"
    return f"{tables.SIGNS[word]} {word}, {shown(level)}"


def _known(found: Verification) -> str:
    """What the pins say that their releases do not keep, and what was found of it."""
    rows = "".join(
        f'<tr><th scope="row" class="across">{place}. {shown(one.name)}</th>'
        f'<td class="across"><code>{shown(known.cases)}</code></td>'
        f'<td class="across">{_excused(known)}</td><td class="across">{shown(known.why)}</td></tr>'
        for place, one in enumerate(found.deployments, 1)
        for known in one.known
    )
    if not rows:
        return ""
    heads = ("deployment", "cases", "not kept", "known as")
    return '<h3 id="known">Known of a release, and not held against it</h3>' + tables.table(
        heads, rows, "cards", ""
    )


def _excused(known: Known) -> str:
    most = f"{known.found:,} of {known.of:,}; {percent(known.share)} at most are excused"
    return f"<b>{most}: none of them is</b>" if known.exceeded else most
