"""Whether a change of an engine changes anything that it says, and how much.

A fault that changes nothing is a broken test. Healthy engines are nearly bit-equal to themselves on
a CPU, and not always: what two healthy launches show between themselves is the noise, and a change
is what goes well beyond it. Without noise given, there is none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from harness.base.record import Floats, Generation, Scores
from scripts.zoo.probe import Probe

ALIKE = 1e-3  # nats: what a logprob of an answer may be off by, and be the same
BEYOND = 4.0  # times the noise
SURE = 1e-5  # the chance of draws that differ so, of one distribution
RARE = 10  # draws of both engines together: what came more seldom is counted as one


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One kind of answer: how much of it is another, and how much would be noise."""

    what: str
    found: str  # in words, with its numbers
    other: int  # answers that differ
    of: int
    noise: int | None  # of them between two healthy launches; None: not measured
    beyond: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """All kinds that both were asked; true where one goes beyond the noise."""

    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return any(change.beyond for change in self.changes)

    def words(self) -> list[str]:
        """What goes beyond the noise; else that nothing does."""
        told = [f"{one.what}: {one.found}" for one in self.changes if one.beyond]
        return told or ["nothing beyond what two healthy launches show between themselves"]


def changed(probe: Probe, healthy: Probe, noise: Probe | None) -> Changed:
    """`noise`: a second healthy launch, asked the same."""
    asked = {(one.trace, one.seed) for one in (probe, healthy, noise) if one is not None}
    assert len(asked) == 1, "probes of other traces or seeds were asked other things"
    found = (
        _scores(probe, healthy, noise),
        _greedy("greedy", "greedy answers", probe, healthy, noise),
        _greedy("again", "answers from a warm prefix cache", probe, healthy, noise),
        _counted("rendered", "renderings", probe, healthy, noise),
        _counted("texts", "texts", probe, healthy, noise),
        _counted("streams", "streamed texts", probe, healthy, noise),
        _draws(probe, healthy, noise),
        _counted("answers", "questions answered rightly", probe, healthy, noise),
        _failures(probe, healthy, noise),
    )
    return Changed(changes=tuple(change for change in found if change is not None))


def _scores(probe: Probe, healthy: Probe, noise: Probe | None) -> Change | None:
    d = _distances(probe.scores, healthy.scores)
    if d is None:
        return None
    benign = None if noise is None else _distances(noise.scores, healthy.scores)
    other, mean, most = int(np.count_nonzero(d)), float(d.mean()), float(d.max())
    still = benign is None or not benign.any()
    usual = 0.0 if benign is None else float(benign.mean())
    return Change(
        what="logprobs of given tokens",
        found=f"{other} of {len(d)} others, mean |d| {mean:.2g} nats, largest {most:.2g}"
        + ("" if still else f"; between healthy launches a mean of {usual:.2g}"),
        other=other,
        of=len(d),
        noise=None if benign is None else int(np.count_nonzero(benign)),
        beyond=other > 0 if still else mean > BEYOND * usual,
    )


def _distances(
    one: Mapping[str, Scores] | None, other: Mapping[str, Scores] | None
) -> Floats | None:
    """(N,) nats: |d| of each token that both scored; infinite where it is no number."""
    names = [name for name in one or {} if name in (other or {})]
    if not one or not other or not names:
        return None
    a, b = (np.concatenate([side[n].logprobs for n in names]) for side in (one, other))
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        d = np.abs(a - b)
    return np.where(equal, 0.0, np.where(np.isnan(d), np.inf, d))


def _greedy(
    part: str, what: str, probe: Probe, healthy: Probe, noise: Probe | None
) -> Change | None:
    """Answers with another token, or another logprob of one."""

    def answers(one: Probe | None) -> Mapping[str, Generation] | None:
        return None if one is None else getattr(one, part)

    return _count(what, answers(probe), answers(healthy), answers(noise), same=_alike)


def _alike(one: Any, other: Any) -> bool:
    """Of two answers; tokens decide first, for only the same ones have comparable logprobs."""
    if one.token_ids != other.token_ids:
        return False
    return bool(np.abs(one.scores.logprobs - other.scores.logprobs).max(initial=0.0) < ALIKE)


def _counted(
    part: str, what: str, probe: Probe, healthy: Probe, noise: Probe | None
) -> Change | None:
    """Answers that are not the same."""
    own, other, benign = (
        None if one is None else getattr(one, part) for one in (probe, healthy, noise)
    )
    return _count(what, own, other, benign)


def _count(
    what: str,
    own: Mapping[str, object] | None,
    healthy: Mapping[str, object] | None,
    noise: Mapping[str, object] | None,
    *,
    same: Callable[[Any, Any], bool] = operator.eq,
) -> Change | None:
    differing = _differing(own, healthy, same)
    if differing is None:
        return None
    other, of = differing
    benign = _differing(noise, healthy, same)
    usual = 0 if benign is None else benign[0]
    return Change(
        what=what,
        found=f"{other} of {of} others"
        + (f"; between healthy launches {benign[0]}" if benign and benign[0] else ""),
        other=other,
        of=of,
        noise=None if benign is None else benign[0],
        beyond=other > BEYOND * usual,
    )


def _differing(
    one: Mapping[str, object] | None,
    other: Mapping[str, object] | None,
    same: Callable[[Any, Any], bool],
) -> tuple[int, int] | None:
    """How many of those that both answered differ, and how many there are."""
    names = [name for name in one or {} if name in (other or {})]
    if not one or not other or not names:
        return None
    return sum(not same(one[name], other[name]) for name in names), len(names)


def _draws(probe: Probe, healthy: Probe, noise: Probe | None) -> Change | None:
    """Whether both draw from one distribution. That they draw otherwise proves nothing: one request
    more, or another batch, and an engine goes on from another place of its random stream."""
    names = [name for name in probe.draws or {} if name in (healthy.draws or {})]
    if not probe.draws or not healthy.draws or not names:
        return None
    pairs = [(probe.draws[name], healthy.draws[name]) for name in names]
    moved = sum(_moved(a, b) for a, b in pairs) / len(pairs)
    of = sum(sum(a.values()) for a, _ in pairs)
    kinds: dict[str, list[tuple[Mapping[str, int], Mapping[str, int]]]] = {}
    for name, pair in zip(names, pairs, strict=True):  # each kind sees other faults
        kinds.setdefault(name.partition(",")[2], []).append(pair)
    chance = min(1.0, len(kinds) * min(map(_chance, kinds.values())))
    return Change(
        what="draws after a few prefixes",
        found=f"{100 * moved:.1f} % of the mass moved in {of:,} draws, p = {chance:.1g}",
        other=round(of * moved),
        of=of,
        noise=None if noise is None else round(of * _between(noise, healthy, names)),
        beyond=chance < SURE,
    )


def _moved(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """The total variation distance of two counts."""
    mine, others = sum(a.values()), sum(b.values())
    return sum(abs(a.get(t, 0) / mine - b.get(t, 0) / others) for t in {*a, *b}) / 2


def _between(noise: Probe, healthy: Probe, names: Sequence[str]) -> float:
    drawn = noise.draws or {}
    pairs = [(drawn[name], (healthy.draws or {})[name]) for name in names if name in drawn]
    return sum(_moved(a, b) for a, b in pairs) / (len(pairs) or 1)


def _chance(pairs: Sequence[tuple[Mapping[str, int], Mapping[str, int]]]) -> float:
    """Of draws that differ so, of one distribution: chi-square over all prefixes."""
    statistic, freedom = 0.0, 0
    for a, b in pairs:
        table = np.array([[side.get(text, 0) for text in sorted({*a, *b})] for side in (a, b)])
        rare = table.sum(axis=0) < RARE
        cells = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
        cells = cells[:, cells.sum(axis=0) > 0]
        if cells.shape[1] > 1:
            found: Any = stats.chi2_contingency(cells, correction=False)
            statistic, freedom = statistic + float(found.statistic), freedom + int(found.dof)
    return float(stats.chi2.sf(statistic, freedom)) if freedom else 1.0


def _failures(probe: Probe, healthy: Probe, noise: Probe | None) -> Change:
    """Requests that fail here alone, and kinds of them that cannot be made any more."""
    known = {*healthy.failures, *(() if noise is None else noise.failures)}
    new = [name for name in probe.failures if name not in known]
    first = f": {new[0]}: {probe.failures[new[0]]}" if new else ""
    return Change(
        what="failing requests",
        found=f"{len(new)} that succeed elsewhere{first}",
        other=len(new),
        of=len(new),
        noise=None if noise is None else len(set(noise.failures) - set(healthy.failures)),
        beyond=bool(new),
    )
