"""Two ways to draw cases again, whole: a test by flipping signs, an interval by the bootstrap.

Many cases have the same difference (one of three, where a case is asked once), so a draw needs
only how often each value comes: a binomial or multinomial number, exactly as if every case had
been drawn by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.base.record import Floats

FLIPS = 19_999  # p is 5e-5 at least
REDRAWN = 9_999
TIE = 1e-9  # of a sum of differences
AT_ONCE = 2_000_000  # numbers held in memory


def sign_flip(differences: Floats, rng: np.random.Generator) -> float:
    """The chance that a sum of differences is as low, (C,) -> p, by FLIPS draws.

    McNemar's test for scores that are not 0 or 1, and for repeats: engines that are the same could
    be swapped in any case, so its difference has either sign with probability 1/2. Valid at any C
    (p = (1 + hits) / (1 + draws), Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9:39, 2010).
    ValueError where no case differs.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]).round(12), return_counts=True)
    if not len(sizes):
        raise ValueError("no case differs: there is nothing to test")
    found = float(differences.sum())
    hits = 0
    for draws in _batches(FLIPS, len(sizes)):
        plus = rng.binomial(counts, 0.5, size=(draws, len(sizes)))  # (draws, U)
        hits += int(((2 * plus - counts) @ sizes <= found + TIE).sum())
    return (1 + hits) / (1 + FLIPS)


def means(differences: Floats, rng: np.random.Generator) -> Floats:
    """(REDRAWN,) means of as many cases as there are, drawn with replacement."""
    values, counts = np.unique(differences.round(12), return_counts=True)
    shares = counts / len(differences)
    rows = [
        rng.multinomial(len(differences), shares, size=draws) @ values / len(differences)
        for draws in _batches(REDRAWN, len(values))
    ]
    return np.concatenate(rows)


def interval(lowest: Floats, highest: Floats, level: float, rng: np.random.Generator) -> Floats:
    """(2,) a percentile interval of the mean difference, (C,) each, cases drawn whole.

    From the low end of `lowest` to the high end of `highest` (`pairing`). Efron and Tibshirani,
    "An Introduction to the Bootstrap", 1993, chapter 13. It covers less than `level` where cases
    are few (at 30 of 32 repeats 92 % where 95 % are said, 98 % where 99 %; at 200 of one answer
    what it says: 1,000 simulated runs each), and nothing is decided by it.
    ValueError where all cases have the same difference: the bootstrap sees no spread then.
    """
    if len(lowest) < 2 or np.ptp(lowest) < TIE or np.ptp(highest) < TIE:
        raise ValueError("all cases have the same difference: a bootstrap sees no spread")
    tail = (1 - level) / 2
    low, high = rng.spawn(2)
    return np.array(
        [np.quantile(means(lowest, low), tail), np.quantile(means(highest, high), 1 - tail)]
    )


def _batches(draws: int, width: int) -> Iterator[int]:
    """`draws` in parts that fit into memory."""
    at_once = max(1, AT_ONCE // width)
    yield from (min(at_once, draws - done) for done in range(0, draws, at_once))
