"""A trail holds every unit of few, and some of many, the last one always."""

from __future__ import annotations

import numpy as np
import pytest

from harness.checker.trail import LONGEST, Trail


def trail(units: int, batch: int) -> Trail:
    """ln E_diff is the unit's number, ln E_eq its negative."""
    found = Trail()
    for start in range(1, units + 1, batch):
        numbers = np.arange(start, min(start + batch, units + 1))
        found.extend(np.stack([numbers, -numbers]).astype(np.float64))
    return found


@pytest.mark.parametrize("batch", [1, 7, 5000])
@pytest.mark.parametrize("units", [1, 80, LONGEST, LONGEST + 1, 4321])
def test_points_are_spaced_evenly_and_the_last_is_among_them(units: int, batch: int) -> None:
    points = trail(units, batch).points()
    assert len(points) <= LONGEST + 1
    assert points[-1][0] == units
    assert all(point == (point[0], point[0], -point[0]) for point in points)
    every = 1 if units <= LONGEST else 2 if units <= 2 * LONGEST else 8
    assert [drawn for drawn, *_ in points] == [*range(every, units, every), units]
