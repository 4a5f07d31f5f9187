"""What a sampler makes of a distribution that is known at its k most probable tokens.

The order of operations is vLLM's (vllm/v1/sample/sampler.py) and SGLang's (srt/layers/sampler.py):

    penalties on the logits of tokens that have occurred, logits / temperature,
    min-p, top-k, top-p (the token that crosses p is kept)

After top-k, vLLM's top-p counts shares of what top-k left, SGLang's shares of everything. Both are
tried, and the likelier one counts. A repetition penalty divides logits, which no trace holds; it is
taken as one push of all tokens that have occurred, in nats.

A cell is a listed token that a text can be told by; everything else is one cell more, the rest. Of
the unlisted tokens only the sum at temperature 1 is known. At another temperature it depends on how
many they are: they are taken as equally probable, and as few as can be (none is above the last
listed one) or 4, 16 or 64 times as many, whichever fits best at that prefix. At temperature 1 this
has no part.

A small contamination by the untruncated distribution stands for numerics: a token just outside the
nucleus costs much, and does not exclude everything.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    `setting.top_p` is not read. The last column of `counts` is the rest.
    """
    cells = probabilities(prefixes, setting, top_ps)  # (Q, H, P, k + 1)
    of_prefix = (np.log(cells) * counts).sum(axis=-1)  # (Q, H, P)
    return of_prefix.max(axis=1).sum(axis=-1)


def probabilities(prefixes: Prefixes, setting: Parameters, top_ps: Floats) -> Floats:
    """Of each cell, (Q, H, P, k + 1): H ways to take what is not known (see above)."""
    logits = prefixes.logprobs - setting.push * prefixes.seen
    order = np.argsort(-logits, axis=1, kind="stable")
    logits = np.take_along_axis(logits, order, axis=1)
    named = np.take_along_axis(prefixes.named, order, axis=1)
    every = np.exp(logits / setting.temperature)  # (P, k)
    rest, single = _unlisted(prefixes, setting.temperature)  # (H, P), sum and one token
    least = setting.min_p * every.max(axis=1)  # (P,)
    kept = np.where(every >= least[:, None], every, 0.0)
    kept_rest = np.where(single >= least, rest, 0.0)
    whole = kept.sum(axis=1) + kept_rest  # (H, P), what top-p takes shares of
    if setting.top_k:
        shares_of_everything = whole
        kept[:, setting.top_k :] = 0.0
        kept_rest = np.zeros_like(kept_rest)
        whole = np.broadcast_to(kept.sum(axis=1), rest.shape)
        whole = np.concatenate((whole[:1], shares_of_everything))
        rest, kept_rest = (np.concatenate((x[:1], x)) for x in (rest, kept_rest))
    before = np.cumsum(kept, axis=1) - kept  # (P, k)
    limit = top_ps[:, None, None] * whole  # (Q, H, P)
    nucleus = np.where(before < limit[..., None], kept, 0.0)  # (Q, H, P, k)
    left = np.clip(limit - kept.sum(axis=1), 0.0, kept_rest)  # (Q, H, P)
    left = np.where(top_ps[:, None, None] >= 1.0, kept_rest, left)
    total = nucleus.sum(axis=-1) + left
    untruncated = every.sum(axis=1) + rest  # (H, P)
    mixed = (1 - CONTAMINATION) * nucleus / total[..., None] + CONTAMINATION * (
        every / untruncated[..., None]
    )
    mixed_rest = (1 - CONTAMINATION) * left / total + CONTAMINATION * rest / untruncated
    mixed_rest = mixed_rest + (mixed * ~named).sum(axis=-1)
    cells = np.empty((*mixed.shape[:-1], mixed.shape[-1] + 1))
    back = np.broadcast_to(order, mixed.shape)
    np.put_along_axis(cells[..., :-1], back, mixed, axis=-1)
    cells[..., -1] = np.maximum(mixed_rest, CONTAMINATION * NO_REST)
    return cells


def _unlisted(prefixes: Prefixes, temperature: float) -> tuple[Floats, Floats]:
    """The weight of all unlisted tokens, and of one of them, at that temperature: (H, P) both."""
    rest = np.maximum(prefixes.rest(), NO_REST)
    number = np.maximum(rest / np.exp(prefixes.logprobs[:, -1]), 1.0) * SPREADS[:, None]
    single = (rest / number) ** (1 / temperature)
    return number * single, single
