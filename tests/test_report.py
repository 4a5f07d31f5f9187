"""The page holds everything for each of the three words, and nothing from outside or unescaped."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest

from harness import verdict
from harness.base.record import Distance
from harness.check import LEVELS
from harness.checker.consistency import COMPARISONS
from harness.checker.diagnosis import diagnose
from harness.checker.features import Seen
from harness.checker.forced import CLASSES, Breakdown
from harness.checker.judge import Judge
from harness.checker.narrowed import Effect, Narrowed, Narrowing
from harness.checker.outcome import LevelResult, Word
from harness.checker.picture import Histogram
from harness.checker.tolerance import ALL, ClassTolerances, calibrate
from harness.levels import configured, contract
from harness.recording import PoolUnit
from harness.report import page as report
from harness.report import pictures, tables
from harness.report.text import number, odds
from harness.verdict import NEEDED, Verdict
from launchers.capabilities import TITLES
from tests.harness.reproductions import REPRODUCTION

STRATA = ("chat", "tools", "thinking", "long", "text", "code")
BENIGN = 0.006  # nats: the mean |d| of a bf16 engine that is right
PROMPTS = 80
CONFIGURATIONS = {
    "reference again": "direct",
    "batch of 1": "direct",
    "batch of 16": "direct",
    "chunks of 256": "direct",
    "eager attention": "transformers",
    "sdpa attention": "transformers",
    "flex attention": "transformers",
}
HOSTILE = '<script>alert("x")</script>&\x00\x1b[31m\u202e\ud83d 👩‍💻 é'
CONTRACT = ("all 480 prompts become the same token ids",)
REASONS = {
    Word.EQUIVALENT: ("all 24 statistics are within tolerance; bad sequences are under 5%",),
    Word.DIFFERENT: (
        "case chat-007: token 31 is '<|im_start|>' in the reference, '\\n' in the candidate",
        "long: A is 0.051, 4.2 times its tolerance 0.012, over 8 prompts",
    ),
    Word.INCONCLUSIVE: (
        "tools: K is undecided after 24 of 80 prompts; about 21 more of the same would "
        "show EQUIVALENT",
    ),
}
SECTIONS = (
    "verdict levels pictures segment evidence statistics tolerances "
    "caveats repeat provenance glossary"
)
Generator = np.random.Generator


def distance(rng: Generator, stratum: str, scale: float, tokens: int = 0) -> Distance:
    """Heavy-tailed, with some bit-equal tokens, as real engines are; scale 0 is bit-equal."""
    n = tokens or {"long": 900, "text": 300}.get(stratum, 180)
    size = scale * np.exp(rng.normal(-0.72, 1.2, n)) * (rng.random(n) > 0.15)
    margin = rng.exponential(2.0, n)
    return Distance(
        d=size * rng.choice([-1.0, 1.0], n),
        divergence=size**2 * rng.exponential(0.6, n),
        flip=margin < size * 0.5,
        margin=margin,
        margin_change=size * rng.random(n),
    )


def pool(rng: Generator) -> list[PoolUnit]:
    return [
        PoolUnit(
            numerics="bf16",
            configuration=configuration,
            implementation=implementation,
            stratum=stratum,
            case_id=f"{stratum}-{i:03}",
            distance=distance(rng, stratum, BENIGN * rng.uniform(0.9, 1.1)),
        )
        for configuration, implementation in CONFIGURATIONS.items()
        for stratum in STRATA
        for i in range(20)
    ]


class Pictured:
    """What the pictures need of many distances."""

    def __init__(self, rng: Generator) -> None:
        self.rng, self.histogram, self.breakdown = rng, Histogram(), Breakdown()

    def add(self, of: Distance) -> None:
        classes = self.rng.choice(len(CLASSES), len(of.d), p=[0.03, 0.01, 0.08, 0.12, 0.6, 0.16])
        self.histogram.add(of.d)
        self.breakdown.add(of.d, classes.astype(np.int64), 20)

    def table(self) -> dict[str, Any]:
        return {**self.breakdown.table(), "histogram": self.histogram.table()}


def judged(
    judge: Judge, rng: Generator, scales: Mapping[str, float], most: int, pictured: Pictured | None
) -> None:
    """Draws in rounds of four until the judge knows its word, `most` prompts of a group at most."""
    for start in range(0, most, 4):
        if judge.word() is not Word.INCONCLUSIVE:
            return
        for group, scale in scales.items():
            if judge.settled(group):
                continue
            for _ in range(start, min(start + 4, most)):
                one = distance(rng, group, scale)
                judge.add(group, one)
                if pictured is not None:
                    pictured.add(one)


def segment(rng: Generator, scale: float) -> dict[str, Any]:
    texts = ["\n", " the", " quick", "\t\t", " brown", "12", " fox", "", "<|im_end|>", "<b>", "🦊"]
    texts += ["\x07", " ", "    ", "日本", "ünïcödéwithoutanyspacesatallwhichislong"]
    d = rng.normal(0, scale, len(texts))
    base = -rng.exponential(1.5, len(texts)) - np.maximum(d, 0)
    tokens = [
        {
            "position": 1021 + i,
            "text": text,
            "reference_logprob": float(base[i]),
            "candidate_logprob": float(base[i] + d[i]),
            "reference_top": text,
            "candidate_top": " lazy" if abs(d[i]) > 1.5 else text,
        }
        for i, text in enumerate(texts)
    ]
    mean = float(np.abs(d).mean())
    return {"case_id": "long-017", "stratum": "long", "mean_absolute_d": mean, "tokens": tokens}


def party(name: str, engine: str) -> dict[str, Any]:
    pin = {
        "name": f"tiny-moe/{name}",
        "hash": "9f2c5be1" * 8,
        "changes": [],
        "model_files": {"model.safetensors": "c0ffee12" * 8, "tokenizer.json": "ab" * 32},
        "environment": f"{engine}-cpu",
        "shims": {"some-shim": "ba5eba11" * 8},
    }
    identity = {"engine": engine, "version": "0.11.0", "model": "tiny-moe"}
    return {"title": f"tiny-moe/{name}", "pin": pin, "identity": identity}


def built(
    scale: float, most: int, *, second: float = 1.0, weak: str | None = None, levels: int = 3
) -> Verdict:
    """A verdict as session makes it, of distances that are `scale` times the benign ones."""
    rng = np.random.default_rng(5)
    units = pool(rng)
    tolerances = replace(calibrate("bf16", units, STRATA), weakness=weak)
    benign, own = Pictured(rng), Pictured(rng)
    for unit in units:
        benign.add(unit.distance)
    judges: list[Judge] = []
    found: list[tuple[str, str, Word | None]] = [
        ("pin", configured.TITLE, Word.EQUIVALENT),
        ("L0", contract.TITLE, Word.DIFFERENT if levels == 1 else Word.EQUIVALENT),
    ]
    for level, title, groups in (
        ("L2", "teacher-forced: the reference's tokens, scored", STRATA),
        ("L1", "self-consistency: it agrees with itself", COMPARISONS),
    )[: levels - 1]:
        held = {g: (PROMPTS, tolerances.of(g if level == "L2" else ALL)) for g in groups}
        judge = Judge(level=level, groups=held, alpha=0.0025, beta=0.005)
        factor = scale if level == "L2" else second
        scales = {g: BENIGN * factor * (1 + 0.1 * i) for i, g in enumerate(groups)}
        judged(judge, rng, scales, most, own if level == "L2" else None)
        judges.append(judge)
        found.append((level, title, judge.word()))
        if judge.word() is Word.DIFFERENT:
            break
    asked = [level for level, _, _ in found]
    found += [(name, title, None) for name, (title, _) in LEVELS.items() if name not in asked]
    found.sort(key=lambda one: list(LEVELS).index(one[0]))
    return assembled(found, judges, tolerances, own, benign, segment(rng, 20 * BENIGN * scale))


def assembled(
    found: list[tuple[str, str, Word | None]],
    judges: list[Judge],
    tolerances: ClassTolerances,
    own: Pictured,
    benign: Pictured,
    worst: dict[str, Any],
) -> Verdict:
    results = [
        LevelResult(
            level=level,
            title=title,
            word=word,
            reasons=reasons_of(level, word),
            tokens=48_213 if level in ("L2", "L1") and word is not None else 0,
            seconds=0.0 if word is None else 17.24,
        )
        for level, title, word in found
    ]
    word, level = verdict.combine(results, tolerances.weakness)
    rows = tuple(row for judge in judges for row in judge.rows())
    breakdown = {
        **own.table(),
        "benign": benign.table(),
        "paths": {judge.level: judge.paths() for judge in judges},
    }
    differs = word is Word.DIFFERENT
    seen = Seen(levels=results, rows=rows, breakdown=breakdown)
    deciding = [reason for result in results if result.level == level for reason in result.reasons]
    return Verdict(
        schema=1,
        verdict=word,
        level=level,
        candidate=party("vllm-bf16", "vllm"),
        reference={
            "trace": "tiny-moe-reference.trace",
            "sha256": "77" * 32,
            **party("reference", "enginediff-reference"),
        },
        numerics="bf16",
        reasons=tuple(deciding or [tolerances.weakness or "no data"]),
        caveats=verdict.caveats(tolerances, "bf16", attached=False, rendered_by=None),
        tokens=96_426,
        seconds=41.318,
        launch_seconds=22.4,
        alpha=0.005,
        beta=0.005,
        seed=0,
        every_level=False,
        live=None,
        levels=tuple(results),
        statistics=rows,
        tolerances=asdict(tolerances),
        breakdown=breakdown,
        worst_segment=worst if judges else None,
        diagnosis=diagnose(seen) if differs else (),
        narrowing=narrowed(level) if differs else None,
        reproduction=REPRODUCTION if differs else None,
        provenance={"enginediff": "0.1.0", "python": "3.11.9", "written": "2026-01-01T00:00:00"},
    )


def reasons_of(level: str, word: Word | None) -> tuple[str, ...]:
    if word is None:
        return ("there is no live reference",)
    if level == "pin":
        return ("as pinned: engine.version, dtype", "not reported by the engine: args.seed")
    return CONTRACT if level == "L0" and word is not Word.DIFFERENT else REASONS[word]


def narrowed(level: str) -> Narrowing:
    """One row of each effect; of L0 nothing can be compared."""
    if level not in ("L2", "L1"):
        return Narrowing(level=level, rows=(), note=f"{level} is exact, or draws")
    rows = tuple(
        Narrowed(
            toggle=f"without part {number}",
            changes=(f"args.part-{number}=false", 'args.compilation-config.custom_ops=["none"]'),
            effect=effect,
            factor=3.2 if effect is Effect.SMALLER else None,
            why="the largest excess was 418 times a tolerance (text K), and is 130 times (text K)",
            seconds=31.4,
        )
        for number, effect in enumerate(Effect)
    )
    return Narrowing(level=level, rows=rows, note=None)


def hostile() -> Verdict:
    """Everything that somebody else wrote is hostile, and far too long."""
    plain = built(6, 8, levels=2)
    assert plain.worst_segment is not None
    tokens = [
        {**t, "text": HOSTILE, "reference_top": HOSTILE, "candidate_top": "\x7f" * 300}
        for t in plain.worst_segment["tokens"]
    ]
    title = HOSTILE + "http://evil.example/" + "verylong" * 60
    rows = tuple(replace(row, group=HOSTILE) for row in plain.statistics)
    paths = {"L2": {f"{HOSTILE} A": [(1, 1e6, -1e6), (2, 1e6, -1e6)], "text K": [(1, 0.1, -0.1)]}}
    return replace(
        plain,
        candidate={
            "title": title,
            "pin": None,
            "identity": {"engine": HOSTILE},
            "capabilities": endpoint(HOSTILE + "verylong" * 60),
        },
        reasons=(HOSTILE * 20,),
        caveats=(HOSTILE,),
        levels=tuple(replace(r, title=HOSTILE, reasons=(HOSTILE,)) for r in plain.levels),
        statistics=rows,
        breakdown={**plain.breakdown, "paths": paths},
        worst_segment={**plain.worst_segment, "case_id": HOSTILE, "tokens": tokens},
        diagnosis=tuple(
            replace(d, words=HOSTILE, why=(HOSTILE * 9,), next_step=HOSTILE)
            for d in plain.diagnosis
        ),
        narrowing=hostile_narrowing(),
        provenance={HOSTILE: HOSTILE},
    )


def hostile_narrowing() -> Narrowing:
    row = narrowed("L2").rows[0]
    row = replace(row, toggle=HOSTILE, changes=(HOSTILE * 9,), why=HOSTILE * 9)
    return Narrowing(level="L2", rows=(row,), note=HOSTILE)


def endpoint(evidence: str) -> dict[str, Any]:
    """What an endpoint can do: nothing."""
    return {"requests": 9, **{name: {"able": "no", "evidence": evidence} for name in TITLES}}


def unaskable() -> Verdict:
    """An endpoint that counts tokens and can be asked nothing else."""
    plain = built(1, 0, levels=1)
    levels = tuple(
        replace(level, word=Word.INCONCLUSIVE if level.level in NEEDED else None)
        for level in plain.levels
    )
    candidate = {**plain.candidate, "pin": None, "capabilities": endpoint("404: Not Found")}
    return replace(
        plain,
        verdict=Word.INCONCLUSIVE,
        levels=levels,
        candidate=candidate,
        diagnosis=(),
        narrowing=None,
        reproduction=None,
    )


def not_as_pinned() -> Verdict:
    plain = built(1, 0, levels=1)
    reasons = ("dtype (numerics bf16): the pin says bfloat16, the engine runs float16",)
    level = replace(plain.levels[0], word=Word.DIFFERENT, reasons=reasons)
    rest = [
        replace(r, word=None, reasons=("pin had decided",), tokens=0, seconds=0.0)
        for r in plain.levels[1:]
    ]
    return replace(plain, level="pin", levels=(level, *rest), reasons=reasons)


def examples() -> dict[str, Verdict]:
    return {
        "equivalent": built(0.9, PROMPTS),
        "bit-equal": built(0, PROMPTS, second=0),
        "different-pin": not_as_pinned(),
        "different-L0": built(1, 0, levels=1),
        "different-L2": built(6, PROMPTS),
        "different-L1": built(1, PROMPTS, second=8),
        "inconclusive": built(1, 24),
        "inconclusive-pool": built(1, PROMPTS, weak="its benign pool holds 2 configurations"),
        "inconclusive-endpoint": unaskable(),
        "certain": built(400, PROMPTS),
        "hostile": hostile(),
    }


VERDICTS = examples()
each_example = pytest.mark.parametrize("name", VERDICTS)


class Elements(HTMLParser):
    """Start tags with their attributes; insists that every element is closed in its turn."""

    VOID = ("meta", "link", "br")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser.found


def test_the_examples_say_what_their_names_say() -> None:
    words = {name: v.verdict.lower() for name, v in VERDICTS.items()}
    for name, word in words.items():
        if name.split("-")[0] in ("equivalent", "different", "inconclusive"):
            assert word == name.split("-")[0]
    assert words["bit-equal"] == "equivalent"
    assert max(row.log10_different for row in VERDICTS["certain"].statistics) > 2


@each_example
def test_every_section_is_there_and_every_element_is_closed(name: str) -> None:
    found = elements(report.page(VERDICTS[name]))
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))
    expected = SECTIONS.split()
    if VERDICTS[name].verdict is Word.DIFFERENT:
        expected.insert(2, "likely")
    assert [i for i in ids if i in expected or i == "likely"] == expected


@each_example
def test_nothing_is_fetched_and_no_script_is_needed(name: str) -> None:
    page = report.page(VERDICTS[name])
    for tag, attributes in elements(page):
        assert tag not in ("script", "img", "iframe", "object", "embed", "form", "base", "a", "use")
        assert not {"src", "srcset", "action", "style", "xlink:href"} & attributes.keys()
        assert not [a for a in attributes if a.startswith("on")]
        assert attributes.get("href", "data:,") == "data:,"
    assert not re.search(r"url\(|@import|@font-face", page)


@each_example
def test_pictures_are_xml_with_a_title_and_a_description(name: str) -> None:
    found = re.findall(r"<svg.*?</svg>(?=<figcaption)", report.page(VERDICTS[name]), re.DOTALL)
    levels = VERDICTS[name].breakdown["paths"]
    assert len(found) == (3 + 2 * len(levels) if levels else 0)
    for picture in found:
        root = ElementTree.fromstring(picture)
        assert (root.findtext("title") or "").strip()
        assert (root.findtext("desc") or "").strip()
        assert root.get("role") == "img"
        assert not re.search(r"nan|inf\b", re.sub(r">[^<]*<", "><", picture))


@each_example
def test_what_cannot_be_seen_or_would_reorder_is_named(name: str) -> None:
    page = report.page(VERDICTS[name])
    assert not set(page) & set("\x00\x07\x1b\x7f\u202e\u200d\ud83d")
    page.encode()


def test_hostile_text_is_shown_as_text() -> None:
    page = report.page(VERDICTS["hostile"])
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;⟨0000⟩⟨001B⟩[31m⟨202E⟩" in page
    assert "<script" not in page


def test_white_space_in_tokens_can_be_seen() -> None:
    page = report.page(VERDICTS["different-L2"])
    for text in ("␣quick", "↵", "⇥⇥", "␣␣␣␣", "⟨0007⟩", "🦊", "(empty)", "&lt;b&gt;"):
        assert text in page


@pytest.mark.parametrize("word", Word)
def test_the_word_stands_first_with_its_sign_and_why(word: Word) -> None:
    page = report.page(next(v for v in VERDICTS.values() if v.verdict is word))
    assert f'<body class="{word}">' in page
    header = re.findall(r"<header.*?</header>", page, re.DOTALL)[0]
    assert re.search(rf"<h1>.*{re.escape(tables.SIGNS[word])}.*{word}</h1>", header)
    assert '<p class="why">' in header


def test_L0_says_that_no_chance_is_involved_and_shows_no_statistic() -> None:  # noqa: N802
    page = report.page(VERDICTS["different-L0"])
    assert "no chance is involved" in page
    assert page.count("L0 decided before the candidate scored a token") == 4


def test_what_runs_otherwise_than_pinned_is_said_with_no_statistic() -> None:
    page = report.page(VERDICTS["different-pin"])
    assert "does not run as its pin says" in page
    assert "the engine runs float16" in page
    assert "no chance is involved" in page
    assert page.count("pin decided before the candidate scored a token") == 4


def test_the_shims_of_a_candidate_are_told_with_their_hashes() -> None:
    page = report.page(VERDICTS["equivalent"])
    assert f"<dt>candidate shim some-shim</dt><dd><code>{'ba5eba11' * 8}</code></dd>" in page


def test_the_meaning_of_alpha_and_beta_is_said_in_words() -> None:
    page = report.page(VERDICTS["equivalent"])
    assert (
        "exactly at its tolerance, the chance of the word DIFFERENT would be at most 0.5 %" in page
    )
    assert "just beyond, the chance of EQUIVALENT at most 0.5 %" in page


def test_a_bit_equal_candidate_is_drawn_without_logarithms_of_zero() -> None:
    page = report.page(VERDICTS["bit-equal"])
    assert "no difference at any position" in page
    assert "100 % of the candidate" in page


def test_the_command_repeats_the_check() -> None:
    page = report.page(replace(VERDICTS["equivalent"], seed=7, alpha=0.01))
    assert (
        "enginediff check tiny-moe/vllm-bf16 --against tiny-moe-reference.trace --seed 7 "
        "--alpha 0.01 --beta 0.005</code>"
    ) in page


def test_the_command_for_a_server_names_its_numerics_and_quotes_what_a_shell_would_read() -> None:
    changed = {**VERDICTS["equivalent"].candidate, "pin": None, "title": "http://h:1/?a=1&b=2"}
    page = report.page(replace(VERDICTS["equivalent"], candidate=changed))
    assert "check &#x27;http://h:1/?a=1&amp;b=2&#x27; --against" in page
    assert "--numerics bf16" in page


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (0.0123456, "0.0123"),
        (-2.5, "−2.5"),
        (1.2e-5, "1.2×10⁻⁵"),
        (0.00025, "2.5×10⁻⁴"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (-3e7, "−3.0×10⁷"),
    ],
)
def test_numbers_are_written_as_by_hand(value: float, written: str) -> None:
    assert number(value) == written


@pytest.mark.parametrize(
    ("log10", "words"), [(1e6, "certain"), (2.301, "200 to 1"), (8.4, "10⁸ to 1")]
)
def test_evidence_is_said_as_odds(log10: float, words: str) -> None:
    assert odds(log10) == words


def test_a_path_that_leaves_out_prompts_is_drawn_where_it_has_been() -> None:
    """One series at every prompt, one at every fifth: where both stand, so does their mean."""
    path = [(n, 0.04 * n, -0.02 * n) for n in range(1, 41)]
    lines: list[set[str]] = []
    for shown in (path, path[4::5]):
        picture = pictures.evidence_paths(
            "L2", {"chat A": path, "text A": shown}, side=0, needed=2.0
        )
        drawn = re.findall(r'class="line mean" points="([^"]*)"', picture)
        lines.append(set(" ".join(drawn).split()))
        assert lines[-1]
    common = [x for x in lines[0] if x in lines[1]]
    assert len(common) == 9  # prompts 0, 5, 10, ..., 40
    assert max(lines[0], key=left) == max(lines[1], key=left)


def left(point: str) -> float:
    return float(point.partition(",")[0])


def test_the_share_beyond_every_benign_token_is_counted() -> None:
    from harness.report.pictures import beyond_benign

    counts: npt.NDArray[np.int64] = np.array([10, 0, 5, 5])
    assert math.isclose(beyond_benign(counts.tolist(), [10, 4, 3, 0]), 25)


@pytest.mark.parametrize("name", ["equivalent", "different-L2", "different-L0", "different-pin"])
def test_every_level_has_a_row_asked_or_not(name: str) -> None:
    page = report.page(VERDICTS[name])
    rows = re.findall(r'<tr class="(\w+)"><th scope="row" class="across">([\w ]+?) <span', page)
    assert [level for _, level in rows] == list(LEVELS)
    asked = {level: word for word, level in rows}
    assert asked["L3"] == "unasked"
    assert page.count('class="unasked-cost"') == 2 * sum(word == "unasked" for word, _ in rows)
    assert page.count(">not asked<") == sum(word == "unasked" for word, _ in rows)
    assert "sampler: what" not in page  # its name is not said twice


def test_likely_causes_stand_with_what_fits_and_what_to_try() -> None:
    verdict = VERDICTS["different-L2"]
    page = report.page(verdict)
    likely = verdict.diagnosis[0]
    assert f"1. {likely.words[0].upper()}{likely.words[1:12]}" in page
    assert tables.bullets(likely.why, "reasons") in page
    assert page.index('id="likely"') < page.index('id="narrowed"') < page.index('id="pictures"')


def test_what_each_toggle_did_is_told() -> None:
    page = report.page(VERDICTS["different-L2"])
    for words in (
        "✓ the difference goes away",
        "↓ the difference is smaller, by 3.2 times",
        "≠ the difference stays",
        "? not known",
    ):
        assert words in page


def test_why_nothing_was_narrowed_is_told() -> None:
    assert "Not tried: L0 is exact, or draws." in report.page(VERDICTS["different-L0"])


def test_a_verdict_that_is_not_different_names_no_cause() -> None:
    assert 'id="likely"' not in report.page(VERDICTS["equivalent"])


def test_the_command_holds_what_was_asked_beyond_the_usual() -> None:
    verdict = replace(VERDICTS["equivalent"], every_level=True, live="tiny-moe/reference")
    assert "--against tiny-moe/reference --live --every-level --seed 0" in report.page(verdict)
