"""How the evidence of one statistic grew, in bounded memory: for the pictures, not the verdict."""

from __future__ import annotations

from harness.base.record import Floats

LONGEST = 1000  # points: more than a picture is wide

Point = tuple[int, float, float]  # units drawn, ln E_diff, ln E_eq


class Trail:
    """The log wealths after each unit or, of many, after every 2nd, 4th, ... and the last one."""

    def __init__(self) -> None:
        self._kept: list[Point] = []
        self._last: Point = (0, 0.0, 0.0)
        self._drawn = 0
        self._every = 1

    def extend(self, logs: Floats) -> None:
        """`logs` (2, n): after each of n further units, one or more."""
        units = range(self._drawn + 1, self._drawn + 1 + logs.shape[1])
        self._drawn += len(units)
        kept = slice(-units.start % self._every, None, self._every)
        self._kept += zip(units[kept], *logs[:, kept].tolist(), strict=True)
        self._last = (self._drawn, *logs[:, -1].tolist())
        while len(self._kept) > LONGEST:
            self._every *= 2
            self._kept = [point for point in self._kept if point[0] % self._every == 0]

    def points(self) -> list[Point]:
        return self._kept if self._drawn % self._every == 0 else [*self._kept, self._last]
