"""A fault made smaller and larger, and what the e-process and a test of fixed size make of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from harness.base.record import Distance
from harness.checker.tolerance import CAP, calibrate
from scripts import power_curve
from scripts.answer_sets import units
from scripts.effect_sizes import Made, between, furthest, series, with_a_at, with_furthest_at
from scripts.fixed_size_test import fixed, rejections
from scripts.power_curve import Judging, OfA, OfAll
from tests.building import distance
from tests.scripts.made_up import CORPUS, SETTINGS, TOKENS, answers, right

HEALTHY = answers("healthy", "one", seed=50).distances
FAULTY = answers("faulty", "one", seed=51, size=0.1, lost=3).distances
TOLERANCES = calibrate("fp32", units(right(6), CORPUS), tuple(CORPUS.strata))
JUDGING = Judging(corpus=CORPUS, tolerances=TOLERANCES, settings=SETTINGS * 3)
NAMES = ("d", "divergence", "flip", "margin")


def same(a: Distance, b: Distance) -> bool:
    return all(np.allclose(getattr(a, name), getattr(b, name)) for name in NAMES)


def a_at(tau: float) -> Made | None:
    return with_a_at(tau, HEALTHY, FAULTY, CORPUS, TOLERANCES)


def furthest_at(tau: float) -> Made | None:
    return with_furthest_at(tau, HEALTHY, FAULTY, CORPUS, TOLERANCES)


def of_a(tau: float) -> OfA:
    made = a_at(tau)
    assert made is not None
    return JUDGING.of_a(made)


def of_all(tau: float) -> OfAll:
    made = furthest_at(tau)
    assert made is not None
    return JUDGING.of_all(made)


def test_none_of_the_fault_is_the_healthy_engine_and_all_of_it_the_faulty_one() -> None:
    for healthy, faulty in zip(HEALTHY, FAULTY, strict=True):
        assert same(between(healthy, faulty, 0), healthy)
        assert same(between(healthy, faulty, 1), faulty)


def test_a_divergence_grows_with_the_square_and_a_flip_when_the_margin_is_passed() -> None:
    healthy = distance(np.zeros(10))
    faulty = distance(np.full(10, 2.0), divergence=0.8, flips=4)  # margins are 1, changes 2
    half, less, more = (between(healthy, faulty, share) for share in (0.5, 0.4, 3.0))
    assert half.divergence == pytest.approx(0.2)
    assert more.divergence == pytest.approx(7.2)
    assert [one.flip.sum() for one in (less, half, more)] == [0, 4, 4]
    assert more.d == pytest.approx(6.0)


@pytest.mark.parametrize("tau", [0.7, 1.0, 3.0])
def test_the_mean_of_a_stands_at_the_effect_in_each_stratum_and_not_above(tau: float) -> None:
    made = a_at(tau)
    assert made is not None
    for (_, name), found in series(made.distances, CORPUS, TOLERANCES).items():
        if name == "A":
            assert found.mean() == pytest.approx(tau, rel=1e-9)
            assert found.mean() <= tau + 1e-12
            assert found.max() <= CAP


@pytest.mark.parametrize("tau", [0.7, 1.0, 3.0])
def test_one_share_brings_the_furthest_series_to_the_effect_and_none_above(tau: float) -> None:
    made = furthest_at(tau)
    assert made is not None
    assert len(set(made.shares.values())) == 1
    assert 0.8 * tau < furthest(made.distances, CORPUS, TOLERANCES)[0] <= tau


def test_an_effect_beyond_the_clip_or_below_the_healthy_engine_cannot_be_made() -> None:
    assert a_at(1.01 * CAP) is None
    assert a_at(0.3) is furthest_at(0.3) is None
    assert furthest_at(8.0) is not None, "S goes to 20 tau"


def test_power_of_a_grows_with_the_effect_and_what_it_costs_falls() -> None:
    effects = [of_a(tau) for tau in (0.6, 1.0, 1.1, 2.0, 3.5)]
    different = [one.e_process.different for one in effects]
    assert different == sorted(different)
    assert (different[1], different[-1]) == (0, 1)
    assert [one.e_process.equivalent for one in effects] == [1, 0, 0, 0, 0]
    tokens = [one.e_process.tokens for one in effects[2:]]
    assert tokens == sorted(tokens, reverse=True)
    assert tokens[0] > tokens[-1]
    sizes = [one.fixed.prompts for one in effects]
    assert sizes[:2] == [None, None]
    assert sizes[2] is not None and sizes[-1] is not None and sizes[2] > sizes[-1]
    assert all(one.fixed.tokens == (one.fixed.prompts or 0) * (TOKENS + 1) for one in effects[2:])


def test_of_all_statistics_the_furthest_decides() -> None:
    """K grows with the square: it is there long before A."""
    null, fault = of_all(1.0), of_all(3.0)
    assert null.e_process.different == 0
    assert fault.e_process.different == 1
    assert fault.furthest[0] in "KF"
    assert fault.means["A"] < 1.5


def nulls(runs: int, prompts: int) -> np.ndarray:
    return np.random.default_rng(3).normal(1.0, 0.3, (runs, prompts))


def test_a_test_of_fixed_size_errs_as_often_as_it_says_and_more_often_when_it_is_looked_at() -> (
    None
):
    """4 000 nulls, alpha 1 %: the observed rate lies within the central 99.99 % of a binomial
    (false alarm of this test: 1 in 10 000, and its seed is fixed)."""
    runs, alpha = 4000, 0.01
    values = nulls(runs, 60)
    low, high = binom.interval(0.9999, runs, alpha)
    assert low <= rejections(values, alpha)[:, -1].sum() <= high
    tokens = np.ones_like(values)
    found = fixed(values, tokens, strata=2, alpha=alpha, looks=range(1, 61))
    assert found.prompts is None
    assert found.different_by_peeking > 3 * alpha > found.different_with_all


def test_the_size_is_the_smallest_with_99_per_cent_power() -> None:
    values = nulls(1000, 200) + 0.2
    found = fixed(values, np.full_like(values, 10.0), strata=2, alpha=0.01, looks=[])
    assert found.prompts is not None
    power = rejections(values, 0.01).mean(axis=0)
    assert power[found.prompts - 1] >= 0.99 > power[found.prompts - 3]
    assert found.tokens == 10 * found.prompts


def test_the_tables_have_a_row_an_effect_and_an_empty_one_where_there_is_none() -> None:
    text = power_curve.tables(
        {"8 tau": None, "2 tau": of_a(2.0)}, {"8 tau": None, "2 tau": of_all(2.0)}, 1000.0
    )
    for part in text.split("The whole rule"):
        lines = [line for line in part.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1
        assert [line[:9] for line in lines[2:]] == ["| 8 tau |", "| 2 tau |"]
        assert set(lines[2].removeprefix("| 8 tau |")) == set(" -|")
