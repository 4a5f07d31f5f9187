"""What a sampler makes of a distribution that is known at its k most probable tokens.

The order of operations is vLLM's (vllm/v1/sample/sampler.py) and SGLang's (srt/layers/sampler.py):

    penalties on the logits of tokens that have occurred, logits / temperature,
    min-p, top-k, top-p (the token that crosses p is kept)

After top-k, vLLM's top-p counts shares of what top-k left, SGLang's shares of everything. Both are
tried. A repetition penalty divides logits, which no trace holds; it is
taken as one push of all tokens that have occurred, in nats.

A cell is a listed token that a text can be told by; everything else is one cell more, the rest. Of
the unlisted tokens only the sum at temperature 1 is known. At another temperature it depends on how
many they are: they are taken as equally probable, and as few as can be (none is above the last
listed one) or 4, 16 or 64 times as many. At temperature 1 this has no part.

A small contamination by the untruncated distribution stands for numerics: a token just outside the
nucleus costs much, and does not exclude everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.base.record import Bools, Floats

CONTAMINATION = 1e-4
SPREADS = np.array([1.0, 4.0, 16.0, 64.0])  # how many times the fewest unlisted tokens there can be
NO_REST = 1e-9  # of the mass: below this, all is listed

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """What the reference says of the next token after P prefixes, k tokens listed of each."""

    logprobs: Floats  # (P, k), descending
    named: Bools  # (P, k): a text tells this token from all others
    seen: Bools  # (P, k): it occurs in its prefix

    def rest(self) -> Floats:
        """The mass that is not listed, (P,)."""
        return np.maximum(1.0 - np.exp(self.logprobs).sum(axis=1), 0.0)

    def take(self, rows: npt.NDArray[np.int64]) -> Prefixes:
        return Prefixes(logprobs=self.logprobs[rows], named=self.named[rows], seen=self.seen[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a sampler is set to."""

    temperature: float  # above 0
    top_p: float
    top_k: int  # 0: off
    min_p: float  # 0: off
    push: float  # nats that the logit of a token is lowered by for having occurred; 0: none


def likelihood(prefixes: Prefixes, counts: Counts, setting: Parameters, top_ps: Floats) -> Floats:
    """ln of the probability of `counts` (P, k + 1) at each of `top_ps` (Q,), (Q,).

    What is not known is taken as it fits best at each prefix. `setting.top_p` is not read. The last
    column of `counts` is the rest.
    """
    return likelihoods(prefixes, counts, setting, top_ps)[0]


def averaged(prefixes: Prefixes, counts: Counts, setting: Parameters, top_ps: Floats) -> Floats:
    """As `likelihood`, with what is not known counted in all its ways equally. The better guide
    where a prefix is drawn from once, for then each draw has a best fit of its own."""
    return likelihoods(prefixes, counts, setting, top_ps)[1]


def likelihoods(
    prefixes: Prefixes, counts: Counts, setting: Parameters, top_ps: Floats
) -> tuple[Floats, Floats]:
    """As `likelihood`; and as `averaged`, which is a distribution.

    What `probabilities` says, summed without making each cell: a weight counts alike for all values
    of top-p that leave it.
    """
    cut = _truncated(prefixes, setting, top_ps)
    sorted_counts = np.take_along_axis(counts[:, :-1], cut.order, axis=1)  # (P, k)
    weights = np.log(np.maximum(cut.every, 1e-300))
    constant = (sorted_counts * weights).sum(axis=1)  # (P,)
    inside = _upto(sorted_counts, cut.inside)  # (Q, H, P) draws in the nucleus
    outside = sorted_counts.sum(axis=1) - inside
    mixed = (1 - CONTAMINATION) / cut.total + CONTAMINATION / cut.untruncated
    rest = np.log(np.maximum(_rest_cell(cut), CONTAMINATION * NO_REST))
    of_prefix = constant + inside * np.log(mixed) + counts[:, -1] * rest
    of_prefix += outside * np.log(CONTAMINATION / cut.untruncated)
    highest = of_prefix.max(axis=1)  # (Q, P)
    averaged = highest + np.log(np.exp(of_prefix - highest[:, None]).mean(axis=1))
    return highest.sum(axis=-1), averaged.sum(axis=-1)


def probabilities(prefixes: Prefixes, setting: Parameters, top_ps: Floats) -> Floats:
    """Of each cell, (Q, H, P, k + 1): H ways to take what is not known (see above)."""
    cut = _truncated(prefixes, setting, top_ps)
    kept = np.arange(cut.every.shape[1]) < cut.inside[..., None]  # (Q, H, P, k)
    share = (1 - CONTAMINATION) * kept / cut.total[..., None]
    mixed = cut.every * (share + CONTAMINATION / cut.untruncated[..., None])
    cells = np.empty((*mixed.shape[:-1], mixed.shape[-1] + 1))
    back = np.broadcast_to(cut.order, mixed.shape)
    np.put_along_axis(cells[..., :-1], back, mixed, axis=-1)
    cells[..., -1] = np.maximum(_rest_cell(cut), CONTAMINATION * NO_REST)
    return cells


@dataclass(frozen=True, slots=True, kw_only=True)
class _Truncated:
    """Weights after all operations. Listed tokens stand in descending order of weight."""

    order: npt.NDArray[np.int64]  # (P, k) of the listed tokens
    every: Floats  # (P, k) weights before anything is cut off
    unnamed: Floats  # (P, k) those of tokens that no text tells, 0 elsewhere
    inside: npt.NDArray[np.int64]  # (Q, H, P) how many listed tokens are left
    left: Floats  # (Q, H, P) weight of the unlisted tokens that are left
    total: Floats  # (Q, H, P) of all that is left
    rest: Floats  # (H, P) weight of all unlisted tokens
    untruncated: Floats  # (H, P) of all tokens


def _truncated(prefixes: Prefixes, setting: Parameters, top_ps: Floats) -> _Truncated:
    logits = prefixes.logprobs - setting.push * prefixes.seen
    order = np.argsort(-logits, axis=1, kind="stable")
    every = np.exp(np.take_along_axis(logits, order, axis=1) / setting.temperature)  # (P, k)
    named = np.take_along_axis(prefixes.named, order, axis=1)
    rest, single = _unlisted(prefixes, setting.temperature)  # (H, P)
    least = setting.min_p * every[:, 0]  # (P,)
    listed = (every >= least[:, None]).sum(axis=1)  # (P,) how many are left so far
    kept_rest = np.where(single >= least, rest, 0.0)
    whole = _upto(every, listed) + kept_rest  # (H, P) what top-p takes shares of
    if setting.top_k:
        listed = np.minimum(listed, setting.top_k)
        own = np.broadcast_to(_upto(every, listed), rest.shape)[:1]
        whole = np.concatenate((own, whole))
        rest = np.concatenate((rest[:1], rest))
        kept_rest = np.zeros_like(rest)
    before = np.cumsum(every, axis=1) - every  # (P, k)
    limit = top_ps[:, None, None] * whole  # (Q, H, P)
    inside = np.minimum((before < limit[..., None]).sum(axis=-1), listed)
    left = np.clip(limit - _upto(every, listed), 0.0, kept_rest)
    left = np.where(top_ps[:, None, None] >= 1.0, kept_rest, left)
    return _Truncated(
        order=order,
        every=every,
        unnamed=every * ~named,
        inside=inside,
        left=left,
        total=_upto(every, inside) + left,
        rest=rest,
        untruncated=every.sum(axis=1) + rest,
    )


def _rest_cell(cut: _Truncated) -> Floats:
    """(Q, H, P): unlisted tokens, and those that no text tells."""
    left = (cut.left + _upto(cut.unnamed, cut.inside)) / cut.total
    everything = (cut.rest + cut.unnamed.sum(axis=1)) / cut.untruncated
    return (1 - CONTAMINATION) * left + CONTAMINATION * everything


def _upto(values: npt.NDArray[Any], number: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """The sum of the first `number` (..., P) of each row of `values` (P, k), (..., P)."""
    sums = np.concatenate((np.zeros((len(values), 1)), np.cumsum(values, axis=1)), axis=1)
    return sums[np.arange(len(values)), number]


def _unlisted(prefixes: Prefixes, temperature: float) -> tuple[Floats, Floats]:
    """The weight of all unlisted tokens, and of one of them, at that temperature: (H, P) both."""
    rest = np.maximum(prefixes.rest(), NO_REST)
    number = np.maximum(rest / np.exp(prefixes.logprobs[:, -1]), 1.0) * SPREADS[:, None]
    single = (rest / number) ** (1 / temperature)
    return number * single, single
