"""Alternatives by their texts: what both sides name becomes the same cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import RequestError
from harness.checker.distance import between
from harness.checker.prefixes import by_text, compared

TEXTS = {1: "a", 2: "b", 3: "a", 4: "\ufffd", 5: "\ufffd"}
distributions = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=8).map(
    lambda weights: {f"w{i}": math.log(w / sum(weights)) for i, w in enumerate(weights)}
)


def test_ids_of_one_text_are_one_cell_with_their_probabilities_added() -> None:
    ids, logprobs = np.array([1, 2, 3], dtype=np.int32), np.log([0.5, 0.3, 0.2])
    cells = by_text(ids, logprobs, TEXTS)
    assert list(cells) == ["a", "b"]
    assert np.exp([cells["a"], cells["b"]]) == pytest.approx([0.7, 0.3])


@given(st.lists(distributions, min_size=1, max_size=4))
def test_the_same_on_both_sides_is_no_difference(positions: list[dict[str, float]]) -> None:
    distance = between(*compared(positions, positions))
    assert not distance.d.any()
    assert distance.divergence == pytest.approx(np.zeros(len(positions)), abs=1e-12)
    assert not distance.flip.any()


def test_what_is_judged_is_the_references_best_and_a_missing_one_lies_below_all() -> None:
    reference = [{"x": math.log(0.9), "y": math.log(0.06), "z": math.log(0.04)}]
    candidate = [{"y": math.log(0.6), "z": math.log(0.3), "q": math.log(0.1)}]
    ours, theirs = compared(reference, candidate)
    assert ours.logprobs == pytest.approx([math.log(0.9)])
    assert theirs.logprobs == pytest.approx([math.log(0.1)])
    assert between(ours, theirs).flip.tolist() == [True]


def test_the_shorter_list_says_how_many_cells_are_compared() -> None:
    long = {f"w{i}": math.log(0.2 / 2**i) for i in range(6)}
    short = dict(list(long.items())[:3])
    ours, theirs = compared([long, long], [long, short])
    assert ours.top_ids.shape == theirs.top_ids.shape == (2, 3)


def test_a_single_alternative_has_no_margin_and_is_refused() -> None:
    with pytest.raises(RequestError, match="fewer than 2"):
        compared([{"x": -0.1, "y": -3.0}], [{"x": -0.1}])
