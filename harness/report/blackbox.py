"""The black box in the report: what its two tests found, and what they could have found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.report.tables import table
from harness.report.text import number, percent, shown, token


def section(findings: Mapping[str, Any]) -> str:
    """Of the level's findings; either test may be missing."""
    exact, equality = findings.get("exact"), findings.get("equality")
    return (
        '<h2 id="black-box">Texts alone</h2>'
        + ("" if exact is None else _exact(exact))
        + ("" if equality is None else _equality(equality))
    )


def _exact(exact: Mapping[str, Any]) -> str:
    intro = (
        f"<p>At T = 0, {exact['departed']} of {exact['prompts']} answers depart from the "
        "reference's before the reference itself nearly tied: p = "
        f"{number(exact['p'])} against the {number(exact['needed'])} that DIFFERENT needs, if one "
        f"in twenty may. Not excluded is that {percent(exact['at_most'])} of answers depart.</p>"
    )
    if not exact["shown"]:
        return intro
    rows = "".join(
        f'<tr><th scope="row">{shown(one["case_id"])}</th>'
        f'<td class="two" data-label="reference">{_text(one["reference"], one["said"])}</td>'
        f'<td class="two" data-label="candidate">{_text(one["said"], one["reference"])}</td></tr>'
        for one in exact["shown"]
    )
    caption = (
        "From a few characters before they part; without white space, which is not compared, and "
        "as far as the reference is decisive."
    )
    return intro + table(("case", "reference", "candidate"), rows, "cards", caption)


def _text(text: str, other: str) -> str:
    """Where it parts from the other."""
    pairs = zip(text, other, strict=False)
    parted = next((place for place, (a, b) in enumerate(pairs) if a != b), len(other))
    start = max(0, parted - 20)
    return ("… " if start else "") + token(text[start:])


def _equality(equality: Mapping[str, Any]) -> str:
    sizes = (
        f"{equality['answers']} answers to each of {equality['prompts']} prompts, against "
        f"{equality['reference_answers']} of the reference's; {equality['permutations']:,} "
        "permutations of whose they are, within each prompt."
    )
    tests = (("discrepancy", "the distributions differ"), ("concentration", "alike among them"))
    rows = "".join(
        f'<tr><th scope="row">{title}</th>'
        f'<td class="n" data-label="found">{number(equality[name])}</td>'
        f'<td class="n" data-label="p">{number(equality[f"p_{name}"])}</td>'
        f'<td class="n" data-label="needed">{number(equality["needed"])}</td></tr>'
        for name, title in tests
    )
    caption = (
        "Model Equality Testing, Hamming kernel. Discrepancy: MMD², unbiased, so that it may be "
        "negative. Alike among them: the share of characters in which two of the candidate's "
        "answers are the same, less that of two of the reference's; positive as at a lower "
        "temperature."
    )
    return (
        f"<p>At T = 1: {sizes}</p>"
        + table(("test", "#found", "#p", "#needed"), rows, "cards", caption)
        + _power(equality["temperatures"], equality["shares"])
    )


def _power(temperatures: Sequence[Mapping[str, Any]], shares: Sequence[Mapping[str, Any]]) -> str:
    faults = [(f"T = {one['temperature']:g} for 1.0", one["power"]) for one in temperatures]
    faults += [
        (f"{percent(one['share'])} of the answers are to another prompt", one["power"])
        for one in shares
    ]
    rows = "".join(
        f'<tr><th scope="row">{fault}</th>'
        f'<td class="n" data-label="found in">{percent(round(chance, 2))}</td></tr>'
        for fault, chance in faults
    )
    caption = (
        "How often a test of this size finds a fault, about: from the reference's own answers. "
        "What is rarely found is not excluded."
    )
    return table(("fault", "#found in"), rows, "cards", caption)
