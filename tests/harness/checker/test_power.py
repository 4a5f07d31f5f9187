"""The power that is said, held against tests that are run."""

from __future__ import annotations

import numpy as np
import pytest

from harness.checker import blackbox, power
from harness.checker.blackbox import Answers, answers
from tests.harness.checker.test_blackbox import drawn

ALPHA = 0.005
PROMPTS, OWN, ASKED, GROUPS = 12, 16, 6, 8


def groups(
    rng: np.random.Generator, own: list[list[str]], temperature: float, count: int
) -> list[list[Answers]]:
    return [
        [answers(mine, drawn(rng, ASKED, temperature, at % 8)) for at, mine in enumerate(own)]
        for _ in range(count)
    ]


@pytest.mark.parametrize("temperature", [1.0, 0.95, 0.9])
def test_the_said_power_is_about_that_of_tests_that_are_run(temperature: float) -> None:
    """100 seeded tests a temperature: their rate is known to .15 (3 standard errors)."""
    rng = np.random.default_rng(3)
    own = [drawn(rng, OWN, 1.0, number % 8) for number in range(PROMPTS)]
    said = power.power(groups(rng, own, temperature, GROUPS), alpha=ALPHA, rng=rng)
    run = [
        blackbox.equality(one, alpha=ALPHA, rng=rng) for one in groups(rng, own, temperature, 100)
    ]
    rate = float(np.mean([one.p <= ALPHA for one in run]))
    assert said <= rate + 0.15
    assert said >= rate - 0.35  # by what is taken off for so few groups


def test_nothing_is_found_where_every_answer_is_the_same() -> None:
    same = [answers(["yes"] * OWN, ["yes"] * ASKED) for _ in range(PROMPTS)]
    rng = np.random.default_rng(0)
    assert power.power([same, same], alpha=ALPHA, rng=rng) == 0.0
