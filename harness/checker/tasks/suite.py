"""One suite of two runs: every statistic that its paired cases can carry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from harness.base.record import Floats
from harness.checker.tasks import betting, mcnemar, power, resampling, within
from harness.checker.tasks.pairing import Bounds, Paired
from harness.checker.tasks.resampling import TIE


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of two runs, fixed before they are looked at."""

    alpha: float  # the chance of DIFFERENT at most, where the engines are the same
    margin: float | None  # a drop of the mean score that would be borne
    sequential: bool  # whether the runs may be looked at again


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFinding:
    """One suite. None: there is nothing to say it from, and `unsaid` says why."""

    paired: Paired
    difference: Bounds | None  # of the mean score, candidate less reference
    interval: Bounds | None  # of that difference, at 1 - alpha
    lost: int  # cases that the candidate did worse in, whatever its failed requests were worth
    won: int
    test: str
    p_worse: float | None  # one-sided
    p_better: float | None
    p: float | None  # two-sided
    p_holm: float | None  # two-sided, adjusted for the number of suites
    log10_worse: float  # of the evidence, one-sided; 2.3 is 200 to 1
    log10_better: float
    log10_either: float
    log10_within: float | None  # of the evidence that it is not worse by more than the margin
    p_within: float | None  # of a drop by the margin or more, where cases have repeats
    smallest: float | None  # the drop that one look at such a run finds with 99 % power
    unsaid: tuple[str, ...]

    @property
    def direction(self) -> str:
        """Where enough evidence points: none of these tests says "worse" of a mean that is not
        lower (ln 2 - ln(1 + exp(2 s x)) is concave, and a flip of signs raises half of all sums).
        """
        assert self.difference is not None
        return "worse" if self.difference[1] < 0 else "better"


def look(paired: Paired, question: Question, suites: int, rng: np.random.Generator) -> SuiteFinding:
    """`suites` share alpha; `rng` draws the sign flips and the bootstrap."""
    unsaid: list[str] = []
    flips, redrawn = rng.spawn(2)
    # Two engines that are the same: "worse" must hold of what is best for the candidate.
    p_worse, p_better = _one_sided(paired, flips, unsaid)
    p = None if p_worse is None or p_better is None else min(1.0, 2 * min(p_worse, p_better))
    worse, better = betting.log_worse(paired.highest), betting.log_worse(-paired.lowest)
    some = len(paired.cases) > 0
    bet = betting.log_within(paired.lowest, question.margin) if question.margin else None
    return SuiteFinding(
        paired=paired,
        difference=(float(paired.lowest.mean()), float(paired.highest.mean())) if some else None,
        interval=_interval(paired, 1 - question.alpha, redrawn, unsaid) if some else None,
        lost=mcnemar.discordant(paired.highest)[0],
        won=mcnemar.discordant(paired.lowest)[1],
        test="exact McNemar" if paired.binary else "sign flips, cases whole",
        p_worse=p_worse,
        p_better=p_better,
        p=p,
        p_holm=None,  # not known before all suites are
        log10_worse=worse / math.log(10),
        log10_better=better / math.log(10),
        log10_either=betting.log_two_sided(worse, better) / math.log(10),
        log10_within=bet / math.log(10) if bet is not None and some else None,
        p_within=_p_within(paired, question, unsaid) if some else None,
        smallest=_smallest(paired, question.alpha / suites, unsaid) if some else None,
        unsaid=tuple(unsaid),
    )


def _one_sided(
    paired: Paired, rng: np.random.Generator, unsaid: list[str]
) -> tuple[float | None, float | None]:
    if not paired.cases:
        unsaid.append("no case is on both sides")
        return None, None
    if not paired.highest.any() or not paired.lowest.any():
        unsaid.append("no case differs for certain: there is no discordant pair to test")
        return None, None
    test = _exact if paired.binary else partial(resampling.sign_flip, rng=rng)
    return test(paired.highest), test(-paired.lowest)


def _exact(differences: Floats) -> float:
    return mcnemar.one_sided(*mcnemar.discordant(differences))


def _interval(
    paired: Paired, level: float, rng: np.random.Generator, unsaid: list[str]
) -> Bounds | None:
    if len(paired.cases) < 2 or np.ptp(paired.lowest) < TIE or np.ptp(paired.highest) < TIE:
        unsaid.append("all cases have the same difference: a bootstrap sees no spread")
        return None
    low, high = resampling.interval(paired.lowest, paired.highest, level, rng)
    return float(low), float(high)


def _p_within(paired: Paired, question: Question, unsaid: list[str]) -> float | None:
    if question.margin is None or question.sequential or len(paired.cases) == paired.pairs:
        return None
    if len(paired.cases) < 2 or np.ptp(paired.lowest) < TIE:
        unsaid.append("without spread between cases, the margin is left to the bet")
        return None
    return within.p_over_cases(paired.lowest, question.margin)


def _smallest(paired: Paired, alpha: float, unsaid: list[str]) -> float | None:
    """Two-sided at `alpha`: half of it each way."""
    cases = len(paired.cases)
    if paired.binary:
        lost, won = mcnemar.discordant(paired.highest)
        found = power.smallest_lost(cases=cases, noise=(lost + won) / cases, alpha=alpha / 2)
        if found is None:
            unsaid.append("so few cases show no difference with 99 % power, however large")
        return found
    spread = float(paired.highest.std(ddof=1)) if cases > 1 else 0.0
    if spread < TIE:
        unsaid.append("without spread between cases, no smallest difference can be estimated")
        return None
    return power.by_spread(cases=cases, spread=spread, alpha=alpha / 2)
