"""The shipped questions have right answers, and a right answer is worth 1 however it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from harness.base.reply import Reply
from harness.base.suite import Given, Suite
from scripts import make_tiny_tasks
from suites import registry, tiny_tasks
from suites.tiny_tasks import END, SHIPPED, THOUGHT


def suite(name: str) -> Suite:
    return registry.suite(Given(name=name))


def answered(content: str) -> Reply:
    return Reply(outcome="answered", content=content)


def test_both_suites_ask_the_same_tasks_and_each_has_its_own_id() -> None:
    chat, raw = suite("tiny-tasks"), suite("tiny-tasks-raw")
    assert (chat.raw, raw.raw) == (False, True)
    assert chat.tasks == raw.tasks and len(chat.tasks) == 120
    assert len({task.id for task in chat.tasks}) == 120
    assert {task.chat.thinking for task in chat.tasks} == {True, False}
    assert all(task.expected == task.expected.strip() != "" for task in chat.tasks)


def test_every_right_answer_scores_1_and_another_0_in_both_ways() -> None:
    chat, raw = suite("tiny-tasks"), suite("tiny-tasks-raw")
    for task in chat.tasks:
        for said in (task.expected, f"\n {task.expected}\n"):
            assert chat.score(task, answered(said)) == 1.0
            assert raw.score(task, answered(said + END)) == 1.0
            assert raw.score(task, answered(f"<think>I know.{THOUGHT}{said}{END}")) == 1.0
        for wrong in ("", task.expected[:-1], f"{task.expected} And more.", f"x{THOUGHT}"):
            assert chat.score(task, answered(wrong)) == raw.score(task, answered(wrong + END)) == 0
        assert raw.score(task, answered(f"<think>{task.expected}{THOUGHT}no{END}")) == 0.0
        assert chat.score(task, Reply(outcome="server", content=task.expected)) is None


@pytest.mark.parametrize("name", ["tiny-tasks", "tiny-tasks-raw"])
def test_a_suite_is_called_by_its_name(name: str) -> None:
    found = suite(name)
    assert found.name == name
    assert found.fingerprint == suite(name).fingerprint != ""


def test_an_unknown_suite_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match="no suite 'tiny'; known are tiny-tasks, tiny-tasks-raw"):
        suite("tiny")


def test_other_tasks_or_rules_are_another_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = suite("tiny-tasks").fingerprint
    monkeypatch.setattr(tiny_tasks, "RULES", "another")
    rules = suite("tiny-tasks").fingerprint
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_bytes(b"\n".join(SHIPPED.read_bytes().splitlines()[:-1]))
    monkeypatch.setattr(tiny_tasks, "SHIPPED", fewer)
    assert len({before, rules, suite("tiny-tasks").fingerprint}) == 3


def test_the_shipped_file_is_what_the_script_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "tiny-tasks.jsonl"
    monkeypatch.setattr(make_tiny_tasks, "SHIPPED", written)
    make_tiny_tasks.main()
    assert written.read_bytes() == SHIPPED.read_bytes()
