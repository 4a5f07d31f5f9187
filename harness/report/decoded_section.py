"""The report's section on L2b: where the candidate's greedy path leaves the reference's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.report.tables import table
from harness.report.text import number, shown, token


def section(found: Mapping[str, Any]) -> str:
    """HTML of `Check.findings["L2b"]`."""
    intro = (
        '<h2 id="decoded">What it generates</h2>'
        f"<p>{found['prompts']} of {found['population']} prompts of up to "
        f"{found['longest_prompt']:,} tokens were continued by up to {found['new_tokens']} tokens, "
        f"greedy and at T = 1, and scored by {shown(found['reference'])}. "
        f"{found['diverged']} greedy continuations leave the reference's own path.</p>"
    )
    if not found["divergences"]:
        return intro
    rows = "".join(
        f'<tr><th scope="row" class="across">{shown(one["case_id"])}</th>'
        f'<td class="n" data-label="position">{one["position"]}</td>'
        f'<td data-label="candidate">{token(one["candidate"])}</td>'
        f'<td data-label="reference">{token(one["reference"])}</td>'
        f'<td class="n" data-label="margin">{number(one["margin"])}</td></tr>'
        for one in found["divergences"]
    )
    heads = ("case", "#generated token", "candidate", "reference", "#margin")
    caption = (
        "The first token of each that the reference would not have chosen, the largest margins "
        "first: how much more probable its own choice is to the reference, nats. Near ties are "
        "small."
    )
    return intro + table(heads, rows, "cards", caption)
