"""A loop that was blocked is measured, and touches only who was under way meanwhile."""

from __future__ import annotations

import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from harness.runs import lateness
from harness.runs.lateness import EVERY_S, LATE_S, Lateness


def test_a_blocked_loop_is_measured_and_belongs_to_who_was_under_way() -> None:
    async def blocked() -> tuple[Lateness, float, float]:
        late = Lateness()
        running = asyncio.create_task(late.run())
        now = time.monotonic
        before = now()
        await asyncio.sleep(0)
        time.sleep(0.4)
        await asyncio.sleep(2 * EVERY_S)
        after = now()
        running.cancel()
        return late, late.since(before), late.since(after)

    late, during, behind = asyncio.run(blocked())
    assert 0.4 - EVERY_S - 0.01 <= during == late.worst_s
    assert behind == 0.0
    assert late.late_s >= during and late.watched_s >= 0.4


def test_a_delay_reaches_who_was_under_way_when_it_was_served_and_nobody_later() -> None:
    late = Lateness()
    for now, seconds in ((1.0, 0.5), (2.0, 3.0), (3.0, 0.1)):
        late.noted(now, seconds)
    assert [late.since(began) for began in (0.0, 1.5, 2.0, 2.5, 3.5)] == [3.0, 3.0, 3.0, 0.1, 0.0]
    assert (late.worst_s, round(late.late_s, 6)) == (3.0, 3.6)


def test_what_is_too_short_to_be_an_engines_is_not_noted() -> None:
    late = Lateness()
    late.noted(1.0, LATE_S / 2)
    late.noted(1.0, -1.0)
    assert (late.since(0.0), late.worst_s, late.late_s) == (0.0, 0.0, 0.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 9)), max_size=50), st.floats(0, 60))
def test_the_worst_since_a_time_is_the_worst_of_all_that_were_noted_from_then_on(
    steps: list[tuple[float, float]], began: float
) -> None:
    late, now = Lateness(), 0.0
    seen: list[tuple[float, float]] = []
    for step, seconds in steps:
        now += step
        late.noted(now, seconds)
        seen.append((now, seconds))
    noted = [seconds for when, seconds in seen if when >= began and seconds >= LATE_S]
    assert late.since(began) == max(noted, default=0.0)


def test_the_memory_of_it_is_bounded() -> None:
    late = Lateness()
    for i in range(lateness.KEPT + 1):
        late.noted(float(i), 9.0 if i == 0 else 0.1)
    assert (late.since(0.0), late.worst_s) == (0.1, 9.0)
