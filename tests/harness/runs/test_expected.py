"""What an answer is expected to take: a suite's word first, and then what came."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.suite import Task
from harness.runs.expected import Expected
from harness.runs.plan import Cases
from tests.harness.runs.made_up import cases, suite

TASKS, EPOCHS = 3, 4


def made() -> Cases:
    """Suites whose tasks are said to take 100, 200, 300 tokens, and 10 each."""
    return cases(replace(suite(TASKS), tokens=said), suite(TASKS, name="other"), epochs=EPOCHS)


def said(task: Task) -> float:
    return 100.0 * (int(task.id[1:]) + 1)


def requests(place: int, task: int) -> list[int]:
    """Of a suite's task, in all epochs."""
    return [place * TASKS * EPOCHS + epoch * TASKS + task for epoch in range(EPOCHS)]


def test_before_any_answer_it_is_what_the_suite_says() -> None:
    expected = Expected(made())
    for task in range(TASKS):
        assert [expected.tokens(n) for n in requests(0, task)] == [100.0 * (task + 1)] * EPOCHS
        assert [expected.tokens(n) for n in requests(1, task)] == [10.0] * EPOCHS


def test_an_answer_tells_of_its_own_task_in_every_epoch_and_of_no_other() -> None:
    expected = Expected(made())
    asked = requests(0, 1)
    expected.answered(asked[2], 4000)
    found = {expected.tokens(n) for n in asked}
    assert len(found) == 1 and 200.0 < found.pop() < 4000.0
    for place, task in ((0, 0), (0, 2), (1, 0), (1, 1), (1, 2)):
        word = 10.0 if place else 100.0 * (task + 1)
        assert [expected.tokens(n) for n in requests(place, task)] == [word] * EPOCHS


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=12), st.integers(0, 2**32))
def test_it_lies_between_what_was_said_and_what_came_in_whichever_order(
    tokens: list[int], seed: int
) -> None:
    one, other = Expected(made()), Expected(made())
    for came in tokens:
        one.answered(0, came)
    for came in random.Random(seed).sample(tokens, len(tokens)):
        other.answered(TASKS, came)  # the same task in the next epoch
    found = one.tokens(0)
    assert min(100.0, *tokens) <= found <= max(100.0, *tokens)
    assert other.tokens(0) == pytest.approx(found)


def test_with_many_answers_it_is_their_mean() -> None:
    expected = Expected(made())
    for place in range(1000):
        expected.answered(5, 5000 + place % 2)
    assert expected.tokens(5) == pytest.approx(5000.5, rel=0.01)
