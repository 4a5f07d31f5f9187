"""Several candidates as one HTML page, in the looks of `page`. A pure function of a Comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from harness.comparison import Comparison, Pair, Row
from harness.report import tables
from harness.report.text import number, shown

HERE = Path(__file__).parent
STEPS = (3.0, 30.0, 1000.0)  # times the smallest difference of any two


def page(comparison: Comparison) -> str:
    """A whole HTML document."""
    template = Template((HERE / "comparison.html").read_text(encoding="utf-8"))
    return template.substitute(
        css=(HERE / "report.css").read_text(encoding="utf-8"),
        word=comparison.word.value,
        sign=tables.SIGNS[comparison.word],
        headline=shown(comparison.headline),
        against="without a reference: all pairs are compared"
        if comparison.against is None
        else f"against {shown(comparison.against)}",
        conclusions=tables.bullets(comparison.conclusions, "reasons"),
        candidates=_candidates(comparison.rows),
        pairs=_matrix(comparison.rows, comparison.pairs),
        caveats=tables.bullets(comparison.caveats, "caveats"),
        command=shown(comparison.command),
        provenance="\n".join(
            f"<dt>{shown(key)}</dt><dd>{shown(value)}</dd>"
            for key, value in comparison.provenance.items()
        ),
    )


def _candidates(rows: Sequence[Row]) -> str:
    body = "".join(_candidate(number, row) for number, row in enumerate(rows, 1))
    return tables.table(("candidate", "word", "why", "cost"), body, "cards candidates", "")


def _candidate(place: int, row: Row) -> str:
    name = shown(row.name)
    if row.report is not None:
        name = f'<a href="{shown(row.report)}">{name}</a>'
    if row.word is None:
        word, why, kind = "failed", [(row.error or "").split("\n", 1)[0]], "FAILED"
    else:
        word = f"{tables.SIGNS[row.word]} {row.word.value}"
        why, kind = [f"{row.level}: {reason}" for reason in row.reasons], row.word.value
    return (
        f'<tr class="{kind}"><th scope="row" class="across">{place}. {name}<br>'
        f'<span class="quiet">promises {shown(row.numerics)}</span></th>'
        f'<td class="word across">{word}</td>'
        f'<td class="across">{tables.bullets(why, "reasons")}</td>'
        f'<td class="across quiet">{_cost(row)}</td></tr>'
    )


def _cost(row: Row) -> str:
    if row.tokens is None:
        return ""
    launch = "" if row.launch_seconds is None else f", launch {row.launch_seconds:,.0f} s"
    return f"{row.tokens:,} tokens, {row.seconds:,.1f} s{launch}"


def _matrix(rows: Sequence[Row], pairs: Sequence[Pair]) -> str:
    """Mean |d| of any two, a darker cell being further apart than the closest two."""
    known = [p.mean_absolute_d for p in pairs if p.mean_absolute_d is not None]
    if not known:
        return '<p class="note">No two candidates scored the same tokens.</p>'
    smallest = max(min(known), 1e-5)
    found = {(p.first, p.second): p for p in pairs}
    body = "".join(
        f'<tr><th scope="row">{i + 1} {shown(row.name)}</th>'
        + "".join(_apart(found.get((min(i, j), max(i, j))), smallest) for j in range(len(rows)))
        + "</tr>"
        for i, row in enumerate(rows)
    )
    caption = (
        "Mean |d|, nats a token, and over how many tokens. The darker, the further from each other "
        "than the closest two (and than 10⁻⁵ nats, below which no difference counts). One that "
        "promises less precision lies further off by right."
    )
    heads = ("", *(f"#{i + 1}" for i in range(len(rows))))
    return tables.table(heads, body, "heat pairs", caption)


def _apart(pair: Pair | None, smallest: float) -> str:
    if pair is None or pair.mean_absolute_d is None:
        return '<td class="n quiet">–</td>'
    step = sum(pair.mean_absolute_d > limit * smallest for limit in STEPS)
    tint = f"out{step}" if step else "in1"
    return (
        f'<td class="n {tint}"><b>{number(pair.mean_absolute_d)}</b>'
        f"<small>{pair.tokens:,} tokens</small></td>"
    )
