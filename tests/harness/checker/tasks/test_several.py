"""One alpha over several suites."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from harness.checker.tasks.several import holm, log_alone, log_average


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 1.0]), min_size=1, max_size=12))
def test_holms_steps_are_those_of_statsmodels(p: list[float]) -> None:
    theirs: Any = multipletests(p, method="holm")[1]
    assert holm(p) == pytest.approx(list(theirs))


def test_no_suite_has_nothing_to_adjust() -> None:
    assert holm([]) == []


@settings(deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8))
def test_the_average_lies_between_the_least_and_the_most_and_above_what_one_alone_counts(
    logs: list[float],
) -> None:
    average = log_average(logs)
    assert min(logs) - 1e-9 <= average <= max(logs) + 1e-9
    assert average >= log_alone(max(logs), len(logs)) - 1e-9


def test_half_of_two_wealths() -> None:
    assert log_average([math.log(3), math.log(1)]) == pytest.approx(math.log(2))
