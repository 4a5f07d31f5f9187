"""The verdict as one HTML page: nothing to fetch, no script, light, dark, phone and paper.

A pure function of the Verdict. report.html holds the order and the prose, report.css the looks;
here are the words that depend on the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any

from harness.checker.outcome import Word
from harness.checker.shares import SHARES
from harness.checker.tolerance import ALL
from harness.report import likely, pictures, repeat, sections, tables
from harness.report.text import number, percent, shown
from harness.verdict import Verdict

HERE = Path(__file__).parent
WHY = {
    (Word.EQUIVALENT, "L1"): "Every measured difference is within the tolerance that engines "
    "known to be right set.",
    (Word.DIFFERENT, "pin"): "The engine does not run as its pin says.",
    (Word.DIFFERENT, "L0"): "The same request becomes another prompt, or a raw answer other parts, "
    "than the reference's contract says.",
    (Word.DIFFERENT, "L0b"): "Its answers break what the request asked of them, whatever the model "
    "says.",
    (Word.DIFFERENT, "L2"): "On the reference's own tokens the candidate's probabilities are "
    "further off than those of any engine that is known to be right.",
    (Word.DIFFERENT, "L1"): "The candidate does not agree with itself: the same tokens get other "
    "probabilities when they are asked in another way.",
    (Word.DIFFERENT, "L2b"): "The tokens that the candidate generates are not those that the "
    "reference's own probabilities support.",
    (Word.DIFFERENT, "sampler"): "The tokens that the candidate draws are not distributed as the "
    "promised sampling parameters say.",
    (Word.DIFFERENT, "black box"): "The candidate's texts are further from the reference's than "
    "the reference's are from each other.",
    (Word.INCONCLUSIVE, "L0"): "The endpoint cannot be asked all that EQUIVALENT needs; what it "
    "could be asked shows no fault.",
    (
        Word.INCONCLUSIVE,
        "L0b",
    ): "It scores as the reference does, but its answers could not be asked all that they owe.",
    (Word.INCONCLUSIVE, "L2"): "Against the reference, the corpus shows neither a fault nor that "
    "there is none.",
    (Word.INCONCLUSIVE, "L1"): "It agrees with the reference, but the corpus does not show "
    "whether it agrees with itself.",
    (Word.INCONCLUSIVE, "L2b"): "It scores as the reference does, but what it generates could not "
    "be judged to the end.",
    (Word.INCONCLUSIVE, "sampler"): "Its probabilities show no fault, but whether it draws by them "
    "could not be judged to the end.",
    (Word.INCONCLUSIVE, "black box"): "Texts alone can show a fault, and never that there is none.",
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
        sign=tables.SIGNS[verdict.verdict],
        candidate_title=shown(verdict.candidate["title"]),
        why=WHY[verdict.verdict, verdict.level],
        reasons=tables.bullets(verdict.reasons, "reasons"),
        facts=_facts(verdict),
        levels=tables.levels(verdict.levels),
        likely=likely.section(verdict),
        details="".join(sections.of(level) for level in verdict.levels),
        capabilities=tables.capabilities(verdict),
        pictures=_pictures(verdict),
        segment=tables.segment(verdict),
        evidence=_evidence(verdict),
        statistics=tables.statistics(verdict.statistics) or tables.not_reached(verdict),
        tolerances=tables.tolerances(verdict),
        caveats=tables.bullets(verdict.caveats, "caveats"),
        command=shown(repeat.command(verdict)),
        provenance=_provenance(verdict),
        b="" if mean_d is None else f"Here: {number(mean_d)} nats.",
    )


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
    if verdict.level == "pin":
        return "The engine's own words are held against the pin: no chance is involved."
    if verdict.level in ("L0", "L0b") and verdict.verdict is Word.DIFFERENT:
        return "This level compares exactly: no chance is involved."
    return (
        "If the candidate were exactly at its tolerance, the chance of the word DIFFERENT would be "
        f"at most {percent(verdict.alpha)}; if it were just beyond, the chance of EQUIVALENT at "
        f"most {percent(verdict.beta)}. Both are conditional on the tolerances below."
    )


def _pictures(verdict: Verdict) -> str:
    own, benign = verdict.breakdown, verdict.breakdown["benign"]
    mean = own["mean_absolute_d"]
    if mean is None:
        return tables.not_reached(verdict)
    tolerance = tables.tolerance_of(verdict, ALL)["tau_a"]
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


def _evidence(verdict: Verdict) -> str:
    levels: dict[str, pictures.Paths] = verdict.breakdown["paths"]
    if not levels:
        return tables.not_reached(verdict)
    figures: list[tuple[str, str, str]] = []
    for level, paths in levels.items():
        for side, word, chance, words in (
            (
                0,
                "DIFFERENT",
                verdict.alpha * SHARES[level],
                "The mean of all series (dotted) decides.",
            ),
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
        f"<p>Of the {percent(verdict.alpha)}, {_shares()}. A line is one statistic of one group; "
        "one that leaves the picture goes on.</p>"
    )
    return share + _gallery(figures)


def _shares() -> str:
    return ", ".join(f"{level} has {percent(share)}" for level, share in SHARES.items())


def _provenance(verdict: Verdict) -> str:
    rows = [(key.replace("_", " "), shown(value)) for key, value in verdict.provenance.items()]
    started = verdict.candidate["pin"] or {"shims": {}}
    for shim, digest in started["shims"].items():
        rows.append((f"candidate shim {shim}", f"<code>{shown(digest)}</code>"))
    for name, party in (("candidate", verdict.candidate), ("reference", verdict.reference)):
        pin = party["pin"]
        if pin is not None:
            files = [f"{file} {digest}" for file, digest in pin["model_files"].items()]
            rows.append((f"{name} pin", f"<code>{shown(pin['hash'])}</code>"))
            rows.append((f"{name} environment", shown(pin["environment"])))
            rows.append((f"{name} model files", tables.bullets(files, "files")))
    rows.append(("trace sha256", f"<code>{shown(verdict.reference['sha256'])}</code>"))
    return _pairs(rows)
