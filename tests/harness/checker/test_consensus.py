"""Who stands alone: found when it does, and not invented when nobody does."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from harness.base.record import Floats
from harness.checker.consensus import RATIO, Pair, judge, mean_absolute

SEQUENCES = 120
ALPHA = 0.005
FP32, BF16 = 0, 1


def apart(scales: dict[Pair, float], seed: int = 0) -> dict[Pair, Floats]:
    """Pairwise distances around a scale, with the spread that sequences have."""
    rng = np.random.default_rng(seed)
    return {
        pair: scale * rng.gamma(shape=2.0, scale=0.5, size=SEQUENCES)
        for pair, scale in scales.items()
    }


def test_one_wrong_engine_of_three_stands_alone() -> None:
    found = judge(apart({(0, 1): 1.0, (0, 2): 4e-7, (1, 2): 1.0}), [FP32] * 3, ALPHA)
    assert (found.alone, found.core) == ((1,), (0, 2))


def test_it_is_found_in_bf16_too_where_the_right_ones_differ_as_well() -> None:
    found = judge(apart({(0, 1): 5e-3, (0, 2): 0.12, (1, 2): 0.12}), [BF16] * 3, ALPHA)
    assert found.alone == (2,)


def test_three_engines_that_differ_alike_have_no_odd_one() -> None:
    """The scales are equal, so a name here would be a false alarm: none in 200 corpora."""
    for seed in range(200):
        pairs = dict.fromkeys(combinations(range(3), 2), 5e-3)
        assert judge(apart(pairs, seed), [BF16] * 3, ALPHA).alone == ()


def test_at_the_very_ratio_a_name_is_a_false_alarm_and_as_rare_as_stated() -> None:
    """200 corpora whose mean ratio is exactly the limit: ALPHA of them, 1, may name an engine."""
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(200):
        share = rng.beta(1.0, RATIO, SEQUENCES)  # of mean MEAN, and widely spread
        pairs = {(0, 1): share, (0, 2): 1 - share, (1, 2): 1 - share}
        alarms += judge(pairs, [BF16] * 3, ALPHA).alone != ()
    assert alarms <= 1


def test_differences_that_are_nothing_have_no_ratio() -> None:
    found = judge(apart({(0, 1): 1e-8, (0, 2): 2e-6, (1, 2): 2e-6}), [FP32] * 3, ALPHA)
    assert found.alone == ()


def test_all_three_wrong_in_their_own_way_cannot_be_told_apart() -> None:
    found = judge(apart({(0, 1): 1.0, (0, 2): 1.2, (1, 2): 0.9}), [FP32] * 3, ALPHA)
    assert (found.alone, found.core) == ((), ())


def test_two_against_two_is_no_majority() -> None:
    scales = dict.fromkeys(combinations(range(4), 2), 1.0) | {(0, 1): 1e-6, (2, 3): 1e-6}
    assert judge(apart(scales), [FP32] * 4, ALPHA).alone == ()


def test_two_wrong_ones_of_five_are_both_named() -> None:
    right = dict.fromkeys(combinations(range(3), 2), 1e-06)
    scales = dict.fromkeys(combinations(range(5), 2), 1.0) | right
    found = judge(apart(scales), [FP32] * 5, ALPHA)
    assert (found.core, found.alone) == ((0, 1, 2), (3, 4))


def test_an_engine_that_promises_less_is_not_odd_for_keeping_its_promise() -> None:
    scales = {(0, 1): 4e-7, (0, 2): 6e-3, (1, 2): 6e-3}
    assert judge(apart(scales), [FP32, FP32, BF16], ALPHA).alone == ()
    assert judge(apart(scales), [FP32, FP32, FP32], ALPHA).alone == (2,)


def test_a_fault_in_a_few_sequences_is_left_open_rather_than_named() -> None:
    rng = np.random.default_rng(1)
    sparse = np.where(rng.random(SEQUENCES) < 0.03, 0.5, 0.0) + 1e-7
    found = judge({(0, 1): sparse * 0 + 1e-7, (0, 2): sparse, (1, 2): sparse}, [FP32] * 3, ALPHA)
    assert found.alone == ()


def test_two_engines_are_too_few() -> None:
    with pytest.raises(ValueError, match="2 engines"):
        judge(apart({(0, 1): 1.0}), [FP32] * 2, ALPHA)


def test_the_distance_of_a_sequence_is_the_mean_of_its_absolute_differences() -> None:
    assert mean_absolute(np.array([-1.0, -2.0]), np.array([-1.5, -1.0])) == pytest.approx(0.75)
