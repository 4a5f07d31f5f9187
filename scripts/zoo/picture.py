"""The zoo as one picture: how many tokens each row took to its verdict, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from scripts.zoo.fault import BENIGN

WIDTH, LEFT, RIGHT, TOP, STEP = 860, 330, 40, 56, 18
COLOURS = {"DIFFERENT": "#b3261e", "EQUIVALENT": "#0f6b52", "INCONCLUSIVE": "#7d5200"}
NONE = "#767b82"  # no verdict
LOWEST, HIGHEST = 2, 6  # powers of ten of tokens


def picture(document: Mapping[str, Any]) -> str:
    """Faults above, benign rows below; each by tokens."""
    order = sorted(document["rows"], key=lambda row: (row["kind"] == BENIGN, row["tokens"]))
    height = TOP + STEP * (len(order) + 2) + 30
    parts = [_axis(height)]
    y = TOP
    for place, row in enumerate(order):
        if place and (row["kind"] == BENIGN) != (order[place - 1]["kind"] == BENIGN):
            y += STEP
        y += STEP
        parts.append(_row(row, y))
    words = "How many tokens each row of the zoo took to its verdict"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{words}" font-family="system-ui, sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{height}" fill="#fdfdfb"/>'
        f'<text x="16" y="24" font-size="15" font-weight="600">{words}</text>{_legend()}'
        f"{''.join(parts)}</svg>\n"
    )


def _x(tokens: float) -> float:
    power = min(max(math.log10(max(tokens, 1)), LOWEST), HIGHEST)
    return LEFT + (power - LOWEST) / (HIGHEST - LOWEST) * (WIDTH - LEFT - RIGHT)


def _axis(height: int) -> str:
    lines: list[str] = []
    for power in range(LOWEST, HIGHEST + 1):
        x = _x(10**power)
        lines.append(
            f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{TOP}" y2="{height - 28}" stroke="#d8dad4"/>'
            f'<text x="{x:.0f}" y="{height - 12}" text-anchor="middle" fill="#5a616a">'
            f"{10**power:,}{' or none' if power == LOWEST else ''}</text>"
        )
    return "".join(lines)


def _row(row: Mapping[str, Any], y: int) -> str:
    colour = COLOURS.get(row["word"], NONE)
    x, where = _x(row["tokens"]), f"{row['level']}, {row['pin'].split('/')[1].split('-')[0]}"
    filled = colour if row["kind"] != BENIGN else "#fdfdfb"
    start = (
        f'<line x1="{LEFT}" x2="{x:.0f}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" opacity=".3"/>'
    )
    name = escape(row["name"]) + (" (wrong)" if row["wrong"] else "")
    beside = f'x="{x + 9:.0f}"' if x < WIDTH - 150 else f'x="{x - 9:.0f}" text-anchor="end"'
    return (
        f'<text x="{LEFT - 12}" y="{y}" text-anchor="end">{name}</text>{start}'
        f'<circle cx="{x:.0f}" cy="{y - 4}" r="5" fill="{filled}" stroke="{colour}" '
        f'stroke-width="2"/><text {beside} y="{y}" fill="#5a616a" font-size="10">'
        f"{escape(where)}</text>"
    )


def _legend() -> str:
    parts: list[str] = []
    for place, (word, colour) in enumerate({**COLOURS, "no verdict": NONE}.items()):
        x = 16 + 120 * place
        parts.append(
            f'<circle cx="{x + 5}" cy="40" r="5" fill="{colour}"/>'
            f'<text x="{x + 15}" y="44" fill="#5a616a">{word}</text>'
        )
    parts.append('<text x="510" y="44" fill="#5a616a">hollow: benign</text>')
    return "".join(parts)
