"""F1 and its differences drawn again, beside a plain bootstrap, and what both intervals cover."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from harness.checker.tasks import f1_differences
from harness.checker.tasks.f1_differences import difference, resampled
from harness.checker.tasks.pairing import Bounds
from harness.checker.tasks.ratios import Ratio, Sums, exact, f1

Flags = npt.NDArray[np.bool_]
Three = tuple[Flags, Flags, Flags]  # a reference, a second run of it, a candidate: (C, R) calls


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def certain(both: npt.ArrayLike, either: npt.ArrayLike) -> Ratio:
    sums = Sums(hits=np.array(both, dtype=float), counted=np.array(either, dtype=float))
    return Ratio(known=sums, worst=sums, best=sums)


def ratio(reference: Flags, candidate: Flags) -> Ratio:
    return certain((reference & candidate).sum(axis=1), (reference | candidate).sum(axis=1))


def chance(source: np.random.Generator, cases: int, repeats: int, drop: float) -> Three:
    """Calls at T 1; the candidate leaves out a share of them."""
    often = source.beta(0.8, 0.4, (cases, 1))
    first, second, third = (
        source.random((cases, repeats)) < share for share in (often, often, often * (1 - drop))
    )
    return first, second, third


def greedy(source: np.random.Generator, cases: int, repeats: int, drop: float) -> Three:
    """Calls at T 0: one run is as the other, but for a share of the cases."""
    calls = np.repeat(source.random((cases, 1)) < 0.6, repeats, axis=1)
    return calls, calls, calls ^ (source.random((cases, 1)) < drop)


def by_hand(sides: list[Ratio], draws: int) -> Bounds:
    """The bootstrap as one would first write it: cases drawn one by one, and sums made anew."""
    source = random.Random(3)
    columns = [(r.known.hits.tolist(), r.known.counted.tolist()) for r in sides]
    found: list[float] = []
    for _ in range(draws):
        drawn = source.choices(range(len(columns[0][0])), k=len(columns[0][0]))
        scores: list[float] = []
        for hits, counted in columns:
            both, either = sum(hits[i] for i in drawn), sum(counted[i] for i in drawn)
            scores.append(2 * both / (both + either))
        found.append(scores[0] - sum(scores[1:]))
    found.sort()
    return found[round(0.025 * draws)], found[round(0.975 * draws)]


@pytest.mark.parametrize("repeats", [1, 4])
def test_the_bootstrap_is_that_of_a_plain_loop(repeats: int) -> None:
    recorded, again, candidate = chance(rng(7), 80, repeats, drop=0.1)
    theirs, itself = ratio(recorded, candidate), ratio(recorded, again)
    alone, beside = resampled(theirs, rng(1)), difference(theirs, itself, rng(2)).resampled
    for found, sides in ((alone, [theirs]), (beside, [theirs, itself])):
        low, high = by_hand(sides, 2000)
        # an end drawn 2,000 times is off by sd / 19 (1 standard error): 4 of them
        assert found == pytest.approx((low, high), abs=4 * (high - low) / 3.9 / 19)


def test_with_many_cases_both_intervals_are_those_of_the_delta_method() -> None:
    """F1 = f(r) of r = TP / (TP + B), f' = 2 / (1 + r)^2, and r is a share of independent cases."""
    found = certain([1.0] * 1300 + [0.0] * 1200, [1.0] * 2000 + [0.0] * 500)
    r = 1300 / 2000
    half = 1.96 * 2 / (1 + r) ** 2 * math.sqrt(r * (1 - r) / 2000)
    ends = (f1(r) - half, f1(r) + half)
    assert resampled(found, rng(0)) == pytest.approx(ends, abs=0.06 * half)
    assert tuple(map(f1, exact(found.known))) == pytest.approx(ends, abs=0.06 * half)


def test_a_difference_is_drawn_in_pairs() -> None:
    """Two sides that are alike in every case but a few: apart, each spreads ten times as far."""
    first = certain([1.0] * 300 + [0.0] * 200, [1.0] * 500)
    other = certain([1.0] * 297 + [0.0] * 203, [1.0] * 500)
    found = difference(first, other, rng(0))
    alone = resampled(first, rng(0))
    assert alone is not None and found.resampled is not None and found.interval is not None
    for low, high in (found.resampled, found.interval):
        assert high - low < (alone[1] - alone[0]) / 3
    assert found.estimate == pytest.approx(f1(300 / 500) - f1(297 / 500))


def test_a_case_is_drawn_with_all_its_repeats() -> None:
    whole = certain([8.0, 0.0] * 25, [8.0] * 50)
    apart = certain([1.0, 0.0] * 200, [1.0] * 400)
    wide, narrow = resampled(whole, rng(0)), resampled(apart, rng(0))
    assert wide is not None and narrow is not None
    assert wide[1] - wide[0] == pytest.approx(math.sqrt(8) * (narrow[1] - narrow[0]), rel=0.05)


def test_what_is_not_known_widens_a_difference_from_both_sides() -> None:
    def of(least: int, most: int, cases: int = 400) -> Ratio:
        known, worst, best = (
            Sums(
                hits=np.array([1.0] * hits + [0.0] * (cases - hits)),
                counted=np.ones(cases),
            )
            for hits in (least, least, most)
        )
        return Ratio(known=known, worst=worst, best=best)

    found = difference(of(300, 320), of(310, 340), rng(0))
    assert found.bounds == pytest.approx((f1(300 / 400) - f1(340 / 400), f1(320 / 400) - f1(0.775)))
    for interval in (found.interval, found.resampled):
        assert interval is not None and found.bounds is not None
        assert interval[0] < found.bounds[0] < found.bounds[1] < interval[1]
    low = difference(of(300, 300), of(340, 340), rng(0))
    assert low.interval is not None and found.interval is not None
    assert found.interval[0] == low.interval[0]


def test_no_spread_is_no_interval_of_the_bootstrap_and_the_other_stands() -> None:
    same = certain([1.0] * 30 + [0.0] * 10, [1.0] * 40)
    for one in (same, certain([1.0] * 40, [1.0] * 40)):
        found = difference(one, one, rng(0))
        assert found.estimate == 0
        assert found.resampled is None
        assert found.interval is not None
        low, high = found.interval
        # 2 of 42 cases apart: sd of the mean is about sqrt(2) / 42, times f'(r) = .5 to .8
        assert -0.08 < low < -0.02 and high == pytest.approx(-low)
    assert resampled(certain([1.0] * 40, [1.0] * 40), rng(0)) is None


def test_no_calls_at_all_are_no_number() -> None:
    none, some = certain([0.0] * 9, [0.0] * 9), certain([1.0, 0.0] * 4 + [1.0], [1.0] * 9)
    assert resampled(none, rng(0)) is None
    for found in (difference(none, some, rng(0)), difference(some, none, rng(0))):
        assert (found.estimate, found.bounds) == (None, None)
        assert (found.interval, found.resampled) == (None, None)


def test_draws_in_which_nobody_calls_are_left_out() -> None:
    """Two of 30 cases have a call: 13 % of the draws have none."""
    found = resampled(certain([1.0, 0.0] + [0.0] * 28, [1.0, 1.0] + [0.0] * 28), rng(0))
    assert found == (0, 1)


def test_a_seed_gives_the_same_again_and_another_about_the_same() -> None:
    recorded, again, candidate = chance(rng(7), 300, 1, drop=0.1)
    theirs, itself = ratio(recorded, candidate), ratio(recorded, again)
    one, same, other = (difference(theirs, itself, rng(seed)) for seed in (5, 5, 6))
    assert one == same != other
    assert one.interval == other.interval  # nothing is drawn for it
    assert one.resampled == pytest.approx(other.resampled, abs=0.005)


def test_two_thousand_cases_that_all_differ_are_drawn_in_little_memory() -> None:
    """2,000 kinds x 9,999 draws x 8 bytes would be 160 MB."""
    either = np.arange(2000) + 1.0
    found = certain(np.floor(either / 2), either)
    tracemalloc.start()
    try:
        assert resampled(found, rng(0)) is not None
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("engines", "cases", "repeats", "drop", "drawn"),
    [
        (chance, 200, 1, 0.2, 0.94),
        (chance, 30, 4, 0.2, 0.93),
        (greedy, 200, 1, 0.01, 0.86),
        (greedy, 50, 1, 0.02, 0.63),
    ],
)
def test_the_interval_covers_what_it_says_and_the_bootstrap_covers_less(
    engines: Callable[[np.random.Generator, int, int, float], Three],
    cases: int,
    repeats: int,
    drop: float,
    drawn: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """300 sets, seeded. The interval covers 94.5 % or more where it says 95 %, the bootstrap's as
    stated. With other seeds a right interval is below 90 % in 1 of 1,500 runs, and a right
    bootstrap outside its ends in 1 of 1,000."""
    monkeypatch.setattr(f1_differences, "REDRAWN", 399)
    source = rng(20260502)
    recorded, again, candidate = engines(source, 400_000, 1, drop)
    truth = difference(ratio(recorded, candidate), ratio(recorded, again), source).estimate
    assert truth is not None
    covered = covered_drawn = 0
    for _ in range(300):
        recorded, again, candidate = engines(source, cases, repeats, drop)
        found = difference(ratio(recorded, candidate), ratio(recorded, again), source)
        covered += _holds(found.interval, truth)
        covered_drawn += _holds(found.resampled, truth)
    assert covered >= 270
    least, most = stats.binom.ppf([0.0005, 0.9995], 300, drawn)
    assert least <= covered_drawn <= most


def _holds(interval: Bounds | None, truth: float) -> bool:
    return interval is not None and interval[0] <= truth <= interval[1]
