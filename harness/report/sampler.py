"""The sampler's section: what was promised, what is in use, and the plain numbers beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.report import tables
from harness.report.pictures import Estimated, estimates
from harness.report.text import number, percent, shown

PARAMETERS = {"temperature": "temperature", "top_p": "top-p"}
WAYS = {
    "sent": "temperature 1 and top-p .95 sent, nothing else",
    "unsent": "nothing sent",
    "chat": "nothing sent, by the chat API",
    "generated": "the same sent, whole answers, scored afterwards",
}


def section(findings: Mapping[str, Any]) -> str:
    """Nothing that is a text of the model's is shown."""
    arms: Sequence[Mapping[str, Any]] = findings["arms"]
    drawn = [arm for arm in arms if arm["audit"] is not None]
    figures = "".join(
        f"<figure><h3>The {title} in use</h3>{estimates(title, _rows(drawn, name))}"
        f"<figcaption>{_caption(findings)}</figcaption></figure>"
        for name, title in PARAMETERS.items()
        if drawn
    )
    return (
        '<h2 id="sampler">The sampler</h2><p>Tokens are drawn after prefixes whose next token\'s '
        "distribution the reference has told, and only their texts are read. "
        f"{_sureness(findings)}</p>"
        f'<div class="pictures">{figures}</div>{_table(arms)}'
    )


def _rows(arms: Sequence[Mapping[str, Any]], name: str) -> list[Estimated]:
    return [
        Estimated(
            label=arm["arm"],
            promised=None if arm["promised"] is None else arm["promised"][name],
            **arm["audit"][name],
        )
        for arm in arms
    ]


def _caption(findings: Mapping[str, Any]) -> str:
    return (
        "Most likely value and its interval (95 %, widened by what benign engines differ by, "
        f"times {number(findings['gamma'])}); dashed: what was promised."
    )


def _sureness(findings: Mapping[str, Any]) -> str:
    bands = findings["bands"]
    chances = percent(findings["alpha"]), percent(findings["beta"])
    return (
        f"A sampler that is as promised is called DIFFERENT with chance {chances[0]} at most, over "
        f"all ways of asking. EQUIVALENT means, with {chances[1]} for its chance of error: "
        f"temperature within {percent(bands['temperature'])}, top-p within {bands['top_p']:g}, "
        f"min-p within {bands['min_p']:g}, tokens that have occurred pushed by less than "
        f"{bands['push']:g} nats, no top-k of {bands['top_k_up_to']} or less. A larger top-k does "
        "not show in a list of that length. Penalties over generated tokens alone are looked for "
        "in whole answers (generated), where small ones are not excluded."
    )


def _table(arms: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr class="{arm["word"] or "unasked"}"><th scope="row" class="across">'
        f'{shown(arm["arm"])} <span class="quiet">{WAYS[arm["arm"]]}</span></th>'
        f'<td class="word across">{shown(arm["word"] or "no say")}</td>'
        f'<td class="across">{tables.bullets(arm["reasons"], "reasons")}</td>'
        f'<td class="n" data-label="draws">{arm["samples"]:,}</td>'
        f'<td class="n" data-label="tokens">{arm["tokens"]:,}</td>{_plain(arm)}</tr>'
        for arm in arms
    )
    heads = ("asked", "word", "found", "#draws", "#tokens", "#outside", "#z", "#PIT p")
    caption = (
        "Under the promise: outside, draws that its top-p, top-k and min-p exclude; z, the "
        "cross-entropy against its expectation in standard errors; PIT p, how uniform the "
        "probability integral transform is (Cramér-von Mises). These three decide nothing."
    )
    return tables.table(heads, rows, "cards", caption)


def _plain(arm: Mapping[str, Any]) -> str:
    plain = arm.get("plain")
    values = (
        ("–", "–", "–")
        if plain is None
        else (f"{plain['outside_nucleus']:,}", f"{plain['z']:+.1f}", number(plain["pit_p"]))
    )
    return "".join(
        f'<td class="n" data-label="{label}">{value}</td>'
        for label, value in zip(("outside", "z", "PIT p"), values, strict=True)
    )
