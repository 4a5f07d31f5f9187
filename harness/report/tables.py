"""The report's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.checker.outcome import LevelResult, StatisticRow, Word
from harness.checker.tolerance import ALL, CAP, FLOOR, SPARSE_SHARE
from harness.report.text import number, odds, percent, shown, token
from harness.verdict import Verdict
from launchers.capabilities import TITLES

STATISTICS = "AKFSG"  # in the order of the columns
SIGNS = {Word.EQUIVALENT: "=", Word.DIFFERENT: "≠", Word.INCONCLUSIVE: "?"}


def bullets(items: Iterable[str], name: str) -> str:
    return f'<ul class="{name}">{"".join(f"<li>{shown(item)}</li>" for item in items)}</ul>'


def levels(levels: Sequence[LevelResult]) -> str:
    rows = "".join(
        f'<tr class="{level.word or "unasked"}">'
        f'<th scope="row" class="across">{shown(level.level)} '
        f'<span class="quiet">{shown(_title(level))}</span></th>'
        f'<td class="word across">{_word(level.word)}</td>'
        f'<td class="across">{bullets(level.reasons, "reasons")}</td>'
        f"{_cost(level)}</tr>"
        for level in levels
    )
    return table(("level", "word", "reasons", "#tokens", "#seconds"), rows, "cards levels", "")


def _title(level: LevelResult) -> str:
    """What a title says beside the level's name."""
    return level.title.removeprefix(f"{level.level}: ")


def _cost(level: LevelResult) -> str:
    if level.word is None:
        return '<td class="unasked-cost"></td>' * 2
    return (
        f'<td class="n" data-label="tokens">{level.tokens:,}</td>'
        f'<td class="n" data-label="seconds">{level.seconds:,.1f}</td>'
    )


def _word(word: Word | None) -> str:
    return "not asked" if word is None else f"{SIGNS[word]} {word.value}"


def capabilities(verdict: Verdict) -> str:
    """What an attached endpoint can do; nothing where an engine was launched."""
    found = verdict.candidate.get("capabilities")
    if found is None:
        return ""
    rows = "".join(
        f'<tr><th scope="row" class="across">{shown(title)}</th>'
        f'<td class="word across">{shown(found[name]["able"])}</td>'
        f'<td class="across">{shown(found[name]["evidence"])}</td></tr>'
        for name, title in TITLES.items()
    )
    intro = (
        '<h2 id="capabilities">What the endpoint can do</h2><p>Found by asking, in '
        f"{found['requests']} small requests. What is accepted with 200 and ignored is a no; what "
        "could not be found out is unknown, and not built upon.</p>"
    )
    return intro + table(("capability", "", "what came back"), rows, "cards", "")


def table(heads: Sequence[str], rows: str, name: str, caption: str) -> str:
    """A head that starts with # stands over numbers."""
    cells = "".join(
        f'<th scope="col" class="n">{h[1:]}</th>'
        if h.startswith("#")
        else f'<th scope="col">{h}</th>'
        for h in heads
    )
    below = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<table class="{name}">{below}<thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>'
    )


def tolerance_of(verdict: Verdict, stratum: str) -> Mapping[str, Any]:
    return next(t for t in verdict.tolerances["strata"] if t["stratum"] == stratum)


def segment(verdict: Verdict) -> str:
    worst = verdict.worst_segment
    if worst is None:
        return not_reached(verdict)
    usual = max(tolerance_of(verdict, worst["stratum"])["benign_d_999"], FLOOR)
    rows = "".join(_segment_row(t, usual) for t in worst["tokens"])
    heads = (
        "#position",
        "token",
        "#reference",
        "#candidate",
        "#d",
        "reference's top-1",
        "candidate's top-1",
    )
    caption = (
        "Logprobs of the token that stands there, nats. ␣ is a space, ↵ a newline. A cell of d is "
        f"coloured where |d| is above {number(usual)}, which 999 in 1000 benign tokens of this "
        "stratum stay under; ▼ less and ▲ more probable than the reference says."
    )
    intro = (
        f"<p>Case <code>{shown(worst['case_id'])}</code> of {shown(worst['stratum'])}: mean |d| is "
        f"{number(worst['mean_absolute_d'])} nats. No other stretch that was drawn is further "
        "off.</p>"
    )
    return intro + table(heads, rows, "cards segment", caption)


def _segment_row(t: Mapping[str, Any], usual: float) -> str:
    d = t["candidate_logprob"] - t["reference_logprob"]
    step = _steps(abs(d) / usual, (1, 10, 100))
    mark, name = ("", "") if not step else ("▼ ", "less") if d < 0 else ("▲ ", "more")
    same = t["reference_top"] == t["candidate_top"]
    candidate_top = (
        '<span class="quiet">the same</span>' if same else f"≠ {token(t['candidate_top'])}"
    )
    return (
        f'<tr><td class="n quiet" data-label="position">{t["position"]}</td>'
        f'<th scope="row" class="two">{token(t["text"])}</th>'
        f'<td class="n" data-label="reference">{_logprob(t["reference_logprob"])}</td>'
        f'<td class="n" data-label="candidate">{_logprob(t["candidate_logprob"])}</td>'
        f'<td class="n {name}{step or ""}" data-label="d">{mark}{number(d)}</td>'
        f'<td data-label="reference top-1">{token(t["reference_top"])}</td>'
        f'<td class="two" data-label="candidate top-1">{candidate_top}</td></tr>'
    )


def _logprob(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _steps(value: float, limits: Sequence[float]) -> int:
    return sum(value > limit for limit in limits)


def statistics(rows: Sequence[StatisticRow]) -> str:
    levels = dict.fromkeys(row.level for row in rows)
    return "".join(_heat(level, [r for r in rows if r.level == level]) for level in levels)


def _heat(level: str, rows: Sequence[StatisticRow]) -> str:
    groups: dict[str, dict[str, StatisticRow]] = {}
    for row in rows:
        groups.setdefault(row.group, {})[row.statistic] = row
    names = sorted({row.statistic for row in rows}, key=STATISTICS.index)
    body = "".join(
        f'<tr><th scope="row">{shown(group)}</th>'
        + "".join(_cell(found.get(name)) for name in names)
        + f'<td class="n">{_drawn(next(iter(found.values())))}</td></tr>'
        for group, found in groups.items()
    )
    caption = (
        "Value as a multiple of its tolerance. = shows EQUIVALENT; ! above its tolerance; ? not "
        f"decided, with the prompts still needed if they stay as they are. A prompt is judged as "
        f"{CAP:g} tolerances at most; above the tolerance the unclipped mean is shown. "
        + _strongest(rows[0])
    )
    heads = (shown(level), *(f"#{name}" for name in names), "#drawn")
    return table(heads, body, "heat", caption)


def _strongest(row: StatisticRow) -> str:
    if row.log10_different <= 0:
        return "No evidence for DIFFERENT."
    return (
        f"Groups stand in the order of their evidence for DIFFERENT: {shown(row.group)} "
        f"{row.statistic} has {odds(row.log10_different)}."
    )


def _drawn(row: StatisticRow) -> str:
    return f"{row.units}/{row.population}"


def _cell(row: StatisticRow | None) -> str:
    if row is None:
        return '<td class="n quiet">-</td>'
    mean = row.shown()
    if mean is None:
        return '<td class="n quiet">not drawn</td>'
    ratio = mean / row.tolerance
    step = _steps(ratio, (1, 3, 10))
    tint = "in2" if row.equivalent else f"out{step}" if step else "in1"
    mark = "=" if row.equivalent else "!" if step else "?"
    return (
        f'<td class="n {tint}"><b>{mark} {_multiple(ratio)}</b><small>{_still_needed(row)}</small>'
        f'<small class="wide">{number(mean)} of {number(row.tolerance)}</small></td>'
    )


def _multiple(ratio: float) -> str:
    return (
        ">999×"
        if ratio > 999
        else f"{float(f'{ratio:.2g}'):g}×"
        if ratio < 100
        else f"{ratio:.0f}×"
    )


def _still_needed(row: StatisticRow) -> str:
    if row.equivalent:
        return "reached"
    if row.above():
        return "above"
    return "too few prompts" if row.units_needed is None else f"{row.units_needed} more"


def tolerances(verdict: Verdict) -> str:
    given = verdict.tolerances
    columns = ("tau_a", "tau_k", "tau_f", "s0", "benign_mean_d", "c_token", "m0")
    labels = ("A", "K", "F", "bad segment", "benign mean |d|", "|d| clipped at", "near tie")
    rows = "".join(
        f'<tr><th scope="row" class="across">{shown(stratum["stratum"])}</th>'
        + "".join(
            f'<td class="n" data-label="{label}">{number(stratum[column])}</td>'
            for column, label in zip(columns, labels, strict=True)
        )
        + "</tr>"
        for stratum in given["strata"]
    )
    intro = (
        f"<p>Numerics class <strong>{shown(given['numerics'])}</strong>. A tolerance is "
        f"{number(given['gamma'])} times the worst mean of {len(given['configurations'])} benign "
        f"configurations of {len(given['implementations'])} implementations "
        f"({shown(', '.join(given['implementations']))}), and never below {number(FLOOR)} nats:</p>"
        + bullets(given["configurations"], "configurations")
    )
    caption = (
        "Nats; F is a share. A 16-token segment with a mean |d| above “bad segment” is a bad one; "
        f"the share of prompts with one (S) may be {percent(SPARSE_SHARE)}. Row “{ALL}” is what "
        "L1 is held to."
    )
    heads = ("stratum", *(f"#{label}" for label in labels))
    return intro + table(heads, rows, "cards", caption)


def not_reached(verdict: Verdict) -> str:
    if verdict.verdict is Word.DIFFERENT:
        why = f"{shown(verdict.level)} decided before the candidate scored a token"
    else:
        why = "the candidate could not be asked to score a token"
    return f'<p class="note">Nothing to show: {why}.</p>'
