"""The same cases on both sides, and what a request that failed could have been worth.

A case that was asked several times is one unit: its repeats are not independent of each other.
Its difference is the candidate's mean score less the reference's, over the repeats that both have.

A failed request is not a 0. Every case has two differences: `lowest`, where what failed went as
badly for the candidate as it could (its own request 0, the reference's 1), and `highest`. Without
a failure they are the same. "Worse" must hold of the highest, "better" of the lowest, so that
neither is said because of what nobody knows (Manski, "Nonparametric bounds on treatment effects",
1990).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.base.record import Floats
from harness.base.scored import Scored

Bounds = tuple[float, float]  # the least and the most that a mean can be


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """One suite: C cases, in the order of their names."""

    suite: str
    cases: tuple[str, ...]  # C
    lowest: Floats  # (C,) candidate less reference, in [-1, 1]
    highest: Floats  # (C,)
    pairs: int  # requests on both sides, the failed ones among them
    binary: bool  # each case asked once, every score 0 or 1
    reference_failed: int  # of the pairs
    candidate_failed: int
    reference_alone: int  # records without a partner, in no statistic
    candidate_alone: int
    reference_mean: Bounds | None  # of the cases' means; None: no case
    candidate_mean: Bounds | None


def pair(reference: Sequence[Scored], candidate: Sequence[Scored]) -> tuple[Paired, ...]:
    """Every suite that either side has, in the order of their names."""
    suites = sorted({record.suite for record in (*reference, *candidate)})
    return tuple(_suite(suite, reference, candidate) for suite in suites)


def _suite(suite: str, reference: Sequence[Scored], candidate: Sequence[Scored]) -> Paired:
    ours = {record.key: record for record in reference if record.suite == suite}
    theirs = {record.key: record for record in candidate if record.suite == suite}
    keys = sorted(ours.keys() & theirs.keys())
    cases = tuple(dict.fromkeys(case for _, case, _ in keys))
    first, second = [ours[key] for key in keys], [theirs[key] for key in keys]
    least, most = _means(cases, first, failed=0.0), _means(cases, first, failed=1.0)
    worst, best = _means(cases, second, failed=0.0), _means(cases, second, failed=1.0)
    return Paired(
        suite=suite,
        cases=cases,
        lowest=worst - most,
        highest=best - least,
        pairs=len(keys),
        binary=len(keys) == len(cases) and all(r.score in (None, 0, 1) for r in (*first, *second)),
        reference_failed=sum(record.score is None for record in first),
        candidate_failed=sum(record.score is None for record in second),
        reference_alone=len(ours) - len(keys),
        candidate_alone=len(theirs) - len(keys),
        reference_mean=(float(least.mean()), float(most.mean())) if cases else None,
        candidate_mean=(float(worst.mean()), float(best.mean())) if cases else None,
    )


def _means(cases: Sequence[str], records: Iterable[Scored], *, failed: float) -> Floats:
    """(C,) the mean score of each case, a failed request taken as `failed`."""
    scores: dict[str, list[float]] = {case: [] for case in cases}
    for record in records:
        scores[record.case].append(failed if record.score is None else record.score)
    return np.array([np.mean(values) for values in scores.values()], dtype=np.float64)
