"""Evidence that may be looked at after every case, and a margin that holds at any moment.

Each is a wealth that starts at 1 and is multiplied case by case. Under its null it is a
nonnegative supermartingale, so it ever reaches 1/alpha with probability alpha at most, whenever
one looks (Ville's inequality; Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and
safe anytime-valid inference", Statistical Science 38, 2023). An average over stakes that were
fixed beforehand is one too.

Both are products over cases, so the order of the cases changes nothing. What is assumed: which
cases have been answered by now does not depend on what the answers were. A uniform permutation
fixed before the first one sees to that; to stop asking where answers are slow does not.
"""

from __future__ import annotations

import numpy as np

from harness.base.record import Floats
from harness.checker.eprocess import log_mean_exp

STAKES = 2.0 ** np.arange(-4, 5)  # per unit of difference: 1/16 .. 16
SHARES = np.array([1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.75, 0.95])  # of the wealth


def log_worse(differences: Floats) -> float:
    """ln of the evidence that the candidate does worse, (C,) in [-1, 1] -> nats; 0 for no case.

    Null: engines that are the same, or a candidate that wins a discordant case at least as often
    as it loses one. A case multiplies the wealth by exp(-s x) / cosh(s x), which has mean 1 where
    x has either sign with probability 1/2 (de la Peña, Annals of Probability 27, 1999). Where x
    is -1, 0 or 1 that is a bet of tanh(s) of the wealth on the next discordant case; a case on
    which the engines agree changes nothing.
    """
    return float(path_worse(differences)[-1]) if len(differences) else 0.0


def path_worse(differences: Floats) -> Floats:
    """(C,) ln of the evidence after each case."""
    stakes = 2 * STAKES[:, None] * differences  # (S, C)
    logs = np.cumsum(np.log(2) - np.logaddexp(0, stakes), axis=1)
    return np.logaddexp.reduce(logs, axis=0) - np.log(len(STAKES))


def log_two_sided(worse: float, better: float) -> float:
    """ln of the evidence for either direction: half of the wealth on each."""
    return log_mean_exp(np.array([worse, better]))


def log_within(lowest: Floats, margin: float) -> float:
    """ln of the evidence that the mean difference is above -margin, (C,) -> nats; 0 for no case.

    Null: over all cases that might have been asked, the mean of x in [-1, 1] is -margin or less.
    The bet on a bounded mean of Waudby-Smith and Ramdas, "Estimating means of bounded random
    variables by betting", 2024: a factor 1 + share (x + margin) / (1 - margin). Valid at any
    number of cases, also where no case differs at all, which an asymptotic interval is not.
    """
    if not 0 < margin < 1:
        raise ValueError(f"a margin of {margin}: it must lie in (0, 1)")
    bets = np.outer(SHARES, (lowest + margin) / (1 - margin))  # (8, C)
    return log_mean_exp(np.log1p(bets).sum(axis=1))
