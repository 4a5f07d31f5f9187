"""The limit falls at once, comes back slowly, and stays within its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.runs.pace import HOLD_S, SLOW_S, Pace


def test_a_storm_of_refusals_is_one_decrease_and_the_next_second_another() -> None:
    pace = Pace(64)
    for i in range(50):
        pace.refused(i * HOLD_S / 100)
    assert pace.allowed == 32
    pace.refused(HOLD_S)
    assert pace.allowed == 16


def test_a_window_of_answers_gives_one_more_and_never_more_than_the_most() -> None:
    pace = Pace(64)
    pace.refused(0.0)
    for _ in range(32):
        pace.answered(0.1, 5.0)
    assert pace.allowed == 32  # 32 answers of 1/32, the later ones a little less
    pace.answered(0.1, 5.0)
    assert pace.allowed == 33
    for _ in range(10_000):
        pace.answered(0.1, 5.0)
    assert pace.allowed == 64


def test_long_waits_ease_it_where_the_engine_has_shown_that_it_can_do_better() -> None:
    slow_from_the_start, grown_slow = Pace(100), Pace(100)
    for pace in (slow_from_the_start, grown_slow):
        pace.answered(10.0 if pace is slow_from_the_start else 0.05, 0.0)
        pace.answered(10.0, 1.0)
    assert (slow_from_the_start.allowed, grown_slow.allowed) == (100, 90)
    fast = Pace(100)
    fast.answered(0.001, 0.0)
    fast.answered(SLOW_S, 1.0)
    assert fast.allowed == 100


@given(
    most=st.integers(1, 1000),
    events=st.lists(st.tuples(st.booleans(), st.floats(0, 100), st.floats(0, 10)), max_size=100),
)
def test_it_stays_between_one_and_the_most_whatever_happens(
    most: int, events: list[tuple[bool, float, float]]
) -> None:
    pace, now = Pace(most), 0.0
    for refused, wait, step in events:
        now += step
        if refused:
            pace.refused(now)
        else:
            pace.answered(wait, now)
        assert 1 <= pace.allowed <= most
