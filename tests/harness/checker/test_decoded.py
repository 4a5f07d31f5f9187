"""The greedy margin, and which prompts are continued."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checker.decoded import as_distance, drawn, first_divergence, margins
from tests.building import log_softmax, top


@given(st.integers(0, 2**31), st.floats(0.0, 3.0))
def test_a_greedy_choice_is_never_further_off_than_its_bound(seed: int, noise: float) -> None:
    """margin <= |d(v*)| + |d(y)|, whatever the candidate's logits are."""
    rng = np.random.default_rng(seed)
    reference = log_softmax(rng.normal(size=(9, 12)))
    candidate = log_softmax(reference + rng.normal(scale=noise + 1e-9, size=reference.shape))
    chosen, best = candidate.argmax(axis=1), reference.argmax(axis=1)
    d = np.abs(candidate - reference)
    rows = np.arange(9)
    found = margins(top(reference, chosen.tolist(), 4))
    assert (found <= d[rows, best] + d[rows, chosen] + 1e-12).all()
    assert ((found == 0) == (chosen == best)).all()


def test_the_first_divergence_is_the_first_token_that_the_reference_would_not_choose() -> None:
    assert first_divergence(np.array([0.0, 0.0, 0.3, 0.9])) == 2
    assert first_divergence(np.zeros(4)) is None
    assert as_distance(np.array([0.0, 0.3])).d.tolist() == [0.0, 0.3]


@given(st.lists(st.integers(1, 3000), max_size=200), st.integers(0, 9))
def test_no_more_is_asked_than_the_budget(lengths: list[int], seed: int) -> None:
    found = drawn(lengths, new_tokens=24, times=2, budget=20_000, seed=seed)
    assert len(set(found)) == len(found)
    assert sum(2 * (lengths[i] + 24) for i in found) <= 20_000
    assert all(2 * (lengths[i] + 24) <= 1_000 for i in found)


def test_where_all_fit_all_are_asked() -> None:
    found = drawn([10] * 50, new_tokens=10, times=2, budget=10_000, seed=0)
    assert sorted(found) == list(range(50))
    assert found != sorted(found)


def test_prompts_that_are_too_long_are_left_out() -> None:
    assert drawn([5000, 5000], new_tokens=1, times=2, budget=20_000, seed=0) == pytest.approx([])
