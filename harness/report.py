"""The verdict as one HTML page: nothing to fetch, no script, light, dark, phone and paper.

A pure function of the Verdict. report.html holds the order and the prose, report.css the looks,
report_pictures.py the drawings; here are the words and tables that depend on the verdict.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from harness import report_pictures as pictures
from harness.checker.outcome import LevelResult, StatisticRow, Word
from harness.checker.tolerance import ALL, CAP, FLOOR, SPARSE_SHARE
from harness.report_pictures import number, odds, shown, token
from harness.verdict import Verdict

HERE = Path(__file__).parent
SIGNS = {Word.EQUIVALENT: "=", Word.DIFFERENT: "≠", Word.INCONCLUSIVE: "?"}
SEQUENTIAL_LEVELS = 2  # L2 and L1 have half of alpha each
WHY = {
    (Word.EQUIVALENT, "L1"): "Every measured difference is within the tolerance that engines "
    "known to be right set.",
    (Word.DIFFERENT, "L0"): "The candidate does not turn the same prompts into the same tokens.",
    (Word.DIFFERENT, "L2"): "On the reference's own tokens the candidate's probabilities are "
    "further off than those of any engine that is known to be right.",
    (Word.DIFFERENT, "L1"): "The candidate does not agree with itself: the same tokens get other "
    "probabilities when they are asked in another way.",
    (Word.INCONCLUSIVE, "L2"): "Against the reference, the corpus shows neither a fault nor that "
    "there is none.",
    (Word.INCONCLUSIVE, "L1"): "It agrees with the reference, but the corpus does not show "
    "whether it agrees with itself.",
    (Word.INCONCLUSIVE, "pool"): "No fault was found, but the reference's benign pool is too "
    "small to support EQUIVALENT.",
}


def page(verdict: Verdict) -> str:
    """A whole HTML document."""
    template = Template((HERE / "report.html").read_text(encoding="utf-8"))
    mean_d = verdict.breakdown["mean_d"]
    return template.substitute(
        css=(HERE / "report.css").read_text(encoding="utf-8"),
        word=verdict.verdict.value,
        sign=SIGNS[verdict.verdict],
        candidate_title=shown(verdict.candidate["title"]),
        why=WHY[verdict.verdict, verdict.level],
        reasons=_list(verdict.reasons, "reasons"),
        facts=_facts(verdict),
        levels=_levels(verdict.levels),
        pictures=_pictures(verdict),
        segment=_segment(verdict),
        evidence=_evidence(verdict),
        statistics=_statistics(verdict.statistics) or _not_reached(verdict),
        tolerances=_tolerances(verdict),
        caveats=_list(verdict.caveats, "caveats"),
        command=shown(_command(verdict)),
        provenance=_provenance(verdict),
        b="" if mean_d is None else f"Here: {number(mean_d)} nats.",
    )


def _list(items: Iterable[str], name: str) -> str:
    return f'<ul class="{name}">{"".join(f"<li>{shown(item)}</li>" for item in items)}</ul>'


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"<dt>{shown(term)}</dt><dd>{text}</dd>" for term, text in pairs)


def _facts(verdict: Verdict) -> str:
    launch = verdict.launch_seconds
    rows = [
        ("Candidate", _party(verdict.candidate)),
        ("Reference", _party(verdict.reference)),
        ("Judged as", shown(verdict.numerics)),
        (
            "Cost",
            f"{verdict.tokens:,} tokens in {verdict.seconds:,.1f} s"
            + ("" if launch is None else f", after {launch:,.0f} s of launching"),
        ),
        ("How sure", _sureness(verdict)),
    ]
    return _pairs(rows)


def _party(party: Mapping[str, Any]) -> str:
    """Who it was: title, what the engine says of itself, pin and trace by short hashes."""
    details = [f"{shown(key)} {shown(value)}" for key, value in party["identity"].items()]
    if party["pin"] is not None:
        details.append(f"pin <code>{shown(party['pin']['hash'][:12])}</code>")
    else:
        details.append("no pin: somebody else's server")
    if "sha256" in party:
        details.append(f"{shown(party['trace'])} <code>{shown(party['sha256'][:12])}</code>")
    title = f"<strong>{shown(party['title'])}</strong>"
    return f'{title}<br><span class="quiet">{", ".join(details)}</span>'


def _sureness(verdict: Verdict) -> str:
    if verdict.level == "L0":
        return "L0 compares token ids exactly: no chance is involved."
    return (
        "If the candidate were exactly at its tolerance, the chance of the word DIFFERENT would be "
        f"at most {_percent(verdict.alpha)}; if it were just beyond, the chance of EQUIVALENT at "
        f"most {_percent(verdict.beta)}. Both are conditional on the tolerances below."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _levels(levels: Sequence[LevelResult]) -> str:
    rows = "".join(
        f'<tr class="{level.word.value}"><th scope="row" class="across">{shown(level.level)} '
        f'<span class="quiet">{shown(level.title)}</span></th>'
        f'<td class="word across">{SIGNS[level.word]} {level.word.value}</td>'
        f'<td class="across">{_list(level.reasons, "reasons")}</td>'
        f'<td class="n" data-label="tokens">{level.tokens:,}</td>'
        f'<td class="n" data-label="seconds">{level.seconds:,.1f}</td></tr>'
        for level in levels
    )
    return _table(("level", "word", "reasons", "#tokens", "#seconds"), rows, "cards levels", "")


def _table(heads: Sequence[str], rows: str, name: str, caption: str) -> str:
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


def _not_reached(verdict: Verdict) -> str:
    return (
        f'<p class="note">Nothing to show: {shown(verdict.level)} decided before the candidate '
        "scored a token.</p>"
    )


def _pictures(verdict: Verdict) -> str:
    own, benign = verdict.breakdown, verdict.breakdown["benign"]
    mean = own["mean_absolute_d"]
    if mean is None:
        return _not_reached(verdict)
    tolerance = _tolerance_of(verdict, ALL)["tau_a"]
    beyond = pictures.beyond_benign(own["histogram"]["counts"], benign["histogram"]["counts"])
    figures = [
        (
            "Distribution of |d|",
            pictures.distribution(
                own["histogram"], benign["histogram"], tolerance=tolerance, mean=mean
            ),
            f"▲ the candidate's mean, {number(mean)}; the benign pool's, "
            f"{number(benign['mean_absolute_d'])}; the tolerance of the mean over all strata, "
            f"{number(tolerance)}. {beyond:.3g} % of the candidate's tokens lie beyond every "
            "benign one.",
        ),
        (
            "By position",
            pictures.by_position(own["positions"], benign["positions"], tolerance=tolerance),
            f"Candidate: {_slope(own)}. Benign pool: {_slope(benign)}. Growth that the pool does "
            "not have points to position encoding (RoPE) or to the KV cache.",
        ),
        (
            "By token class",
            pictures.by_class(own["classes"], benign["classes"]),
            "Mean |d|, nats. One class alone far off points to a template, a tool or a thinking "
            "marker, or to a tokenizer.",
        ),
    ]
    key = '<p><span class="key"></span>candidate <span class="key benign"></span>benign pool</p>'
    return key + _gallery(figures)


def _gallery(figures: Iterable[tuple[str, str, str]]) -> str:
    return '<div class="pictures">' + "".join(
        f"<figure><h3>{title}</h3>{svg}<figcaption>{words}</figcaption></figure>"
        for title, svg, words in figures
    ) + "</div>"  # fmt: skip


def _slope(table: Mapping[str, Any]) -> str:
    slope, mean = table["slope_per_doubling"], table["mean_absolute_d"]
    if slope is None:
        return "too few positions for a slope"
    if not mean:
        return "no difference at any position"
    share = 100 * abs(slope) / mean
    if share < 5:
        return "mean |d| stays about the same at every position"
    way = "grows" if slope > 0 else "falls"
    return (
        f"mean |d| {way} by {number(abs(slope))} nats ({share:.0f} % of its mean) each time the "
        "position doubles"
    )


def _tolerance_of(verdict: Verdict, stratum: str) -> Mapping[str, Any]:
    return next(t for t in verdict.tolerances["strata"] if t["stratum"] == stratum)


def _segment(verdict: Verdict) -> str:
    worst = verdict.worst_segment
    if worst is None:
        return _not_reached(verdict)
    usual = max(_tolerance_of(verdict, worst["stratum"])["benign_d_999"], FLOOR)
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
    return intro + _table(heads, rows, "cards segment", caption)


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


def _evidence(verdict: Verdict) -> str:
    levels: dict[str, pictures.Paths] = verdict.breakdown["paths"]
    if not levels:
        return _not_reached(verdict)
    alpha = verdict.alpha / SEQUENTIAL_LEVELS
    figures: list[tuple[str, str, str]] = []
    for level, paths in levels.items():
        for side, word, chance, words in (
            (0, "DIFFERENT", alpha, "The mean of all series (dotted) decides."),
            (
                1,
                "EQUIVALENT",
                verdict.beta,
                "Every series must cross the line; a group that has is not drawn on.",
            ),
        ):
            svg = pictures.evidence_paths(level, paths, side=side, needed=-math.log10(chance))
            figures.append((f"{shown(level)}: evidence for {word}", svg, words))
    share = (
        f"<p>L2 and L1 have half of the {_percent(verdict.alpha)} each. A line is one statistic of "
        "one group; one that leaves the picture goes on.</p>"
    )
    return share + _gallery(figures)


def _statistics(rows: Sequence[StatisticRow]) -> str:
    levels = dict.fromkeys(row.level for row in rows)
    return "".join(_heat(level, [r for r in rows if r.level == level]) for level in levels)


def _heat(level: str, rows: Sequence[StatisticRow]) -> str:
    groups: dict[str, dict[str, StatisticRow]] = {}
    for row in rows:
        groups.setdefault(row.group, {})[row.statistic] = row
    names = sorted({row.statistic for row in rows}, key="AKFS".index)
    body = "".join(
        f'<tr><th scope="row">{shown(group)}</th>{"".join(_cell(found[name]) for name in names)}'
        f'<td class="n">{found[names[0]].units}/{found[names[0]].population}</td></tr>'
        for group, found in groups.items()
    )
    caption = (
        "Value as a multiple of its tolerance. = shows EQUIVALENT; ! above its tolerance; ? not "
        "decided, with the prompts still needed if they stay as they are. "
        + _strongest(rows[0])
        + _outliers(rows)
    )
    heads = (shown(level), *(f"#{name}" for name in names), "#drawn")
    return _table(heads, body, "heat", caption)


def _strongest(row: StatisticRow) -> str:
    if row.log10_different <= 0:
        return "No evidence for DIFFERENT."
    return (
        f"Groups stand in the order of their evidence for DIFFERENT: {shown(row.group)} "
        f"{row.statistic} has {odds(row.log10_different)}."
    )


def _outliers(rows: Sequence[StatisticRow]) -> str:
    if not any(r.equivalent and r.value is not None and r.value > r.tolerance for r in rows):
        return ""
    return (
        f" A single prompt is judged as {CAP:g} tolerances at most, so a few far ones can lift a "
        "value above 1 where EQUIVALENT is reached; S is what judges those."
    )


def _cell(row: StatisticRow) -> str:
    if row.value is None:
        return '<td class="n quiet">not drawn</td>'
    ratio = row.value / row.tolerance
    step = _steps(ratio, (1, 3, 10))
    tint = "in2" if row.equivalent else f"out{step}" if step else "in1"
    mark = "=" if row.equivalent else "!" if step else "?"
    return (
        f'<td class="n {tint}"><b>{mark} {_multiple(ratio)}</b><small>{_still_needed(row)}</small>'
        f'<small class="wide">{number(row.value)} of {number(row.tolerance)}</small></td>'
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
    if row.value is not None and row.value > row.tolerance:
        return "above"
    return "too few prompts" if row.units_needed is None else f"{row.units_needed} more"


def _tolerances(verdict: Verdict) -> str:
    table = verdict.tolerances
    columns = ("tau_a", "tau_k", "tau_f", "s0", "benign_mean_d", "c_token", "m0")
    labels = ("A", "K", "F", "bad segment", "benign mean |d|", "|d| clipped at", "near tie")
    rows = "".join(
        f'<tr><th scope="row" class="across">{shown(stratum["stratum"])}</th>'
        + "".join(
            f'<td class="n" data-label="{label}">{number(stratum[column])}</td>'
            for column, label in zip(columns, labels, strict=True)
        )
        + "</tr>"
        for stratum in table["strata"]
    )
    intro = (
        f"<p>Numerics class <strong>{shown(table['numerics'])}</strong>. A tolerance is "
        f"{number(table['gamma'])} times the worst mean of {len(table['configurations'])} benign "
        f"configurations of {len(table['implementations'])} implementations "
        f"({shown(', '.join(table['implementations']))}), and never below {number(FLOOR)} nats:</p>"
        + _list(table["configurations"], "configurations")
    )
    caption = (
        "Nats; F is a share. A 16-token segment with a mean |d| above “bad segment” is a bad one; "
        f"the share of prompts with one (S) may be {_percent(SPARSE_SHARE)}. Row “{ALL}” is what "
        "L1 is held to."
    )
    heads = ("stratum", *(f"#{label}" for label in labels))
    return intro + _table(heads, rows, "cards", caption)


def _command(verdict: Verdict) -> str:
    pin = verdict.candidate["pin"]
    words = ["enginediff", "check", verdict.candidate["title"] if pin is None else pin["name"]]
    for change in () if pin is None else pin["changes"]:
        words += ["--set", change]
    words += ["--against", verdict.reference["trace"], "--seed", str(verdict.seed)]
    words += ["--alpha", f"{verdict.alpha:g}", "--beta", f"{verdict.beta:g}"]
    if pin is None:
        words += ["--numerics", verdict.numerics]
    return shlex.join(words)


def _provenance(verdict: Verdict) -> str:
    rows = [(key.replace("_", " "), shown(value)) for key, value in verdict.provenance.items()]
    for name, party in (("candidate", verdict.candidate), ("reference", verdict.reference)):
        pin = party["pin"]
        if pin is not None:
            files = [f"{file} {digest}" for file, digest in pin["model_files"].items()]
            rows.append((f"{name} pin", f"<code>{shown(pin['hash'])}</code>"))
            rows.append((f"{name} environment", shown(pin["environment"])))
            rows.append((f"{name} model files", _list(files, "files")))
    rows.append(("trace sha256", f"<code>{shown(verdict.reference['sha256'])}</code>"))
    return _pairs(rows)
