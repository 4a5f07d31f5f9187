"""What is missing is said first, what failed beside the score, and why a contract was not kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson

from harness.runs import report
from harness.runs.report import Report
from harness.runs.results import EngineRow, SuiteRow
from tests.harness.runs.made_up import SPEC

SUITE = SuiteRow(
    suite="s",
    cases=20,
    asked=20,
    over=20,
    failed={"stalled": 3, "engine": 1},
    points=14.0,
    score=0.70,
    low=0.481,
    high=0.855,
)
ENGINE = EngineRow(
    engine="m/vllm",
    hash="h",
    asked=20,
    over=20,
    answered=16,
    attempts=31,
    continued=2,
    prompt_tokens=1234,
    completion_tokens=5678,
    suites=[SUITE],
)
WHOLE = Report(
    folder=Path("/runs/r-1"),
    spec=SPEC,
    rows=(ENGINE,),
    breaches=(),
    problems=(),
    stopped=False,
    asked=20,
    over=20,
)


def test_a_score_stands_with_its_interval_and_all_that_failed() -> None:
    assert list(report.lines(WHOLE)) == [
        "m/vllm: 16 of 20 answered",
        "  s: 0.700 (0.481 to 0.855), 14 of 20, 4 failed and counted as not right "
        "(1 engine, 3 stalled)",
        "  31 attempts, 2 answers continued, 1,234 + 5,678 tokens",
    ]
    assert WHOLE.complete and not WHOLE.answered


def test_what_is_missing_comes_first_and_no_data_is_no_score() -> None:
    half = replace(SUITE, over=12, failed={}, points=12.0, score=1.0, low=0.75, high=1.0)
    none = SuiteRow(suite="later", cases=5, asked=5)
    row = replace(ENGINE, asked=25, over=12, answered=12, suites=[half, none], late_worst_s=2.51)
    found = replace(
        WHOLE, rows=(row,), stopped=True, asked=25, over=12, problems=("m/vllm: it died",)
    )
    lines = list(report.lines(found))
    assert lines[:2] == [
        "INCOMPLETE: 12 of 25 requests are over; the same command goes on",
        "given up: m/vllm: it died",
    ]
    assert "  s: 1.000 (0.750 to 1.000), 12 of 12, 8 not asked yet" in lines
    assert "  later: no data" in lines
    assert "2.5 s late at worst" in lines[-1]
    assert not found.complete


def test_a_contract_that_is_not_kept_stands_with_its_reason() -> None:
    spec = replace(SPEC, override_reason="an ablation")
    found = replace(WHOLE, spec=spec, breaches=("top_p is 0.9; it must be 0.95",))
    assert list(report.lines(found))[:2] == [
        "outside the model's sampling contract, because: an ablation",
        "  top_p is 0.9; it must be 0.95",
    ]
    assert "because: an ablation" in report.page(found)
    table = orjson.loads(report.to_json(found))
    assert (table["override_reason"], len(table["breaches"])) == ("an ablation", 1)


def test_the_json_has_every_number_and_is_one_line() -> None:
    text = report.to_json(WHOLE)
    assert text.count(b"\n") == 1 and text.endswith(b"\n")
    table = orjson.loads(text)
    assert (table["schema"], table["complete"], table["stopped"]) == (1, True, False)
    suite = table["engines"][0]["suites"][0]
    assert (suite["score"], suite["failed"], suite["over"]) == (
        0.70,
        {"stalled": 3, "engine": 1},
        20,
    )
    empty = SuiteRow(suite="later", cases=5, asked=5)
    table = orjson.loads(report.to_json(replace(WHOLE, rows=(replace(ENGINE, suites=[empty]),))))
    assert table["engines"][0]["suites"][0]["score"] is None  # and no 0.0


def test_the_page_is_the_lines_indented_as_text() -> None:
    page = report.page(WHOLE)
    assert page.startswith(f"# r-1\n\nspec {SPEC.hash}\n\n    m/vllm: 16 of 20 answered\n")
    assert all(line.startswith("    ") for line in page.splitlines()[4:])
