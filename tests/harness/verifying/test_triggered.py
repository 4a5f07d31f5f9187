"""Tool calls triggered, from a run's answers: a set small enough to be counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.base.suite import Given
from harness.runs.plan import Asked, Cases
from harness.verifying import triggered
from suites import registry, trigger_cases

TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
        },
    },
}
REQUEST = {"messages": [{"role": "user", "content": "?"}], "tools": [TOOL]}
CALL = {"id": "c", "name": "f", "arguments": '{"n": 1}'}
WRONG = {"id": "c", "name": "f", "arguments": '{"n": "1"}'}
USAGE = {"prompt_tokens": 10, "completion_tokens": 2}
NONE = {"prompt_tokens": 2**64 - 1, "completion_tokens": True}  # are no counts
# The reference's finish reason; the candidate's answer.
SETS: list[tuple[str | None, dict[str, Any]]] = [
    ("tool_calls", {"finish_reason": "tool_calls", "calls": [CALL], "usage": USAGE}),  # TP
    ("tool_calls", {"finish_reason": "tool_calls", "calls": [CALL], "usage": USAGE}),  # TP
    ("tool_calls", {"finish_reason": "tool_calls", "calls": [CALL, WRONG], "usage": USAGE}),  # TP
    ("tool_calls", {"finish_reason": "stop", "content": "no", "usage": USAGE}),  # FN
    ("stop", {"finish_reason": "tool_calls", "calls": [CALL]}),  # FP
    ("stop", {"finish_reason": "stop", "content": "no", "usage": USAGE}),  # TN
    ("stop", {"finish_reason": "length", "content": "no", "usage": NONE}),  # nobody knows
    ("tool_calls", {"outcome": "server", "why": "500"}),  # nobody knows
    (None, {"finish_reason": "tool_calls", "calls": [CALL], "usage": USAGE}),  # nobody knows
]


@pytest.fixture
def found(tmp_path: Path) -> Any:
    path, answers = tmp_path / "cases.jsonl", tmp_path / "answers.jsonl"
    lines = [
        {"id": str(n), "request": REQUEST, "reference": {"finish_reason": reason}}
        for n, (reason, _) in enumerate(SETS)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    given = [{"n": n, "outcome": "answered", **one} for n, (_, one) in enumerate(SETS)]
    answers.write_text("".join(json.dumps(line) + "\n" for line in given), "utf-8")
    suite = registry.suite(Given(name="tool-trigger", file=path))
    cases = Cases([Asked(suite=suite, tasks=suite.tasks, continues=False)], epochs=1)
    return triggered.found(trigger_cases.load(path), cases, answers, "tool-trigger", seed=0)


def test_the_counts_are_those_by_hand_and_nothing_leaves_the_denominator(found: Any) -> None:
    assert (found.tp, found.fp, found.fn, found.tn) == (3, 1, 1, 1)
    assert found.pairs == len(SETS) == 9
    assert (found.unanswered, found.reference_unanswered) == (2, 1)


def test_f1_precision_recall_and_schema_accuracy_by_hand(found: Any) -> None:
    assert found.precision.estimate == pytest.approx(3 / 4)
    assert found.recall.estimate == pytest.approx(3 / 4)
    assert found.f1.estimate == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert found.schema.estimate == pytest.approx(4 / 5)  # answers that call; one has a wrong call


def test_usage_is_summed_over_who_tells_it_and_finish_reasons_are_counted(found: Any) -> None:
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (60, 12)
    assert found.usage.untold == 2
    assert found.finish_reasons == {"tool_calls": 5, "stop": 2, "length": 1}
