"""The report's section on L1: what was measured of an engine against itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.report.tables import table
from harness.report.text import number, shown


def section(found: Mapping[str, Any]) -> str:
    """HTML of `Check.findings["L1"]`."""
    rows = "".join(
        f'<tr><th scope="row" class="across">{shown(one["group"])}</th>'
        f'<td class="n" data-label="prompts">{one["prompts"]:,}</td>'
        f'<td class="n" data-label="equal to the last bit">{one["equal"]:,}</td>'
        f'<td class="n" data-label="tokens">{one["tokens"]:,}</td>'
        f'<td class="n" data-label="mean |d|">{number(one["mean_absolute_d"])}</td>'
        f'<td class="n" data-label="largest |d|">{number(one["largest_absolute_d"])}</td></tr>'
        for one in found["groups"]
    )
    heads = ("comparison", "#prompts", "#equal to the last bit", "#tokens", "#mean |d|", "#largest")
    return (
        '<h2 id="consistency">The candidate against itself</h2>'
        + _promise(found)
        + table(heads, rows, "cards", "|d| in nats, nothing clipped.")
        + "".join(_cache(one) for one in found["cache"])
        + _overlap(found)
    )


def _promise(found: Mapping[str, Any]) -> str:
    if found["broken"] is not None:
        return f"<p>A broken promise: {shown(found['broken'])}.</p>"
    if found["bit_equal"] is not None:
        return (
            f"<p>{shown(found['bit_equal'])} promises scores that are equal to the last bit, "
            "whatever else is served: of repeat and busy one unequal logprob would be "
            "DIFFERENT.</p>"
        )
    return (
        "<p>Nothing in its pin promises scores that are equal to the last bit, so each comparison "
        "is held to the tolerances.</p>"
    )


def _cache(one: Mapping[str, Any]) -> str:
    said = (
        "the engine does not say how many came from its prefix cache"
        if one["cached_tokens"] is None
        else f"{one['cached_tokens']:,} came from its prefix cache"
    )
    return f"<p>{shown(one['group'])}: of {one['prompt_tokens']:,} prompt tokens {said}.</p>"


def _overlap(found: Mapping[str, Any]) -> str:
    if not found["pairs"]:
        return ""
    return (
        f"<p>{found['pairs']:,} prompts were sent while the same prompt was in flight; "
        f"{found['overlapping']:,} of them were answered while the other was being decoded.</p>"
    )
