"""The page of a verification: all that was asked is there with its denominator, and nothing that
others wrote does anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from harness.base.held import Held, How, broken, kept
from harness.checker.detectors import DETECTORS
from harness.checker.outcome import Word
from harness.report import cases_section
from harness.report.holding_text import headline
from harness.report.verification_page import page
from harness.verifying.holding import counts
from harness.verifying.verification import Verification
from tests import verifications
from tests.verifications import ENFORCED, HOSTILE, NAMES, SGLANG, VLLM

EXAMPLES: dict[str, Callable[[], Verification]] = {
    "three": verifications.three,
    "many": lambda: verifications.three(50, 450),
    "equivalent": verifications.equivalent,
    "nothing": verifications.nothing,
    "hostile": verifications.hostile,
}
each_example = pytest.mark.parametrize("name", EXAMPLES)
SECTIONS = "deployments suites differing not-kept detectors endings repeat provenance"
ALLOWED = (
    "a b body br caption code dd details dl dt h1 h2 h3 head header html li link main meta p pre "
    "small span strong style summary table tbody td th thead title tr ul"
)


class Reader(HTMLParser):
    """Elements, the texts of table rows, and the ids; insists that all is closed in its turn."""

    VOID = ("meta", "link", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.section, self.text = "", ""
        self.sections: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found.append((tag, given))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "h2":
            self.section = given["id"] or ""
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.sections[self.section] = self.sections.get(self.section, "") + data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def read(found: Verification) -> Reader:
    reader = Reader()
    reader.feed(page(found))
    reader.close()
    assert reader.open == []
    return reader


def cells(found: Verification, first: str) -> list[str]:
    """The row that begins so."""
    return next(row[1:] for row in read(found).rows if row[0].startswith(first))


@each_example
def test_every_section_is_there_and_nothing_is_fetched_or_run(name: str) -> None:
    reader = read(EXAMPLES[name]())
    assert [one for one in reader.sections if one not in ("", "trigger")] == SECTIONS.split()
    assert {tag for tag, _ in reader.found} <= set(ALLOWED.split())
    for tag, given in reader.found:
        assert not {"src", "srcset", "action", "style"} & given.keys()
        assert not [one for one in given if one.startswith("on")]
        assert tag in ("a", "link") or "href" not in given
    ids = [given["id"] for _, given in reader.found if "id" in given]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", ["three", "equivalent", "nothing"])
def test_the_word_stands_first_with_whose_contract_and_which_trace(name: str) -> None:
    found = EXAMPLES[name]()
    top = read(found).sections[""]
    assert re.search(rf"{found.word}\s+{re.escape(headline(found))}", top)
    assert "contract of kimi-k2.6" in top
    assert ("tiny-moe-reference.trace" if found.against else "without a reference") in top


def test_a_headline_says_who_computes_something_else_and_who_breaks_a_contract() -> None:
    assert headline(verifications.three()) == (
        f"{VLLM} breaks its contract; {ENFORCED} computes what the reference computes and keeps "
        f"what it owes; {SGLANG} computes something else than the reference and breaks its "
        "contract."
    )
    assert headline(verifications.nothing()).endswith(f"and {SGLANG} are not decided.")


def test_every_deployment_has_its_word_its_reasons_and_a_link_to_its_check() -> None:
    found = verifications.three()
    reader = read(found)
    for place, one in enumerate(found.deployments, 1):
        row = next(row for row in reader.rows if row[0].startswith(f"{place}. {one.name}"))
        assert str(one.word) in row[1]
        assert all(reason in row[2] for reason in one.reasons)
    links = [given["href"] for tag, given in reader.found if tag == "a"]
    assert links == [f"deployments/{n}/report.html" for n in (0, 0, 2)]


def test_who_was_not_checked_or_was_given_up_says_why() -> None:
    row = cells(verifications.nothing(), f"1. {VLLM}")
    assert "not checked: a URL is not checked without a trace" in row[2]
    assert row[1].count("the engine ended with exit code 1") == 1
    different = verifications.three()
    last = replace(different.deployments[2], failed="it ended with exit code 9")
    row = cells(replace(different, deployments=(last,)), f"1. {SGLANG}")
    assert "given up: it ended with exit code 9" in row[1]


def test_a_cell_of_the_table_has_all_kinds_and_the_denominator() -> None:
    found = verifications.three()
    assert cells(found, "parameters") == [
        "! 51 kept, 9 not enforced of 60",
        "✓ 60 kept of 60",
        "! 51 kept, 9 not enforced of 60",
    ]
    assert cells(found, "tool-schemas") == [
        "? 69 kept, 1 unanswered of 70",
        "✓ 70 kept of 70",
        "✗ 67 kept, 3 broken of 70",
    ]
    features = cells(found, "features")
    assert features[1].endswith("of 241 of them known of its release")
    assert not any("known" in features[n] for n in (0, 2))


def test_a_cell_is_coloured_by_the_worst_that_is_there() -> None:
    html = page(verifications.three())
    for tint, said in (
        ("not-enforced", "51 kept, 9 not enforced"),
        ("kept", "60 kept"),
        ("broken", "67 kept, 3 broken"),
        ("unanswered", "69 kept, 1 unanswered"),
    ):
        assert re.search(rf'<td class="held across {tint}"[^>]*>[^\n]{{,60}}<b>{said}</b>', html)


def test_what_the_sampler_audit_says_stands_with_the_parameters() -> None:
    rows = [row for row in read(verifications.three()).rows if len(row) == 4]
    at = next(n for n, row in enumerate(rows) if row[0] == "parameters")
    assert rows[at + 1] == [
        "applied: sent (sampler audit)",
        "= EQUIVALENT: temperature 1, top-p .95",
        "– not audited",
        "= EQUIVALENT: temperature 1, top-p .95",
    ]
    assert rows[at + 2][1:] == [
        "– no say: no prefix of a chat tells enough",
        "– not audited",
        "≠ DIFFERENT: temperature 0.7 is applied, and not 1",
    ]
    assert cells(verifications.nothing(), "applied") == ["– not audited"] * 3


@each_example
def test_a_suite_that_was_not_run_is_a_row_with_its_reason(name: str) -> None:
    found = EXAMPLES[name]()
    rows = read(found).rows
    for suite, why in found.not_run.items():
        suite, why = (text.translate({0: "⟨0000⟩"})[:6] for text in (suite, why))
        assert any(row[0].startswith(suite) and f"not run: {why}" in row[-1] for row in rows)


def test_every_case_that_differs_is_listed_with_what_each_did_and_why() -> None:
    found = verifications.three()
    reader = read(found)
    differing = [row for row in found.rows if row.differs]
    assert f"{len(differing)} of {len(found.rows)} cases" in reader.sections["differing"]
    for row in differing:
        held = next(r[1:] for r in reader.rows if r[0] == f"{row.case}{row.what}")
        for cell, one in zip(held, row.held.values(), strict=True):
            assert cell.endswith(f"{one.how}{one.why}")
    alike = [row for row in found.rows if not row.differs]
    assert not any(row.case in reader.sections["differing"] for row in alike)


def test_many_cases_that_differ_are_folded_and_all_there() -> None:
    html = page(verifications.three(50, 450))
    part = html[html.index('id="differing"') : html.index('id="not-kept"')]
    assert "<details><summary>tool-schemas: 451 differ" in part
    assert part.count("valid/enum-") == 450
    assert "<details open>" in page(verifications.three())


def test_cases_not_kept_are_shown_up_to_a_bound_the_broken_first() -> None:
    found = verifications.three(50, 450)
    told = read(found).sections["not-kept"]
    assert "tool-schemas: 451 of 517 not kept" in told
    assert told.count("valid/enum-") == cases_section.MOST
    assert "51 more are left out here; verification.json has all" in told
    few = read(verifications.three()).sections["not-kept"]
    assert few.index("valid/enum-2") < few.index("valid/deep")
    assert "left out" not in few
    assert "refused: 400 parallel_tool_calls" in few


def test_a_detector_says_in_how_many_answers_of_how_many() -> None:
    found = verifications.three()
    assert cells(found, "loop") == [f"{n} of 240 answers" for n in (3, 0, 7)]
    rows = {row[0] for row in read(found).rows}
    assert {name.replace("_", " ") for name in DETECTORS} <= rows
    assert "case-4" in read(found).sections["detectors"]


def test_the_probe_says_what_the_share_is_at_most() -> None:
    told = read(verifications.three()).sections["endings"]
    assert "1 of 300 answers; at most 1.57 % of answers, 95 %" in told
    assert "4 of 287 answers; at most 3.16 % of answers, 95 %" in told
    nothing = read(verifications.nothing()).sections["endings"]
    assert "nothing is known" in nothing and "at most" not in nothing


def test_tool_calls_have_intervals_counts_and_usage_only_where_they_were_asked() -> None:
    found = verifications.three()
    trigger = found.deployments[2].trigger
    assert trigger is not None and trigger.f1.interval is not None
    f1 = cells(found, "F1")
    low, high = trigger.f1.interval
    assert f"{trigger.f1.estimate:.3f} 95% interval {low:.3f} to {high:.3f}" in f1[2]
    assert "whatever was not answered" in f1[2] and "whatever" not in f1[0]
    assert f1[1] == "not asked"
    assert cells(found, "unanswered")[2].startswith("3 of 60 pairs")
    assert cells(found, "usage")[0] == "7,200 prompt tokens, 1,860 completion tokens"
    assert "trigger" not in read(verifications.equivalent()).sections


def test_where_nothing_is_counted_there_is_no_number() -> None:
    found = verifications.equivalent()
    (one,) = found.deployments
    silent = replace(one, trigger=verifications.trigger([False, False]))
    told = replace(found, deployments=(silent,))
    assert cells(told, "precision") == ["no number: nothing is counted"]
    assert cells(told, "recall")[0].startswith("0.000 95% interval 0.000 to 0.975")


def test_nothing_that_was_answered_is_said_so() -> None:
    found = verifications.nothing()
    assert found.word is Word.INCONCLUSIVE
    reader = read(found)
    assert "No answer came" in reader.sections["detectors"]
    assert cells(found, "parameters") == ["? 4 unanswered of 4"] * 3
    assert "came out alike" in reader.sections["differing"]
    assert reader.sections["not-kept"].count("connection refused") == 12


def test_one_deployment_alone_differs_from_none() -> None:
    reader = read(verifications.equivalent())
    assert "differs from none" in reader.sections["differing"]
    assert "all 3 cases were kept" in reader.sections["not-kept"]


def test_every_kind_is_explained_once() -> None:
    _, _, rest = page(verifications.three()).partition('<dl class="kinds">')
    kinds = rest[: rest.index("</dl>")]
    for how in How:
        assert kinds.count(f"{how}</span></dt>") == 1


def test_hostile_text_is_text_wherever_it_stands() -> None:
    html = page(verifications.hostile())
    assert "<script" not in html
    assert not set(html) & set("\x00\x1b\u202e\ud83d")
    html.encode()


# What stands in no field of its own: a list of others, or a number.
OURS = ("schema", "word", "exit_code")


@pytest.mark.parametrize("field", [f.name for f in fields(Verification) if f.name not in OURS])
def test_a_field_that_is_hostile_is_shown_and_escaped(field: str) -> None:
    """Each alone, so that none is escaped by luck of another."""
    found = replace(verifications.three(), **{field: getattr(verifications.hostile(), field)})
    if field == "deployments":
        found = replace(found, rows=verifications.hostile().rows)
    html = page(found)
    assert "<script" not in html
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;⟨0000⟩⟨001B⟩[31m⟨202E⟩" in html


def test_a_case_may_be_called_as_it_likes() -> None:
    held = (kept("a < b"), broken(HOSTILE), Held(how=How.UNFINISHED, why=""))
    rows = [verifications.row("$css", "#1 ${word}", "{}%s", *held)]
    ours = [verifications.deployment(name, counts(rows, name)) for name in NAMES]
    told = read(verifications.made(rows, ours)).sections["differing"]
    assert "#1 ${word}{}%s" in told and "a < b" in told and "$css: 1 differ" in told
