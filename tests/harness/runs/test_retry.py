"""Retries are bounded for every kind of failure, for each request, and for the run."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.runs import retry
from harness.runs.retry import RULES, Failure


def wait(
    last: Failure,
    count: int,
    *,
    attempts_left: int = 99,
    retries_left: int = 99,
    retry_after_s: float | None = None,
    seed: int = 0,
) -> float | None:
    return retry.wait_s(
        Counter({last: count}),
        last,
        attempts_left=attempts_left,
        retries_left=retries_left,
        retry_after_s=retry_after_s,
        rng=random.Random(seed),
    )


@pytest.mark.parametrize("kind", Failure)
def test_a_failure_is_retried_as_often_as_its_rule_says_and_no_more(kind: Failure) -> None:
    most = RULES[kind].retries
    assert [wait(kind, n) is None for n in range(1, most + 3)] == [False] * most + [True] * 2


def test_what_was_wrong_with_the_request_is_never_sent_again() -> None:
    assert wait(Failure.REFUSED, 1) is None
    assert [retry.of_status(s) for s in (400, 401, 403, 404, 413, 422)] == [Failure.REFUSED] * 6
    assert [retry.of_status(s) for s in (200, 429, 500, 502, 503, 504)] == [
        None,
        Failure.RATE_LIMITED,
        *[Failure.SERVER] * 4,
    ]


def test_the_budgets_of_a_request_and_of_the_run_end_it() -> None:
    assert wait(Failure.SERVER, 1, attempts_left=0) is None
    assert wait(Failure.SERVER, 1, retries_left=0) is None
    assert wait(Failure.SERVER, 1, attempts_left=1, retries_left=1) is not None


@given(
    kind=st.sampled_from([kind for kind in Failure if RULES[kind].retries]),
    data=st.data(),
    told=st.none() | st.floats(0, 1e6),
    seed=st.integers(0, 2**32),
)
def test_a_wait_is_at_least_what_the_server_asks_and_at_most_that_and_the_rules_most(
    kind: Failure, data: st.DataObject, told: float | None, seed: int
) -> None:
    rule = RULES[kind]
    count = data.draw(st.integers(1, rule.retries))
    found = wait(kind, count, retry_after_s=told, seed=seed)
    least = min(told or 0.0, retry.LONGEST_WAIT_S)
    assert found is not None
    assert least <= found <= least + min(rule.most_s, rule.base_s * 2 ** (count - 1))


def test_requests_that_failed_together_do_not_come_back_together() -> None:
    """Full jitter: a thousand waits fill the interval evenly."""
    waits = [wait(Failure.SERVER, 3, seed=seed) or 0.0 for seed in range(1000)]
    most = RULES[Failure.SERVER].base_s * 4
    counts = Counter(int(10 * w / most) for w in waits)
    assert set(counts) == set(range(10)) and min(counts.values()) > 50
