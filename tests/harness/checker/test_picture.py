"""The histogram counts every token once, in its bin."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.checker.picture import EDGES, Histogram


def counts(values: list[float]) -> list[int]:
    histogram = Histogram()
    histogram.add(np.array(values))
    return histogram.table()["counts"]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=50))
def test_every_token_lies_in_the_bin_that_a_loop_finds(values: list[float]) -> None:
    expected = [0] * len(EDGES)
    for value in values:
        log = np.log10(abs(value)) if value else -np.inf
        below = sum(bool(edge <= log) for edge in EDGES)
        expected[min(below, len(EDGES) - 1)] += 1  # above the last edge: the last bin
    assert counts(values) == expected


def test_bit_equal_tokens_lie_below_the_first_edge() -> None:
    assert counts([0.0, -0.0, 1e-12])[0] == 3


def test_sequences_add_up() -> None:
    histogram = Histogram()
    for values in ([0.1, 0.2], [0.1]):
        histogram.add(np.array(values))
    assert histogram.table()["counts"] == counts([0.1, 0.2, 0.1])
