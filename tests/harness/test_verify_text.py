"""A verification in the terminal: the word first, all that was asked, and nothing obeyed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness import verify_text
from harness.checker.outcome import Word
from harness.verifying.verification import Verification
from tests import verifications
from tests.verifications import ENFORCED, SGLANG, VLLM, WALLE

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def shown(capsys: Output, found: Verification) -> list[str]:
    verify_text.show(found, Path("runs/x"))
    return capsys.readouterr().out.splitlines()


def test_the_word_stands_first_and_the_report_last(capsys: Output) -> None:
    lines = shown(capsys, verifications.three())
    assert lines[0].startswith(f"DIFFERENT  {VLLM} breaks its contract; {ENFORCED} computes")
    assert "contract of kimi-k2.6, against tiny-moe-reference.trace" in lines[1]
    assert lines[-1] == "  report: runs/x/report.html"


def test_every_deployment_has_its_word_and_its_reasons(capsys: Output) -> None:
    found = verifications.three()
    out = "\n".join(shown(capsys, found))
    for place, one in enumerate(found.deployments, 1):
        assert f"  {place}  {one.word:12}  {one.name}" in out
        assert all(f"       {reason}" in out for reason in one.reasons)


def test_the_table_has_every_suite_and_those_that_were_not_run(capsys: Output) -> None:
    lines = shown(capsys, verifications.three())
    schemas = next(line for line in lines if line.startswith("  tool-schemas "))
    assert schemas.split(maxsplit=2)[1] == "70"
    for cell in ("1? 69✓", "70✓", "3✗ 67✓"):
        assert cell in schemas
    sent = next(line for line in lines if "applied: sent" in line)
    assert sent.split()[2:] == ["=", "not", "audited", "="]
    assert "  ✗ broken, ! not enforced, ? unanswered, … unfinished, ✓ kept" in lines
    assert "  = EQUIVALENT, ≠ DIFFERENT, ? INCONCLUSIVE" in lines
    assert f"  tool-schemas-walle: not run: {WALLE}" in lines


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_table_fits_a_hundred_columns(count: int, capsys: Output) -> None:
    found = verifications.three()
    several = (*found.deployments, found.deployments[0])[:count]
    lines = shown(capsys, replace(found, deployments=several))
    start = next(n for n, line in enumerate(lines) if line.startswith("  suite"))
    end = next(n for n, line in enumerate(lines) if "not run" in line)
    assert max(len(line.rstrip()) for line in lines[start:end]) <= 100
    text = " ".join("\n".join(lines[start:end]).split())
    audited = [one.word for each in several for one in each.applied]
    words = text.count("EQUIVALENT") - (count > 2)  # the legend of signs has it once
    assert words == (audited.count(Word.EQUIVALENT) if count == 2 else 0)


def test_cases_that_differ_are_told_the_worst_first_and_twenty_at_most(capsys: Output) -> None:
    found = verifications.three(30)
    lines = shown(capsys, found)
    start = lines.index("  held differently: 35 of 154 cases")
    worst = "    features tool-choice-stock_price  broken by 3; kept by 1, 2"
    assert lines[start + 1] == worst
    assert lines[start + 2].strip() == "called get_weather, and stock_price was asked for"
    assert lines[start + 41] == "    … and 15 more: report.html has all"
    assert "  broken by all: 1 of 154 cases" in lines


def test_of_one_deployment_the_broken_cases_are_told(capsys: Output) -> None:
    found = verifications.three()
    rows = [replace(row, held={SGLANG: row.held[SGLANG]}) for row in found.rows]
    lines = shown(capsys, verifications.made(rows, found.deployments[2:]))
    assert "  broken by all: 5 of 154 cases" in lines
    assert not any("held differently" in line for line in lines)


def test_detectors_that_found_something_have_a_line_for_each_deployment(capsys: Output) -> None:
    lines = [line for line in shown(capsys, verifications.three()) if "signs in" in line]
    assert lines == ["  signs in 240 answers of 1: loop 3", "  signs in 240 answers of 3: loop 7"]


def test_where_nothing_was_answered_no_suite_is_satisfied(capsys: Output) -> None:
    lines = shown(capsys, verifications.nothing())
    assert lines[0].startswith("INCONCLUSIVE")
    assert "by the contract of kimi-k2.6, without a reference" in lines[1]
    table = next(line for line in lines if line.startswith("  parameters"))
    assert table.count("4?") == 3 and "✓" not in table
    assert not any("signs in" in line or "held differently" in line for line in lines)


def test_hostile_texts_are_named_and_not_obeyed(capsys: Output) -> None:
    out = "\n".join(shown(capsys, verifications.hostile()))
    assert not set(out) & set("\x00\x1b\u202e\ud83d")
    assert "[red]red[/red]" in out


def test_the_json_is_one_line_with_the_folder(capsys: Output) -> None:
    found = verifications.three()
    verify_text.show_json(found, Path("runs/x"))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out)["run"] == "runs/x"
    assert len(json.loads(out)["rows"]) == len(found.rows)
