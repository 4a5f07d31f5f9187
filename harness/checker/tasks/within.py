"""Not worse by more than a margin: a statement of its own, which says nothing of being the same.

The null is a drop of the mean score by the margin or more, over all cases that might have been
asked. Where each case is asked once the answer is a wealth (`betting.log_within`), valid at any
number of cases and at any moment. Cases with repeats are few, and their differences small against
the range that such a bet must reckon with; there the answer is Student's t over the cases' means,
in one look (Cameron and Miller, "A practitioner's guide to cluster-robust inference", Journal of
Human Resources 50, 2015). That is an approximation: at 30 cases of 32 repeats it is wrong in 5.5 %
of runs where 5 % are said, and in 0.5 % where 0.5 % are (8,000 simulated runs each). It needs
spread between cases, and `sequential` never uses it.
"""

from __future__ import annotations

import math

from scipy.stats import t

from harness.base.record import Floats


def p_over_cases(lowest: Floats, margin: float) -> float:
    """One-sided, (C,) -> p; ValueError without spread."""
    if len(lowest) < 2 or lowest.std() == 0:
        raise ValueError("a drop is not excluded without spread between cases")
    error = float(lowest.std(ddof=1)) / math.sqrt(len(lowest))
    return float(t.sf((float(lowest.mean()) + margin) / error, len(lowest) - 1))


def shown(*, log10_evidence: float | None, p: float | None, alpha: float) -> bool:
    """Whether it is shown by what the design of the suite allows: p where there is one."""
    if p is not None:
        return p <= alpha
    return log10_evidence is not None and log10_evidence >= -math.log10(alpha)
