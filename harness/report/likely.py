"""The page's section on where a difference may come from: causes, and what narrowing it showed."""

from __future__ import annotations

from harness.checker.diagnosis import Likely
from harness.checker.narrowed import Effect, Narrowed, Narrowing
from harness.checker.outcome import Word
from harness.report import tables
from harness.report.issue_text import NAME
from harness.report.text import shown
from harness.verdict import Verdict

SIGNS = {Effect.GONE: "✓", Effect.SMALLER: "↓", Effect.STAYS: "≠", Effect.UNKNOWN: "?"}
INTRO = (
    "<p>Causes whose marks fit what was measured, the likeliest first. None of them is shown to be "
    "the cause: many look alike from outside.</p>"
)
NOTHING = '<p class="note">Nothing that was measured fits a cause that is known here.</p>'


def section(verdict: Verdict) -> str:
    """Nothing unless the verdict is DIFFERENT."""
    if verdict.verdict is not Word.DIFFERENT:
        return ""
    causes = INTRO + _causes(verdict.diagnosis) if verdict.diagnosis else NOTHING
    narrowed = "" if verdict.narrowing is None else _narrowing(verdict.narrowing)
    return (
        f'<h2 id="likely">What it may be</h2>{causes}{narrowed}'
        f"<p>A text to paste into an issue of the engine's project, with the versions, the worst "
        f"prompt and one request that shows the difference, is in <code>{NAME}</code> beside this "
        "page.</p>"
    )


def _causes(found: tuple[Likely, ...]) -> str:
    rows = "".join(
        f'<tr><th scope="row" class="across">{number}. {shown(_capital(one.words))}</th>'
        f'<td class="across">{tables.bullets(one.why, "reasons")}</td>'
        f'<td class="across">{shown(_capital(one.next_step))}</td></tr>'
        for number, one in enumerate(found, 1)
    )
    return tables.table(("cause", "what fits", "what to try next"), rows, "cards likely", "")


def _narrowing(found: Narrowing) -> str:
    head = '<h3 id="narrowed">Narrowed by leaving parts out</h3>'
    note = "" if found.note is None else f'<p class="note">Not tried: {shown(found.note)}.</p>'
    if not found.rows:
        return head + note
    rows = "".join(_row(row) for row in found.rows)
    intro = (
        "<p>The engine was started again with each of these changes alone, and "
        f"{shown(found.level)} asked on the same prompts. Where the difference goes away, it comes "
        "from what was left out, or from what that brings with it.</p>"
    )
    heads = ("the engine", "", "what was measured", "#seconds")
    return head + intro + tables.table(heads, rows, "cards narrowed", "") + note


def _row(row: Narrowed) -> str:
    changes = "<br>".join(f"<code>--set {shown(change)}</code>" for change in row.changes)
    smaller = row.effect is Effect.SMALLER and row.factor is not None
    factor = f", by {row.factor:.3g} times" if smaller else ""
    return (
        f'<tr class="{row.effect.name.lower()}"><th scope="row" class="across">'
        f"{shown(_capital(row.toggle))}<br>{changes}</th>"
        f'<td class="across"><b>{SIGNS[row.effect]} {shown(row.effect)}{factor}</b></td>'
        f'<td class="across">{shown(row.why)}</td>'
        f'<td class="n" data-label="seconds">{row.seconds:,.1f}</td></tr>'
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
