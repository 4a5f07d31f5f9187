"""The page's section on tool calls triggered: does a deployment call where the reference did?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.checker.tasks.ratios import LEVEL, Measure
from harness.checker.tasks.triggering import TriggerFinding, Usage
from harness.report import tables
from harness.report.suites_section import heads
from harness.report.text import shown
from harness.verifying.verification import Verification

CAPTION = (
    "F1 is 2 TP / (2 TP + FP + FN): both call (TP), the deployment alone (FP), the reference alone "
    "(FN), neither (TN). Who gave no answer is in no estimate and in every bound. Schema accuracy "
    "is of the answers that call: those whose calls are all as the tool's schema has them."
)
ROWS: Mapping[str, Callable[[TriggerFinding], str]] = {
    "F1": lambda found: _measure(found.f1),
    "precision": lambda found: _measure(found.precision),
    "recall": lambda found: _measure(found.recall),
    "schema accuracy": lambda found: _measure(found.schema),
    "pairs": lambda found: _pairs(found),
    "unanswered": lambda found: _unanswered(found),
    "finish reasons": lambda found: _reasons(found.finish_reasons),
    "the reference's": lambda found: _reasons(found.reference_finish_reasons),
    "calls and finish reason disagree": lambda found: f"{found.contradicted:,} answers",
    "usage": lambda found: _usage(found.usage),
}


def section(found: Verification) -> str:
    """Nothing where no cases were named."""
    if all(one.trigger is None for one in found.deployments):
        return ""
    rows = "".join(_row(name, said, found) for name, said in ROWS.items())
    table = tables.table(("", *heads(found)), rows, "cards even", CAPTION)
    return f'<h2 id="trigger">Tool calls, where the reference calls</h2>{table}'


def _row(name: str, said: Callable[[TriggerFinding], str], found: Verification) -> str:
    cells = "".join(
        f'<td class="across" data-label="{place}. {shown(one.name)}">'
        f"{'not asked' if one.trigger is None else said(one.trigger)}</td>"
        for place, one in enumerate(found.deployments, 1)
    )
    return f'<tr><th scope="row" class="across">{shown(name)}</th>{cells}</tr>'


def _measure(one: Measure) -> str:
    if one.bounds is None or one.interval is None:
        return "no number: nothing is counted"
    low, high = one.bounds
    told = "unknown" if one.estimate is None else f"{one.estimate:.3f}"
    interval = f"{LEVEL:.0%} interval {one.interval[0]:.3f} to {one.interval[1]:.3f}"
    open_ = "" if low == high else f"; {low:.3f} to {high:.3f}, whatever was not answered"
    return f'<b>{told}</b> <small class="quiet">{interval}{open_}</small>'


def _pairs(found: TriggerFinding) -> str:
    return (
        f"TP {found.tp:,}, FP {found.fp:,}, FN {found.fn:,}, TN {found.tn:,} "
        f"of {found.pairs:,} pairs, {found.cases:,} cases"
    )


def _unanswered(found: TriggerFinding) -> str:
    return (
        f"{found.unanswered:,} of {found.pairs:,} pairs ({found.missing:,} without a record); "
        f"by the reference {found.reference_unanswered:,}"
    )


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{shown(reason)} {count:,}" for reason, count in counts.items()) or "none"


def _usage(usage: Usage) -> str:
    prompt, completion = (
        "unknown" if tokens is None else f"{tokens:,}"
        for tokens in (usage.prompt_tokens, usage.completion_tokens)
    )
    untold = f"; {usage.untold:,} answers do not tell" if usage.untold else ""
    return f"{prompt} prompt tokens, {completion} completion tokens{untold}"
