"""What the report draws of |d|: counts on a logarithmic axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.base.record import Floats

EDGES = np.linspace(-9, 1.5, 43)  # log10 nats, four bins a decade; below the first: bit-equal


class Histogram:
    """Counts of |d| by decade quarter."""

    def __init__(self) -> None:
        self._counts = np.zeros(len(EDGES), dtype=np.int64)

    def add(self, d: Floats) -> None:
        logs = np.log10(np.maximum(np.abs(d), 1e-300))
        bins = np.clip(np.digitize(logs, EDGES) - 1, -1, len(EDGES) - 2)
        self._counts += np.bincount(bins + 1, minlength=len(EDGES))

    def table(self) -> dict[str, Any]:
        """`counts[0]` is what lies below `edges[0]`, `counts[i]` what lies in its i-th bin."""
        return {"edges_log10": EDGES.tolist(), "counts": self._counts.tolist()}
