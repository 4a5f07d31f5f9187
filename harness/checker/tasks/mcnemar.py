"""The exact McNemar test: of the cases that the engines do not agree on, half should go each way.

Engines that are the same swap their answers to any case with no one noticing, so a discordant
case is lost or won with probability 1/2, and b losses of b + c have a binomial distribution
(McNemar, Psychometrika 12, 1947; exact as in Fagerland, Lydersen and Laake, BMC Medical Research
Methodology 13:91, 2013). For one number of cases that was fixed beforehand: who looks again and
again needs `betting`.
"""

from __future__ import annotations

from scipy.stats import binomtest

from harness.base.record import Floats


def discordant(differences: Floats) -> tuple[int, int]:
    """(C,) -> cases that the candidate lost, cases that it won."""
    return int((differences < 0).sum()), int((differences > 0).sum())


def one_sided(lost: int, won: int) -> float:
    """The chance of as many losses or more; ValueError where no case is discordant."""
    _refuse_none(lost, won)
    return float(binomtest(lost, lost + won, 0.5, alternative="greater").pvalue)


def two_sided(lost: int, won: int) -> float:
    """The chance of a split as uneven; ValueError where no case is discordant."""
    _refuse_none(lost, won)
    return float(binomtest(lost, lost + won, 0.5, alternative="two-sided").pvalue)


def _refuse_none(lost: int, won: int) -> None:
    if lost + won == 0:
        raise ValueError("no case is discordant: there is nothing to test")
