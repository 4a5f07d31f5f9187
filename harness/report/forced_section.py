"""L2's own section: each stratum, and where there is a scale of the model's own, against that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.report.tables import table
from harness.report.text import number, shown


def html(findings: Mapping[str, Any]) -> str:
    """A row a stratum; nothing where nothing was drawn."""
    rows = findings.get("strata", ())
    if not rows:
        return ""
    scaled = any(row["ratio"] is not None for row in rows)
    heads = ("stratum", "#prompts", "#mean |d|", "#slope per doubling")
    heads += ("#reference itself", "#ratio") if scaled else ()
    body = "".join(_row(row, scaled=scaled) for row in rows)
    caption = "Nats. Slope: how much mean |d| grows when the position doubles. " + (
        "Reference itself: mean |d| of the reference when it computes in the candidate's numerics "
        "class, on the same prompts; both against the reference in fp32. A ratio of about 1 is "
        "what the class costs anybody. It decides nothing."
        if scaled
        else ""
    )
    return '<h2 id="strata">Stratum by stratum</h2>' + table(heads, body, "cards", caption)


def _row(row: Mapping[str, Any], *, scaled: bool) -> str:
    cells = [
        ("prompts", str(row["prompts"])),
        ("mean |d|", number(row["mean_absolute_d"])),
        ("slope per doubling", _given(row["slope_per_doubling"])),
    ]
    if scaled:
        cells += [
            ("reference itself", _given(row["reference_mean_absolute_d"])),
            ("ratio", _given(row["ratio"])),
        ]
    return (
        f'<tr><th scope="row" class="across">{shown(row["stratum"])}</th>'
        + "".join(f'<td class="n" data-label="{label}">{text}</td>' for label, text in cells)
        + "</tr>"
    )


def _given(value: float | None) -> str:
    return '<span class="quiet">none</span>' if value is None else number(value)
