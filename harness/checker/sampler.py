"""Is what was drawn distributed as the promise says? And if not, what is the sampler set to?

Universal inference (Wasserman, Ramdas and Balakrishnan, 2020). For counts drawn after prefixes
whose distribution is known, with L as in `sampling`:

    ln E_diff = ln of the mean of L over settings fixed beforehand  -  ln of the null's largest L
    ln E_eq   = ln L(promise)  -  ln of the largest L of any setting outside the equivalence region

The null is the promise with its temperature within 1 % and its top-p within .005. Outside the
region: temperature off by 10 % or more, top-p by .03, any top-k of the listed tokens, min-p by .05,
tokens that have occurred pushed by .5 nats. What lies between is neither. A top-k beyond the listed
tokens cannot be seen.

The candidate's own distribution q is not the reference's p. If all draws together cost
sum KL(q || p) <= b nats, and ln(q / p) is as good as normal, then for 0 < s < 1 Hoelder's
inequality gives E_q[E^s] <= exp(b s / (1 - s)), so by Ville's inequality

    P(ever ln E >= ln(1/alpha) / s + b / (1 - s)) <= alpha,

with s fixed beforehand so that it is tightest at the last draw, (sqrt(ln 1/alpha) + sqrt(b))^2.
b is measured: for each draw the benign pool's worst divergence at that very prefix, times gamma, or
tau K of its stratum where that is more; and the contamination, which the null has and p has not.

The maximum is found on a grid, and so are the intervals: all values whose profile likelihood is
within (sqrt(1.92) + sqrt(b))^2 of the largest, 95 % by the usual approximation, for one n.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter

import numpy as np

from harness.base.record import Floats
from harness.checker.eprocess import log_mean_exp
from harness.checker.outcome import Word
from harness.checker.sampling import (
    CONTAMINATION,
    Counts,
    Parameters,
    Prefixes,
    averaged,
    likelihood,
    likelihoods,
)

TEMPERATURE_BAND, TOP_P_BAND, MIN_P_BAND, PUSH_BAND = 0.1, 0.03, 0.05, 0.5
NULL_TEMPERATURES, NULL_TOP_PS = (0.99, 1.0, 1.01), (-0.005, 0.0, 0.005)
# Multiples of the promised temperature; those of the band's edge are among them.
TEMPERATURES = (
    *(0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98),
    *(1.0, 1.02, 1.04, 1.07, 1.1, 1.15, 1.2, 1.3, 1.5, 1.8, 2.2),
)
WITH_OTHERS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5)
TOP_PS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97, 0.98, 0.99, 1.0)
TOP_KS = (1, 2, 3, 5, 8, 10, 15, 20)
MIN_PS = (0.02, 0.05, 0.1, 0.2)
PUSHES = (-PUSH_BAND, PUSH_BAND, 0.8, 1.2, 1.8)
NAMED = 6.0  # nats that a top-k, a min-p or a push must explain to be named
CHI_SQUARED_95 = 1.92  # half of it
FINE = 41

At = Callable[[Parameters, Floats], Floats]  # a setting, values of top-p (Q,) -> ln L (Q,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One parameter as it really is."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What one arm shows."""

    word: Word
    temperature: Estimate
    top_p: Estimate
    top_k: int  # 0: none of the listed tokens is cut off
    min_p: float
    push: float  # nats
    log_different: float
    needed_different: float
    log_equivalent: float
    needed_equivalent: float


def needed(chance: float, slack: float, most: float) -> float:
    """How large ln E must be. `slack` is b so far, `most` at the last draw, both in nats."""
    nats = -math.log(chance)
    s = math.sqrt(nats) / (math.sqrt(nats) + math.sqrt(most))
    return nats / s + (slack / (1 - s) if slack else 0.0)


def slack(counts: Counts, divergence: Floats) -> float:
    """b in nats for `counts` (P, k + 1), where one draw may cost `divergence` (P,) nats."""
    drawn = counts.sum(axis=1)
    return float((drawn * (divergence + CONTAMINATION)).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """For each word, as ln E, and how large it must be."""

    word: Word
    log_different: float
    needed_different: float
    log_equivalent: float
    needed_equivalent: float
    nearest: Parameters  # of the grid


def weigh(
    prefixes: Prefixes,
    counts: Counts,
    promised: Parameters,
    *,
    slack: float,
    most: float,
    alpha: float,
    beta: float,
    once: bool = False,
) -> Evidence:
    """`slack` and `most`: as in `needed`. `once`: each prefix was drawn from once (`averaged`)."""
    points = _points(prefixes, counts, promised)
    different = _mixture(points, promised) - _null(prefixes, counts, promised)
    own = next(point.averaged for point in points if point.setting == promised)
    equivalent = own - max(p.best for p in points if _outside(p.setting, promised))
    bars = needed(alpha, slack, most), needed(beta, slack, most)
    word = Word.INCONCLUSIVE
    if different >= bars[0]:
        word = Word.DIFFERENT
    elif equivalent >= bars[1]:
        word = Word.EQUIVALENT
    return Evidence(
        word=word,
        log_different=different,
        needed_different=bars[0],
        log_equivalent=equivalent,
        needed_equivalent=bars[1],
        nearest=_simplest(points, promised, once=once),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A setting of the grid, and ln L of it (`sampling.likelihoods`)."""

    setting: Parameters
    best: float
    averaged: float


def _points(prefixes: Prefixes, counts: Counts, promised: Parameters) -> list[Point]:
    points: list[Point] = []
    for setting, top_ps in _grid(promised):
        best, averaged = likelihoods(prefixes, counts, setting, top_ps)
        points += [
            Point(setting=replace(setting, top_p=float(p)), best=float(b), averaged=float(a))
            for p, b, a in zip(top_ps, best, averaged, strict=True)
        ]
    return points


def audit(
    prefixes: Prefixes, counts: Counts, evidence: Evidence, slack: float, *, once: bool = False
) -> Audit:
    """What the sampler is set to, beside the evidence. `once`: as in `weigh`."""
    at: At = partial(averaged if once else likelihood, prefixes, counts)
    best = _refined(at, evidence.nearest, prefixes.logprobs.shape[1])
    temperature, top_p = _intervals(at, best, slack)
    return Audit(
        word=evidence.word,
        temperature=temperature,
        top_p=top_p,
        top_k=best.top_k,
        min_p=best.min_p,
        push=best.push,
        log_different=evidence.log_different,
        needed_different=evidence.needed_different,
        log_equivalent=evidence.log_equivalent,
        needed_equivalent=evidence.needed_equivalent,
    )


def _grid(promised: Parameters) -> Iterator[tuple[Parameters, Floats]]:
    """Settings and, for each, the values of top-p: fixed by the promise, before anything is drawn.

    One cut or one push goes with every second temperature and each top-p; not two of them.
    """
    near = [promised.top_p + d for d in (-TOP_P_BAND, *NULL_TOP_PS, TOP_P_BAND)]
    top_ps = np.array(sorted({*TOP_PS, *(p for p in near if 0 < p <= 1)}))
    for multiple in TEMPERATURES:
        at = replace(promised, temperature=promised.temperature * multiple)
        yield at, top_ps
        if multiple not in WITH_OTHERS:
            continue
        for k in TOP_KS:
            if k != promised.top_k:
                yield replace(at, top_k=k), top_ps
        if promised.top_k:
            yield replace(at, top_k=0), top_ps
        for min_p in MIN_PS:
            if min_p != promised.min_p:
                yield replace(at, min_p=min_p), top_ps
        for push in PUSHES:
            yield replace(at, push=promised.push + push), top_ps


def _plain(setting: Parameters, promised: Parameters) -> bool:
    """Only temperature and top-p differ."""
    return (setting.top_k, setting.min_p, setting.push) == (
        promised.top_k,
        promised.min_p,
        promised.push,
    )


def _mixture(points: list[Point], promised: Parameters) -> float:
    """ln of the mean of L: a third each for temperature alone, temperature and top-p, and all."""
    plain = [p for p in points if _plain(p.setting, promised)]
    alone = [p for p in plain if p.setting.top_p == promised.top_p]
    groups = [np.array([p.averaged for p in group]) for group in (alone, plain, points)]
    return log_mean_exp(np.array([log_mean_exp(values) for values in groups]))


def _null(prefixes: Prefixes, counts: Counts, promised: Parameters) -> float:
    top_ps = np.array([min(promised.top_p + d, 1.0) for d in NULL_TOP_PS])
    return max(
        float(likelihood(prefixes, counts, setting, top_ps).max())
        for setting in (
            replace(promised, temperature=promised.temperature * multiple)
            for multiple in NULL_TEMPERATURES
        )
    )


def _outside(setting: Parameters, promised: Parameters) -> bool:
    """Whether EQUIVALENT must exclude this setting."""
    edge = 1e-9
    return (
        abs(setting.temperature / promised.temperature - 1) >= TEMPERATURE_BAND - edge
        or abs(setting.top_p - promised.top_p) >= TOP_P_BAND - edge
        or setting.top_k != promised.top_k
        or abs(setting.min_p - promised.min_p) >= MIN_P_BAND - edge
        or abs(setting.push - promised.push) >= PUSH_BAND - edge
    )


def _simplest(points: list[Point], promised: Parameters, *, once: bool) -> Parameters:
    """The likeliest setting; a cut or a push only where it explains enough to be named."""
    value: Callable[[Point], float] = attrgetter("averaged" if once else "best")
    plain = max((p for p in points if _plain(p.setting, promised)), key=value)
    best = max(points, key=value)
    return (best if value(best) > value(plain) + NAMED else plain).setting


def _refined(at: At, start: Parameters, listed: int) -> Parameters:
    """The likeliest setting between the points of the grid, one parameter at a time.

    `listed`: the largest top-k that shows.
    """
    best = start
    for width in (0.12, 0.03):
        best = _best_plain(at, best, width)
        if best.top_k:
            best = _best_top_k(at, best, listed)
        if best.push:
            around = best.push + np.linspace(-3.3 * width, 3.3 * width, 21)
            best = _likeliest(at, [replace(best, push=float(x)) for x in around])
        if best.min_p:
            around = best.min_p * np.linspace(1 - 5 * width, 1 + 5 * width, 21)
            best = _likeliest(at, [replace(best, min_p=float(x)) for x in around])
    return best


def _best_top_k(at: At, best: Parameters, listed: int) -> Parameters:
    """The largest top-k that explains the counts: top-p may hide the last tokens that it leaves."""
    top_ps = np.unique([*TOP_PS, best.top_p])
    settings = [replace(best, top_k=k) for k in range(1, listed + 1)]
    tables = [at(setting, top_ps) for setting in settings]
    highest = max(float(table.max()) for table in tables) - CHI_SQUARED_95
    chosen = max(i for i, table in enumerate(tables) if table.max() >= highest)
    return replace(settings[chosen], top_p=float(top_ps[tables[chosen].argmax()]))


def _likeliest(at: At, settings: list[Parameters]) -> Parameters:
    return max(settings, key=lambda s: float(at(s, np.array([s.top_p]))[0]))


def _table(at: At, best: Parameters, width: float) -> tuple[Floats, Floats, Floats]:
    """Temperatures (41,), values of top-p (41,) and ln L at each pair (41, 41) around `best`."""
    temperatures = best.temperature * np.linspace(1 - width, 1 + width, FINE)
    top_ps = np.linspace(max(best.top_p - width, 0.01), min(best.top_p + width, 1.0), FINE)
    table = [at(replace(best, temperature=float(t)), top_ps) for t in temperatures]
    return temperatures, top_ps, np.array(table)


def _best_plain(at: At, best: Parameters, width: float) -> Parameters:
    temperatures, top_ps, table = _table(at, best, width)
    row, _ = np.unravel_index(int(table.argmax()), table.shape)
    # Several values of top-p may give the same nuclei: the middle one, or 1 where it is among them.
    ties = np.flatnonzero(table[row] >= table[row].max() - 1e-9)
    column = ties[-1] if top_ps[ties[-1]] >= 1.0 else ties[len(ties) // 2]
    return replace(best, temperature=float(temperatures[row]), top_p=float(top_ps[column]))


def _intervals(at: At, best: Parameters, slack: float) -> tuple[Estimate, Estimate]:
    drop = (math.sqrt(CHI_SQUARED_95) + math.sqrt(slack)) ** 2
    temperatures, top_ps, table = _table(at, best, 0.1)
    floor = table.max() - drop

    def estimate(values: Floats, profile: Floats, value: float) -> Estimate:
        inside = values[profile >= floor]
        return Estimate(
            value=value, low=min(float(inside[0]), value), high=max(float(inside[-1]), value)
        )

    return (
        estimate(temperatures, table.max(axis=1), best.temperature),
        estimate(top_ps, table.max(axis=0), best.top_p),
    )
