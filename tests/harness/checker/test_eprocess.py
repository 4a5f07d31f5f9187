"""The wealths are supermartingales under their nulls, and stop as soon as the design says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checker.eprocess import (
    THETAS,
    TIE,
    EProcess,
    log_mean_exp,
    log_weighted_sum,
    units_to_equivalent,
)

LOG_200 = math.log(200)  # alpha = beta = .005
SERIES = 20  # that share alpha with equal weights
UNITS = st.floats(0, 1) | st.sampled_from([0.0, 0.25, 0.5, 1.0])
MEANS = st.floats(0.02, 0.98)


def run(values: Sequence[float], mean: float, population: int | None = None) -> EProcess:
    process = EProcess(population=population or len(values), mean=mean)
    process.extend(values)
    return process


def certain(values: Sequence[float], mean: float) -> tuple[bool, bool]:
    process = run(values, mean)
    return math.isinf(process.log_different), math.isinf(process.log_equivalent)


@settings(max_examples=40, deadline=None)
@given(st.lists(UNITS, min_size=2, max_size=5).filter(lambda x: 0.02 < sum(x) / len(x) < 0.98))
def test_over_all_orders_of_a_population_at_its_tolerance_neither_wealth_grows_on_average(
    population: list[float],
) -> None:
    mean = sum(population) / len(population)
    different: list[list[float]] = []
    equivalent: list[list[float]] = []
    for order in permutations(population):
        process = EProcess(population=len(order), mean=mean)
        wealths = np.exp(process.extend(order))
        different.append(wealths[0].tolist())
        equivalent.append(wealths[1].tolist())
    assert np.mean(different, axis=0).max() <= 1 + 1e-6
    assert np.mean(equivalent, axis=0).max() <= 1 + 1e-6


@settings(max_examples=25, deadline=None)
@given(st.lists(UNITS, min_size=2, max_size=5), MEANS)
def test_a_mean_below_the_tolerance_never_feeds_different_nor_one_above_it_equivalent(
    population: list[float], mean: float
) -> None:
    logs = [run(order, mean) for order in permutations(population)]
    if sum(population) / len(population) <= mean:
        assert np.mean([math.exp(p.log_different) for p in logs]) <= 1 + 1e-6
    else:
        assert np.mean([math.exp(p.log_equivalent) for p in logs]) <= 1 + 1e-6


SMALL = 4  # units: all their orders are few enough to be looked at, so nothing is left to chance
SHAPES = {
    "one of all": [1.0, 0.0, 0.0, 0.0],
    "all equal": [0.3, 0.3, 0.3, 0.3],
    "two kinds": [0.95, 0.95, 0.01, 0.01],
    "heavy tail": [1e-6, 1e-4, 1e-2, 1.0],
    "nearly full": [1.0, 1.0, 1.0, 1e-6],
}
STOPPING: dict[str, Callable[[float], bool]] = {
    "at once when ahead": lambda log: log > 0,
    "at twice the stake": lambda log: log >= math.log(2),
    "when behind": lambda log: log < 0,
    "never": lambda _: False,
}


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("rule", sorted(STOPPING))
def test_whenever_one_stops_the_mean_wealth_is_one_at_most(shape: str, rule: str) -> None:
    """Exact, over all orders of a population at its boundary: peeking after every unit and stopping
    by any rule of what was seen. The false-alarm rate of this test is 0."""
    population = SHAPES[shape]
    mean, stops = sum(population) / SMALL, STOPPING[rule]
    different: list[float] = []
    equivalent: list[float] = []
    for order in permutations(population):
        process = EProcess(population=SMALL, mean=mean)
        seen_different = seen_equivalent = None
        for x in order:
            process.extend([x])
            if seen_different is None and stops(process.log_different):
                seen_different = process.log_different
            if seen_equivalent is None and stops(process.log_equivalent):
                seen_equivalent = process.log_equivalent
        last = (process.log_different, process.log_equivalent)
        different.append(last[0] if seen_different is None else seen_different)
        equivalent.append(last[1] if seen_equivalent is None else seen_equivalent)
    assert np.mean(np.exp(different)) <= 1 + 1e-6
    assert np.mean(np.exp(equivalent)) <= 1 + 1e-6


@settings(max_examples=40, deadline=None)
@given(st.lists(UNITS, min_size=2, max_size=5), st.sampled_from([2.0, 5.0, 20.0]))
def test_over_all_orders_no_wealth_ever_reaches_a_bound_more_often_than_its_inverse(
    population: list[float], bound: float
) -> None:
    """Ville's inequality, exact over all orders and any population at its boundary; the highest
    wealth met on the way counts. The false-alarm rate of this test is 0."""
    mean = min(max(sum(population) / len(population), 0.02), 0.98)
    highest: list[np.ndarray] = []
    for order in permutations(population):
        process = EProcess(population=len(order), mean=mean)
        highest.append(process.extend(order).max(axis=1))
    reached = np.mean(np.array(highest) >= math.log(bound) + 1e-6, axis=0)
    if sum(population) / len(population) <= mean:
        assert reached[0] <= 1 / bound + 1e-9
    if sum(population) / len(population) >= mean:
        assert reached[1] <= 1 / bound + 1e-9


@given(st.integers(1, 200), MEANS)
def test_nothing_but_zeros_never_feeds_different_and_ones_never_equivalent(
    count: int, mean: float
) -> None:
    zeros, ones = run([0.0] * count, mean), run([1.0] * count, mean)
    assert zeros.log_different <= 0 and ones.log_equivalent <= 0
    assert zeros.log_equivalent > 0 and ones.log_different > 0


HEAVY: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "lognormal": lambda rng, n: np.minimum(rng.lognormal(-3, 2, n), 1.0),
    "pareto": lambda rng, n: np.minimum(0.02 * (1 + rng.pareto(0.8, n)), 1.0),
    "rare ones": lambda _, n: (np.arange(n) < n // 20).astype(float),
    "all equal": lambda _, n: np.full(n, 0.2),
    "zeros": lambda _, n: np.append(np.zeros(n - 1), 1.0),
}


@pytest.mark.parametrize("shape", sorted(HEAVY))
def test_a_stratum_of_eighty_at_its_tolerance_is_called_neither_too_often(shape: str) -> None:
    """Seeded; 600 uniform orders, alpha = 1/20, peeked at after each unit. A rate of just 1/20
    passes 50 of 600 with a chance of 2e-4 (binomial), so that is this test's false-alarm rate, a
    shape and side, under another seed."""
    rng = np.random.default_rng(20260303)
    units = HEAVY[shape](rng, 80)
    mean = float(units.mean())
    reached = np.zeros(2, dtype=int)
    for _ in range(600):
        process = EProcess(population=80, mean=mean)
        reached += process.extend(rng.permutation(units)).max(axis=1) >= math.log(20)
    assert reached.max() <= 50, reached


@given(st.lists(UNITS, min_size=1, max_size=30), MEANS)
def test_different_and_equivalent_are_never_both_certain(values: list[float], mean: float) -> None:
    assert certain(values, mean) != (True, True)


@given(st.lists(UNITS, min_size=1, max_size=30), MEANS)
def test_after_the_last_unit_certainty_names_the_side_of_the_mean(
    values: list[float], mean: float
) -> None:
    found = sum(values) / len(values)
    different, equivalent = certain(values, mean)
    assert not different or found > mean - 1e-9
    assert not equivalent or found < mean + 1e-9


def test_more_than_the_whole_budget_drawn_makes_different_certain() -> None:
    assert certain([1.0, 1.0, 0.0, 0.0, 0.0], 0.25) == (True, False)  # m_i < 0 from the third on


def test_a_rest_too_small_to_reach_the_mean_makes_equivalent_certain() -> None:
    assert certain([0.0, 0.0, 0.0, 0.0, 1.0], 0.75) == (False, True)


def test_at_a_spent_budget_only_a_further_positive_unit_decides() -> None:
    assert certain([1.0, 0.0, 0.0, 0.0], 0.25) == (False, False)
    assert certain([1.0, 0.0, 0.0, 0.1], 0.25) == (True, False)


def test_where_all_the_rest_must_be_one_only_a_unit_below_it_decides() -> None:
    assert certain([0.0, 1.0, 1.0, 1.0], 0.75) == (False, False)
    assert certain([0.0, 1.0, 1.0, 0.9], 0.75) == (False, True)


def test_the_last_draws_of_a_constant_population_tie_and_decide_nothing() -> None:
    for x in (0.1, 0.3, 0.7, 1 / 3):
        process = run([x] * 1000, x)
        assert process.log_different <= 1e-6
        assert process.log_equivalent <= 1e-6


def test_certainty_stays() -> None:
    process = run([1.0, 1.0, 0.5], 0.25, population=5)
    assert math.isinf(process.log_different)
    process.extend([0.0, 0.0])
    assert math.isinf(process.log_different)


@pytest.mark.parametrize("x", [-1e-6, 1.000001, math.nan, math.inf, -math.inf])
def test_a_unit_outside_zero_to_one_is_refused(x: float) -> None:
    process = EProcess(population=3, mean=0.25)
    with pytest.raises(ValueError, match="must lie in"):
        process.extend([x])
    assert process.drawn == 0
    with pytest.raises(ValueError, match="must lie in"):
        process.extend([0.5, x, 0.5])
    assert (process.drawn, process.total, process.log_different) == (0, 0.0, 0.0)


def test_more_units_than_there_are_and_senseless_populations_are_refused() -> None:
    with pytest.raises(ValueError, match="all 2 units"):
        run([0.0, 0.0, 0.0], 0.5, population=2)
    for population, mean in ((0, 0.5), (3, 0.0), (3, 1.0)):
        with pytest.raises(ValueError, match="population"):
            EProcess(population=population, mean=mean)


@pytest.mark.parametrize("x", [0.0, 0.2501, 0.2499, 1.0])
def test_ten_thousand_units_do_not_overflow(x: float) -> None:
    process = run([x] * 10_000, 0.25, population=80_000)
    assert not math.isnan(process.log_different)
    assert not math.isnan(process.log_equivalent)
    assert (process.log_different > LOG_200) == (x == 1.0)


def test_sums_in_log_space_hold_where_plain_ones_overflow() -> None:
    assert log_mean_exp(np.array([1000.0, 1000.0])) == pytest.approx(1000.0)
    assert log_weighted_sum([0.5, 0.5], [2000.0, 0.0]) == pytest.approx(2000.0 - math.log(2))
    assert log_weighted_sum([0.5, 0.5], [math.inf, 0.0]) == math.inf
    assert log_weighted_sum([0.25] * 4, [0.0] * 4) == pytest.approx(0.0)


def unit_by_unit(values: Sequence[float], mean: float, population: int) -> np.ndarray:
    """ln E_diff and ln E_eq after each unit (2, n), as the module's docstring has it: in a loop."""
    total, wealths = 0.0, np.ones((2, len(THETAS)))
    certain = np.zeros(2, dtype=bool)
    rows: list[np.ndarray] = []
    for drawn, x in enumerate(values):
        left = population - drawn
        above = population * mean - total
        for side, (unit, rest) in enumerate(((x, above), (1 - x, left - above))):
            certain[side] |= rest < -TIE or (rest <= TIE and unit - rest > TIE)
            if rest > TIE:
                m = rest / left
                wealths[side] *= 1 + THETAS / m * (unit - m)
        total += x
        rows.append(np.where(certain, math.inf, np.log(wealths.mean(axis=1))))
    return np.array(rows).T


EXTREMES = [
    ([1.0, 1.0, 0.0, 0.0, 0.0], 0.25),  # m_i < 0
    ([0.0, 0.0, 0.0, 0.0, 1.0], 0.75),  # m_i > 1
    ([1.0, 0.0, 0.0, 0.1], 0.25),  # m_i = 0, then decided
    ([1.0, 0.0, 0.0, 0.0], 0.25),  # m_i = 0 to the end
    ([0.0, 1.0, 1.0, 0.9], 0.75),  # m_i = 1
    ([0.1] * 10, 0.1),  # a tie in floating point
]


@given(
    st.lists(UNITS, min_size=1, max_size=40),
    MEANS | st.sampled_from([0.05, 0.25, 0.5]),
    st.integers(0, 40),
    st.lists(st.integers(0, 40), max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_many_units_at_once_are_the_same_as_one_after_the_other(
    values: list[float], mean: float, more: int, cuts: list[int]
) -> None:
    require_the_same(values, mean, len(values) + more, cuts)


@pytest.mark.parametrize(("values", "mean"), EXTREMES)
@pytest.mark.parametrize("cut", range(6))
def test_so_they_are_where_the_mean_is_certain_or_ties(
    values: list[float], mean: float, cut: int
) -> None:
    require_the_same(values, mean, len(values), [cut])


def require_the_same(
    values: Sequence[float], mean: float, population: int, cuts: Sequence[int]
) -> None:
    process = EProcess(population=population, mean=mean)
    parts = np.split(np.array(values), sorted(min(cut, len(values)) for cut in cuts))
    found = np.concatenate([process.extend(part) for part in parts], axis=1)
    # Beside a bet that a rounding away from a tie makes enormous, nothing is exact to 1e-9.
    np.testing.assert_allclose(found, unit_by_unit(values, mean, population), rtol=0, atol=1e-6)
    assert (process.log_different, process.log_equivalent) == tuple(found[:, -1])
    assert (process.drawn, process.total) == (len(values), pytest.approx(sum(values)))


def first(values: Sequence[float], mean: float, log: float, *, different: bool) -> int | None:
    """The unit at which a wealth first reaches `log`."""
    process = EProcess(population=80, mean=mean)
    for drawn, x in enumerate(values, 1):
        process.extend([x])
        if (process.log_different if different else process.log_equivalent) >= log:
            return drawn
    return None


def test_no_bad_one_of_eighty_excludes_five_percent_after_sixty_four() -> None:
    assert first([0.0] * 80, 0.05, LOG_200, different=False) == 64


def test_half_the_tolerance_is_equivalent_after_about_thirty_five() -> None:
    rng = np.random.default_rng(1)
    drawn = [
        first(np.clip(rng.normal(0.125, 0.04, 80), 0, 1).tolist(), 0.25, LOG_200, different=False)
        for _ in range(50)
    ]
    assert all(n is not None for n in drawn)
    assert 31 <= np.median([n for n in drawn if n is not None]) <= 39


def test_four_tolerances_are_different_after_about_seven() -> None:
    weighted = LOG_200 + math.log(SERIES)  # one series alone carries the weighted sum
    drawn = first([1.0] * 80, 0.25, weighted, different=True)
    assert drawn is not None
    assert 5 <= drawn <= 8


@given(st.integers(0, 20), st.sampled_from([0.0, 0.1, 0.2, 0.5]))
def test_the_units_still_needed_are_those_that_it_takes(drawn: int, x: float) -> None:
    process = run([x] * drawn, 0.25, population=80)
    before = (process.drawn, process.log_equivalent)
    needed = units_to_equivalent(process, x, 0.005)
    assert (process.drawn, process.log_equivalent) == before
    if needed is None:
        assert first([x] * 80, 0.25, LOG_200, different=False) is None
    else:
        assert first([x] * 80, 0.25, LOG_200, different=False) == drawn + needed
