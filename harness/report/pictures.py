"""Small pictures as inline SVG.

Every picture is 440 units wide, so that its 12-unit letters are still read on a phone. Colours
are classes of report.css; a dash, a mark or a number always says the same as the colour.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from harness.report.text import label, number, odds, power, shown

WIDTH, HEIGHT = 440, 264
LEFT, RIGHT, TOP, BOTTOM = 46, 428, 26, 222
LOWEST_EVIDENCE = -4.0  # log10: lines that go lower leave the picture
ABOVE_NEEDED = 3.0  # log10: how far above the line the picture goes

# "group statistic" -> (prompts drawn, log10 E_diff, log10 E_eq)
Paths = Mapping[str, Sequence[Sequence[float]]]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to units of the picture."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """What lies outside is drawn at the edge."""
        return self.beyond(min(max(value, self.low), self.high))

    def beyond(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimated:
    """A parameter as it was promised, if it was, and as it is found."""

    label: str
    promised: float | None
    value: float
    low: float
    high: float


def distribution(
    candidate: Mapping[str, Any], benign: Mapping[str, Any], *, tolerance: float, mean: float
) -> str:
    """Shares of |d| in quarters of a decade; bit-equal tokens stand apart on the left."""
    edges: Sequence[float] = candidate["edges_log10"]
    shares = [_shares(benign["counts"]), _shares(candidate["counts"])]
    held = [i for s in shares for i in range(1, len(s)) if s[i] > 0]
    ends = [*(edges[i - 1] for i in held), *(edges[i] for i in held), math.log10(tolerance)]
    low = math.floor(min(ends))
    x = Scale(low, max(math.ceil(max(ends)), low + 2), LEFT + 84, RIGHT)
    top, ticks = _linear(max(max(s) for s in shares))
    y = Scale(0, top, BOTTOM, TOP)
    parts = [_grid([(y(t), f"{t:.3g} %") for t in ticks]), _decades(x)]
    for name, s in zip(("benign", "candidate"), shares, strict=True):
        bins = [(edges[i - 1], edges[i], s[i]) for i in range(1, len(s)) if edges[i] > low]
        outline = "".join(f"V{y(v):.1f}H{x(b):.1f}" for _, b, v in bins)
        parts.append(f'<path class="area {name}" d="M{x.start} {BOTTOM}{outline}V{BOTTOM}"/>')
    for name, left, s in zip(("benign", "candidate"), (LEFT + 8, LEFT + 24), shares, strict=True):
        parts.append(
            f'<rect class="area {name}" x="{left}" y="{y(s[0]):.1f}" width="14" '
            f'height="{BOTTOM - y(s[0]):.1f}"/>'
        )
    parts.append(_text(LEFT + 23, BOTTOM + 16, "bit-equal", "middle"))
    parts.append(_vertical(x(math.log10(tolerance)), "tolerance of the mean"))
    if mean > 0:
        at = x(math.log10(mean))
        parts.append(f'<path class="mark" d="M{at:.1f} {BOTTOM - 1}l-5 9h10z"/>')
    parts.append(_text(RIGHT, HEIGHT - 8, "|d| of one token, nats", "end"))
    return _svg("distribution", "How far single tokens are off", _histogram_words(*shares), parts)


def _shares(counts: Sequence[int]) -> list[float]:
    """Per cent."""
    total = sum(counts) or 1
    return [100 * count / total for count in counts]


def _histogram_words(benign: Sequence[float], candidate: Sequence[float]) -> str:
    return (
        f"{candidate[0]:.3g} % of the candidate's tokens and {benign[0]:.3g} % of the benign "
        "pool's are bit-equal to the reference; the others lie along a logarithmic axis."
    )


def beyond_benign(candidate: Sequence[int], benign: Sequence[int]) -> float:
    """Per cent of the candidate's tokens in bins above the last one that the benign pool holds."""
    last = max((i for i, count in enumerate(benign) if count), default=0)
    return 100 * sum(candidate[last + 1 :]) / (sum(candidate) or 1)


def by_position(
    candidate: Sequence[Mapping[str, Any]],
    benign: Sequence[Mapping[str, Any]],
    *,
    tolerance: float,
) -> str:
    """Mean |d| over position, both in powers; an exact 0 stands hollow on the axis."""
    rows = [("benign", benign), ("candidate", candidate)]
    values = [r["mean_absolute_d"] for _, table in rows for r in table] + [tolerance]
    logs = [math.log10(v) for v in values if v > 0]
    y = Scale(
        math.floor(min(logs)), max(math.ceil(max(logs)), math.floor(min(logs)) + 1), BOTTOM, TOP
    )
    last = max(math.log2(r["from"]) for _, table in rows for r in table)
    x = Scale(0, max(last, 1), LEFT + 12, RIGHT - 10)
    parts = [_grid([(y(e), power(e)) for e in _thinned(int(y.low), int(y.high), 6)])]
    for e in _thinned(0, int(x.high), 7):
        parts.append(_text(x(e), BOTTOM + 16, f"{2**e:,}", "middle"))
    parts.append(_horizontal(y(math.log10(tolerance)), "tolerance of the mean"))
    for name, table in rows:
        points = [(x(math.log2(r["from"])), _log_y(y, r["mean_absolute_d"])) for r in table]
        parts.append(_line(points, name))
        parts += [
            _dot(p, name, r["mean_absolute_d"] == 0) for p, r in zip(points, table, strict=True)
        ]
    parts.append(_text(RIGHT, HEIGHT - 8, "position in the sequence, from", "end"))
    parts.append(_text(0, 12, "mean |d|, nats", "start"))
    words = "; ".join(f"from {r['from']}: {number(r['mean_absolute_d'])}" for r in candidate)
    return _svg("position", "Mean |d| by position", f"The candidate, nats: {words}.", parts)


def _log_y(y: Scale, value: float) -> float:
    return y(math.log10(value)) if value > 0 else y.start


def by_class(candidate: Sequence[Mapping[str, Any]], benign: Sequence[Mapping[str, Any]]) -> str:
    """Mean |d| by token class: two bars each, with their numbers."""
    of = {r["class"]: r["mean_absolute_d"] for r in benign}
    rows = [(r["class"], r["mean_absolute_d"], of.get(r["class"])) for r in candidate]
    highest = max([v for _, a, b in rows for v in (a, b) if v is not None])
    x = Scale(0, highest or 1, LEFT + 14, RIGHT - 72)
    parts: list[str] = []
    for i, (name, own, pool) in enumerate(rows):
        y = TOP - 12 + i * 38
        parts.append(_text(LEFT + 6, y + 16, shown(name), "end"))
        for kind, value, offset in (("candidate", own, 0), ("benign", pool, 13)):
            if value is None:
                continue
            end = x(value)
            parts.append(
                f'<rect class="area {kind}" x="{x.start}" y="{y + offset}" '
                f'width="{end - x.start:.1f}" height="10"/>'
            )
            parts.append(_text(end + 6, y + offset + 9.5, number(value), "start"))
    words = "; ".join(f"{shown(name)}: {number(own)}" for name, own, _ in rows)
    return _svg("classes", "Mean |d| by token class", f"The candidate, nats: {words}.", parts)


def evidence_paths(level: str, paths: Paths, *, side: int, needed: float) -> str:
    """log10 evidence against prompts drawn. side 0: for DIFFERENT, where the mean of all series
    decides; side 1: for EQUIVALENT, where the weakest does. `needed` is a log10."""
    series = {
        name: [(0.0, 0.0), *((drawn, logs[side]) for drawn, *logs in path)]
        for name, path in paths.items()
    }
    ranked = sorted(series, key=lambda name: series[name][-1][1], reverse=side == 0)
    longest = max(points[-1][0] for points in series.values())
    reached = [log for points in series.values() for _, log in points]
    low = max(math.floor(min(reached)), LOWEST_EVIDENCE)
    high = min(max(*reached, needed + 0.5), needed + ABOVE_NEEDED)
    x = Scale(0, max(longest, 1), LEFT, RIGHT - 4)
    y = Scale(low, high, BOTTOM, TOP)
    parts = [_grid([(y(e), power(e)) for e in _thinned(int(low), int(high), 6)])]
    for tick in _linear(x.high)[1]:
        if tick == int(tick) and tick <= x.high:
            parts.append(_text(x(tick), BOTTOM + 16, str(int(tick)), "middle"))
    lines = [_line(_points(x, y, series[name]), "faint") for name in ranked[1:]]
    parts.append(_horizontal(y(needed), f"needed: {10**needed:,.0f} to 1", at=LEFT + 4))
    if side == 0:
        lines.append(_line(_points(x, y, _mean_path(list(series.values()))), "mean"))
    first = series[ranked[0]]
    last = first[-1][1]
    parts.append(_window([*lines, _line(_points(x, y, first), "candidate")]))
    parts.append(_dot((x(first[-1][0]), y(last)), "candidate", hollow=False))
    word, which = (("DIFFERENT", "strongest"), ("EQUIVALENT", "weakest"))[side]
    parts.append(_text(0, 12, f"{which}: {label(ranked[0])}", "start", "strong"))
    parts.append(_text(RIGHT, HEIGHT - 8, "prompts drawn of a group", "end"))
    words = f"{which} of {len(series)} series: {shown(ranked[0])}, {odds(last)}."
    return _svg(
        f"evidence-{shown(level)}-{side}", f"{shown(level)}: evidence for {word}", words, parts
    )


def estimates(name: str, rows: Sequence[Estimated]) -> str:
    """A line with a dot for each estimate and its interval; a dashed mark for what was promised."""
    values = [v for row in rows for v in (row.low, row.high, row.promised) if v is not None]
    room = max(0.15 * (max(values) - min(values)), 0.02)
    x = Scale(min(values) - room, max(values) + room, LEFT + 24, RIGHT)
    step = 44
    foot = TOP + step * len(rows)
    parts: list[str] = []
    for i, row in enumerate(rows):
        y = TOP + 22 + step * i
        parts.append(f'<path class="rule" d="M{x.start} {y}H{x.end}"/>')
        parts.append(_text(LEFT + 16, y + 4, label(row.label), "end"))
        parts.append(_line([(x(row.low), y), (x(row.high), y)], "candidate"))
        parts.append(_dot((x(row.value), y), "candidate", hollow=False))
        parts.append(_text(x(row.value), y - 8, f"{row.value:.2f}", "middle"))
        if row.promised is not None:
            at = x(row.promised)
            parts.append(f'<path class="limit" d="M{at:.1f} {y - 14}V{y + 14}"/>')
            parts.append(_text(at, y + 18, f"promised {row.promised:g}", _anchor(x, at), "halo"))
    parts.append(_text(RIGHT, foot + 18, shown(name), "end"))
    words = "; ".join(
        f"{shown(row.label)}: {row.value:.2f}, {row.low:.2f} to {row.high:.2f}" for row in rows
    )
    identity = f"estimates-{shown(name).replace(' ', '-')}"
    return _svg(identity, f"The {shown(name)} in use", f"{words}.", parts, height=foot + 24)


def _anchor(x: Scale, at: float) -> str:
    if at > x.end - 50:
        return "end"
    return "start" if at < x.start + 50 else "middle"


def _mean_path(series: Sequence[Sequence[Point]]) -> list[Point]:
    """log10 of the equally weighted sum of the evidence; a series that stopped keeps its last."""
    path: list[Point] = []
    for drawn in sorted({drawn for points in series for drawn, _ in points}):
        before = [bisect_right(points, drawn, key=itemgetter(0)) - 1 for points in series]
        logs = [points[i][1] for i, points in zip(before, series, strict=True)]
        highest = max(logs)
        total = sum(10 ** (log - highest) for log in logs if log - highest > -300)
        path.append((drawn, highest + math.log10(total / len(logs))))
    return path


def _points(x: Scale, y: Scale, path: Sequence[Point]) -> list[Point]:
    return [(x(drawn), y.beyond(log)) for drawn, log in path]


def _linear(highest: float) -> tuple[float, list[float]]:
    """A round upper end and three to six ticks from 0 to it."""
    highest = highest or 1.0
    decade = 10 ** math.floor(math.log10(highest))
    step = next(s * decade for s in (0.2, 0.5, 1, 2, 5) if highest / (s * decade) <= 5)
    count = math.ceil(highest / step - 1e-9)
    return count * step, [i * step for i in range(count + 1)]


def _thinned(low: int, high: int, most: int) -> range:
    return range(low, high + 1, max(1, math.ceil((high - low) / most)))


def _grid(rows: Iterable[tuple[float, str]]) -> str:
    return "".join(
        f'<path class="rule" d="M{LEFT} {y:.1f}H{RIGHT}"/>{_text(LEFT - 6, y + 4, label, "end")}'
        for y, label in rows
    )


def _decades(x: Scale) -> str:
    ticks = _thinned(int(x.low), int(x.high), 7)
    return "".join(_text(x(e), BOTTOM + 16, power(e), "middle") for e in ticks)


def _window(parts: Iterable[str]) -> str:
    """Lines that leave the picture end at its edge: an inner svg clips."""
    box = f"{LEFT} {TOP} {RIGHT - LEFT} {BOTTOM - TOP}"
    x, y, width, height = box.split()
    return (
        f'<svg x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{box}">'
        f"{''.join(parts)}</svg>"
    )


def _horizontal(y: float, label: str, at: float = RIGHT) -> str:
    words = _text(at, y - 5, label, "end" if at == RIGHT else "start", "halo")
    return f'<path class="limit" d="M{LEFT} {y:.1f}H{RIGHT}"/>{words}'


def _vertical(x: float, label: str) -> str:
    anchor = "end" if x > (LEFT + RIGHT) / 2 else "start"
    words = _text(x, TOP - 13, label, anchor, "halo")
    return f'<path class="limit" d="M{x:.1f} {TOP - 8}V{BOTTOM}"/>{words}'


def _line(points: Iterable[Point], name: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="line {name}" points="{path}"/>'


def _dot(point: Point, name: str, hollow: bool) -> str:
    kind = "hollow" if hollow else "dot"
    return f'<circle class="{kind} {name}" cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="3"/>'


def _text(x: float, y: float, escaped: str, anchor: str, name: str = "label") -> str:
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped}</text>'


def _svg(name: str, title: str, words: str, parts: Iterable[str], height: float = HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{title}</title><desc id="{name}-d">{words}</desc>'
        f"{''.join(parts)}</svg>"
    )
