"""A quantile from counts is that of all values, or at most 0.1 % above it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checker.quantiles import LOWEST, STEP, Counts

ROUNDING = 1e-9  # of the logarithm that finds a bin
VALUES = st.floats(0, 1e6) | st.floats(0, 1e-9) | st.sampled_from([0.0, 0.5, LOWEST])
SHARES = st.sampled_from([0.0, 0.5, 0.999, 1.0]) | st.floats(0, 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=60), SHARES, st.integers(0, 60))
def test_it_is_never_less_and_at_most_a_step_more(
    values: list[float], share: float, cut: int
) -> None:
    whole = Counts()
    whole.add(np.array(values[:cut]))
    rest = Counts()
    rest.add(np.array(values[cut:]))
    whole.merge(rest)
    exact, found = float(np.quantile(values, share)), whole.quantile(share)
    assert exact * (1 - ROUNDING) <= found
    if max(values) < 1e4:  # above, the largest value stands for all
        assert found <= exact * (1 + STEP + ROUNDING) + LOWEST


def test_many_heavy_tailed_values_are_within_the_bound_in_every_quantile() -> None:
    values = np.abs(np.random.default_rng(1).standard_cauchy(100_000)) * 1e-4
    counts = Counts()
    for part in np.array_split(values, 37):
        counts.add(part)
    for share in (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999):
        exact = float(np.quantile(values, share))
        assert exact <= counts.quantile(share) <= exact * (1 + STEP)


def test_zeros_alone_are_zero() -> None:
    counts = Counts()
    counts.add(np.zeros(1000))
    assert counts.quantile(0.999) == 0
