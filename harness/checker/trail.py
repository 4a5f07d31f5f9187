"""How the evidence of one statistic grew, in bounded memory: for the pictures, not the verdict."""

from __future__ import annotations

import numpy as np

from harness.base.record import Floats

LONGEST = 1000  # points: more than a picture is wide


class Trail:
    """Two log wealths after each unit; of many units after every 2nd, 4th, ... and the last."""

    def __init__(self) -> None:
        self.points = np.empty((3, 0))  # units drawn, ln E_diff, ln E_eq
        self._drawn = 0
        self._every = 1

    def extend(self, logs: Floats) -> None:
        """`logs` (2, n): after each of n further units."""
        units = self._drawn + 1 + np.arange(logs.shape[1])
        self._drawn += len(units)
        points = np.concatenate([self.points, np.stack([units, *logs])], axis=1)
        self.points = self._thinned(points)
        while self.points.shape[1] > LONGEST:
            self._every *= 2
            self.points = self._thinned(self.points)

    def _thinned(self, points: Floats) -> Floats:
        units = points[0]
        return points[:, (units % self._every == 0) | (units == self._drawn)]
