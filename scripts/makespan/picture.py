"""The makespans as one picture: by machine and nodes, in lower bounds, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from scripts.makespan.account import WITHIN, Row

WIDTH, LEFT, RIGHT, TOP, STEP = 860, 130, 40, 64, 22
NAMES = {
    "sequential": ("sequential", "#b3261e"),
    "naive": ("naive sharding", "#7d5200"),
    "ours": ("ours", "#0f6b52"),
    "foreseen": ("bound with foresight", "#5a616a"),
}
HIGHEST = 4.0  # lower bounds
WORDS = "How long the plan takes, in lower bounds"


def picture(rows: Sequence[Row]) -> str:
    parts: list[str] = []
    y, last = TOP, ""
    for row in rows:
        if row.machine.name != last:
            last = row.machine.name
            y += STEP
            parts.append(f'<text x="16" y="{y + 4}" font-weight="600">{escape(last)}</text>')
        y += STEP
        parts.append(_row(row, y))
    height = y + 52
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{WORDS}" font-family="system-ui, sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{height}" fill="#fdfdfb"/>'
        f'<text x="16" y="24" font-size="15" font-weight="600">{WORDS}</text>{_legend()}'
        f"{_axis(height)}{''.join(parts)}</svg>\n"
    )


def _x(ratio: float) -> float:
    part = math.log(min(max(ratio, 1.0), HIGHEST)) / math.log(HIGHEST)
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _axis(height: int) -> str:
    lines = [
        f'<rect x="{_x(1):.0f}" width="{_x(WITHIN) - _x(1):.0f}" y="{TOP}" '
        f'height="{height - TOP - 28}" fill="#0f6b52" opacity=".12"/>'
    ]
    for ratio in (1, 1.25, 1.5, 2, 3, 4):
        x = _x(ratio)
        lines.append(
            f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{TOP}" y2="{height - 28}" stroke="#d8dad4"/>'
            f'<text x="{x:.0f}" y="{height - 12}" text-anchor="middle" fill="#5a616a">'
            f"{ratio:g}</text>"
        )
    return "".join(lines)


def _row(row: Row, y: int) -> str:
    lower = row.hours("lower")
    nodes = f"{row.nodes} node{'s' if row.nodes > 1 else ''}"
    parts = [f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{nodes}</text>']
    for name, (_, colour) in NAMES.items():
        x = _x(row.hours(name) / lower)
        if name == "foreseen":
            parts.append(
                f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{y - 8}" y2="{y + 8}" stroke="{colour}" '
                f'stroke-width="2"/>'
            )
            continue
        parts.append(f'<circle cx="{x:.0f}" cy="{y}" r="5" fill="{colour}"/>')
    return "".join(parts)


def _legend() -> str:
    parts: list[str] = []
    for place, (words, colour) in enumerate(NAMES.values()):
        x = 16 + 150 * place
        parts.append(
            f'<rect x="{x}" y="40" width="10" height="10" fill="{colour}"/>'
            f'<text x="{x + 15}" y="49" fill="#5a616a">{words}</text>'
        )
    parts.append('<text x="616" y="49" fill="#5a616a">shaded: within 5 %</text>')
    return "".join(parts)
