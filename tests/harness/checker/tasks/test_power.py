"""What a run can see, before and after."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from harness.checker.tasks import mcnemar, power

ALPHA = 0.01


@pytest.mark.parametrize(
    ("requests", "accuracy", "points"),
    [
        (1000, 0.89, 6.5),
        (1730, 0.82, 6.1),
        (30 * 32, 0.95, 4.6),
        (700, 0.69, 11.5),
        (113, 0.68, 28.9),
    ],
)
def test_the_designs_table_of_unpaired_runs(requests: int, accuracy: float, points: float) -> None:
    """OCRBench, MMMU-Pro, AIME, BEAM-1M, DeepSWE; the accuracies are those that it implies."""
    found = power.unpaired(requests=requests, accuracy=accuracy, alpha=ALPHA)
    assert 100 * found == pytest.approx(points, abs=0.06)


@pytest.mark.parametrize(
    ("cases", "discordant", "points"),
    [(1000, 0.04, 2.9), (1730, 0.12, 3.9), (700, 0.20, 7.9), (113, 0.25, 21.9)],
)
def test_the_designs_table_of_paired_runs(cases: int, discordant: float, points: float) -> None:
    """The same suites but AIME; the discordant shares are those that it implies."""
    found = power.paired(cases=cases, discordant=discordant, alpha=ALPHA)
    assert 100 * found == pytest.approx(points, abs=0.06)


def test_the_normal_approximation_is_near_the_exact_power() -> None:
    for cases, discordant in ((1000, 0.04), (1730, 0.12), (700, 0.20)):
        drop = power.paired(cases=cases, discordant=discordant, alpha=ALPHA)
        noise = discordant - drop  # so that the share is the one that was expected
        found = power.of_mcnemar(cases=cases, noise=noise, drop=drop, alpha=ALPHA)
        assert found == pytest.approx(0.99, abs=0.01)


def test_exact_power_is_the_share_of_simulated_runs_that_the_test_finds() -> None:
    """4,000 runs, seeded; the tolerance is 4 standard errors."""
    rng = np.random.default_rng(11)
    cases, noise, drop = 200, 0.1, 0.06
    lost, won, _ = rng.multinomial(cases, [noise / 2 + drop, noise / 2, 1 - noise - drop], 4000).T
    found = [
        mcnemar.one_sided(b, c) <= 0.05 for b, c in zip(lost.tolist(), won.tolist(), strict=True)
    ]
    exact = power.of_mcnemar(cases=cases, noise=noise, drop=drop, alpha=0.05)
    assert np.mean(found) == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4000))


def test_without_a_drop_the_test_finds_one_no_more_often_than_alpha() -> None:
    for cases, noise in ((10, 0.5), (100, 0.1), (1000, 0.3)):
        assert power.of_mcnemar(cases=cases, noise=noise, drop=0.0, alpha=ALPHA) <= ALPHA
    assert power.of_mcnemar(cases=50, noise=0.0, drop=0.0, alpha=ALPHA) == 0.0


def test_the_smallest_drop_is_where_the_power_is_reached() -> None:
    for cases, noise in ((113, 0.2), (1000, 0.05), (1000, 0.0)):
        drop = power.smallest_lost(cases=cases, noise=noise, alpha=ALPHA)
        assert drop is not None
        for step, enough in ((0.0, True), (-0.001, False)):
            found = power.of_mcnemar(cases=cases, noise=noise, drop=drop + step, alpha=ALPHA)
            assert (found >= 0.99) == enough


def test_seven_cases_are_needed_before_any_drop_can_be_seen_at_one_percent() -> None:
    assert binomtest(7, 7, alternative="greater").pvalue < ALPHA
    assert power.smallest_lost(cases=6, noise=0.0, alpha=ALPHA) is None
    assert power.smallest_lost(cases=7, noise=0.0, alpha=ALPHA) is not None
    assert power.smallest_lost(cases=50, noise=1.0, alpha=ALPHA) is None  # nothing left to lose


def test_repeats_that_agree_see_more() -> None:
    assert power.by_spread(cases=30, spread=0.05, alpha=ALPHA) == pytest.approx(0.0425, abs=0.0005)
