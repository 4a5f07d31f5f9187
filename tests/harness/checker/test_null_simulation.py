"""Populations whose mean is exactly the tolerance, judged by several series at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import beta as beta_distribution

from harness.base.record import Floats
from harness.checker.judge import Judge
from harness.checker.outcome import Word
from tests.building import TOLERANCE, distance

RUNS = 200
PROMPTS = 80
ALPHA = BETA = 0.05  # ten times the default, so that 200 runs can see a rate that is too high
AT_TOLERANCE = ("chat A", "chat K")  # of the four series that share alpha
Generator = np.random.Generator


def constant_ish(rng: Generator) -> Floats:
    return rng.normal(1.0, 0.1, PROMPTS).clip(0, 4)


def heavy_tailed(rng: Generator) -> Floats:
    return rng.lognormal(-0.7, 1.0, PROMPTS).clip(0, 3.9)


def few_bad_ones(rng: Generator) -> Floats:
    return np.where(rng.permutation(PROMPTS) < PROMPTS // 4, 3.9, 0.02)


def at_tolerance(values: Floats) -> Floats:
    """Moved to the mean 1 (in tolerances), every one within 0 .. 4 still."""
    for _ in range(200):
        values = (values + (1 - values.mean())).clip(0, 4)
    assert abs(values.mean() - 1) < 1e-9
    return values


def judged(values: Floats, others: Floats) -> tuple[bool, bool]:
    """Whether DIFFERENT was ever said, and whether a series at its tolerance ever showed
    EQUIVALENT, looking after each prompt. A and K are at their tolerance, each in its own order."""
    judge = Judge(level="L2", groups={"chat": (PROMPTS, TOLERANCE)}, alpha=ALPHA, beta=BETA)
    different = False
    for a, k in zip(values * TOLERANCE.tau_a, others * TOLERANCE.tau_k, strict=True):
        judge.add("chat", distance([a] * 4, divergence=k))
        different |= judge.word() is Word.DIFFERENT
    paths = judge.paths()
    log10 = max(equivalent for name in AT_TOLERANCE for _, _, equivalent in paths[name])
    return different, log10 >= -np.log10(BETA / len(AT_TOLERANCE))


@pytest.mark.parametrize("shape", [constant_ish, heavy_tailed, few_bad_ones])
def test_at_the_tolerance_neither_word_is_said_more_often_than_promised(
    shape: Callable[[Generator], Floats],
) -> None:
    """Seeded. Fails only where the rate lies above 5 % with Clopper-Pearson confidence 99.9 %, so
    with other seeds, code whose rate is just 5 % fails in 1 of 1 000 runs per shape and word."""
    rng = np.random.default_rng(20260101)
    wrong = np.zeros(2, dtype=int)
    for _ in range(RUNS):
        values = at_tolerance(shape(rng))
        wrong += judged(rng.permutation(values), rng.permutation(values))
    for word, count in zip((Word.DIFFERENT, Word.EQUIVALENT), wrong.tolist(), strict=True):
        least = float(beta_distribution.ppf(0.001, count, RUNS - count + 1)) if count else 0.0
        assert least <= ALPHA, f"{word} in {count} of {RUNS}: a rate of at least {least:.3f}"


def test_without_a_uniform_order_the_promise_is_broken_and_the_simulation_sees_it() -> None:
    worst_first = -np.sort(-at_tolerance(few_bad_ones(np.random.default_rng(3))))
    assert judged(worst_first, worst_first) == (True, False)
    assert judged(worst_first[::-1], worst_first[::-1]) == (False, True)
