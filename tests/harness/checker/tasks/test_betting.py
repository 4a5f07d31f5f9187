"""At its null each wealth has mean 1 at most, also for who looks after every case."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.record import Floats
from harness.checker.tasks.betting import (
    log_two_sided,
    log_within,
    log_worse,
    path_worse,
)

SIZES = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=8)
DIFFERENCES = st.lists(st.floats(-1, 1), max_size=30).map(np.array)
ALPHA = 0.1


def signed(sizes: list[float]) -> Floats:
    """(2^C, C) every way in which engines that are the same could have been swapped."""
    return np.array(list(product([-1.0, 1.0], repeat=len(sizes)))) * sizes


@settings(max_examples=50, deadline=None)
@given(SIZES)
def test_over_all_swaps_the_evidence_has_mean_one_after_every_case(sizes: list[float]) -> None:
    paths = np.exp([path_worse(row) for row in signed(sizes)])  # (2^C, C)
    assert paths.mean(axis=0) == pytest.approx(np.ones(len(sizes)))


@settings(max_examples=30, deadline=None)
@given(SIZES, st.floats(1.05, 20))
def test_who_stops_at_the_best_moment_gains_nothing_on_average(
    sizes: list[float], threshold: float
) -> None:
    stopped = 0.0
    rows = signed(sizes)
    for row in rows:
        path = np.exp(path_worse(row))
        over = np.flatnonzero(path >= threshold)
        stopped += path[over[0] if len(over) else -1]
    assert stopped / len(rows) <= 1 + 1e-9


def test_of_all_orders_of_twelve_discordant_pairs_few_ever_reach_the_threshold() -> None:
    """Exact, over all 4,096; Ville: at most alpha. The final evidence alone says less."""
    paths = np.array([path_worse(row) for row in signed([1.0] * 12)])
    ever = (paths >= -math.log(ALPHA)).any(axis=1).mean()
    assert 0.02 < ever <= ALPHA
    assert (paths[:, -1] >= -math.log(ALPHA)).mean() < ever


def test_a_candidate_that_loses_less_than_half_feeds_worse_even_less() -> None:
    lost = np.array(list(product([-1.0, 1.0], repeat=8)))
    chances = np.where(lost < 0, 0.4, 0.6).prod(axis=1)
    wealths = np.exp([log_worse(row) for row in lost])
    assert (chances * wealths).sum() < 1


@settings(deadline=None)
@given(DIFFERENCES.filter(len), st.randoms(use_true_random=False))
def test_order_and_concordant_cases_change_nothing_and_swapping_the_sides_swaps_the_evidence(
    differences: Floats, random: object
) -> None:
    del random
    found = log_worse(differences)
    assert log_worse(np.sort(differences)) == pytest.approx(found)
    assert log_worse(np.concatenate([differences, np.zeros(50)])) == pytest.approx(found)
    assert path_worse(differences)[-1] == found
    either = log_two_sided(found, log_worse(-differences))
    assert either == pytest.approx(log_two_sided(log_worse(-differences), found))


@settings(deadline=None)
@given(DIFFERENCES.filter(len), st.integers(0, 29), st.floats(0, 2))
def test_a_case_that_went_better_never_adds_evidence_of_worse(
    differences: Floats, at: int, more: float
) -> None:
    """What the bounds of failed requests rest on."""
    better = differences.copy()
    better[at % len(better)] = min(1.0, better[at % len(better)] + more)
    assert log_worse(better) <= log_worse(differences) + 1e-9
    assert log_within(better, 0.05) >= log_within(differences, 0.05) - 1e-9


@settings(deadline=None)
@given(DIFFERENCES.filter(len))
def test_there_is_no_evidence_of_worse_where_the_mean_is_not_lower(differences: Floats) -> None:
    """Many small losses and a few large wins are not called a drop."""
    if log_worse(differences) > 1e-9:
        assert differences.mean() < 0
    if log_worse(-differences) > 1e-9:
        assert differences.mean() > 0


def test_no_case_is_no_evidence_and_ten_thousand_do_not_overflow() -> None:
    none = np.zeros(0)
    assert (log_worse(none), log_within(none, 0.1)) == (0.0, 0.0)
    for x in (-1.0, 0.0, 1.0):
        assert math.isfinite(log_worse(np.full(10_000, x)))
        assert math.isfinite(log_within(np.full(10_000, x), 0.01))
    assert log_worse(np.zeros(10_000)) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("lost", "won", "least", "most"),
    [(0.45, 0.0, 10, 25), (0.30, 0.05, 45, 90), (0.08, 0.03, 350, 800)],
)
def test_a_large_drop_stops_after_some_dozens_of_questions_and_a_small_one_after_hundreds(
    lost: float, won: float, least: int, most: int
) -> None:
    """The design's estimates are 23 to 47 questions for 25 to 45 points, and 411 for 5. The median
    of 60 runs, seeded, at 200 to 1."""
    rng = np.random.default_rng(7)
    runs = rng.choice([-1.0, 0.0, 1.0], (60, 2000), p=[lost, 1 - lost - won, won])
    stops = [int(np.argmax(path_worse(run) >= math.log(200))) for run in runs]
    assert least < np.median(stops) < most


@settings(max_examples=50, deadline=None)
@given(st.floats(0.02, 0.9), st.floats(0, 1))
def test_at_a_drop_of_just_the_margin_the_evidence_for_less_has_mean_one(
    margin: float, share: float
) -> None:
    """Cases that are lost, the same or won, with a mean of exactly -margin."""
    won = share * (1 - margin) / 2
    values, chances = (
        np.array([-1.0, 0.0, 1.0]),
        np.array([won + margin, 1 - margin - 2 * won, won]),
    )
    rows = np.array(list(product(range(3), repeat=4)))
    wealths = np.exp([log_within(values[row], margin) for row in rows])
    assert (chances[rows].prod(axis=1) * wealths).sum() == pytest.approx(1)


def test_agreement_on_every_case_shows_a_margin_of_five_points_after_about_120() -> None:
    assert log_within(np.zeros(100), 0.05) < math.log(200)
    assert log_within(np.zeros(150), 0.05) > math.log(200)


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1, math.nan])
def test_a_margin_outside_zero_to_one_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        log_within(np.zeros(3), margin)
