"""L2b: what a candidate generates, scored by the reference. Pure arithmetic.

The greedy margin of a token y that the candidate chose as its most probable one is

    G_t = max_v lp_ref(v) - lp_ref(y)

0 where the reference would have chosen it too. With v* the reference's choice and d = lp_cand -
lp_ref, the candidate's choice means lp_cand(y) >= lp_cand(v*), so that

    G_t = lp_ref(v*) - lp_ref(y) <= |d_t(v*)| + |d_t(y)|

and a mean of G may be twice what a mean of |d| may be. It needs no logprob of the candidate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.base.record import Distance, Floats, Scores
from harness.checker.forced import permutation
from harness.checker.judge import Statistic
from harness.checker.tolerance import CAP, clipped_means

GREEDY_MARGIN = Statistic(
    name="G",
    of=lambda x, t: clipped_means(x.d, x.bounds, 2 * t.c_token),
    tau=lambda t: 2 * t.tau_a,
    cap=CAP,
)


def drawn(
    lengths: Sequence[int], *, new_tokens: int, times: int, budget: int, seed: int
) -> list[int]:
    """The prompts that are asked, in the order in which they are drawn, fixed by the seed.

    `lengths`: tokens of each prompt. All prompts together take `budget` tokens at most, each being
    continued `times` times; one that alone would take a twentieth of it is left out.
    """
    found: list[int] = []
    for i in permutation(range(len(lengths)), seed=seed, name="decoded"):
        cost = times * (lengths[i] + new_tokens)
        if cost > budget:
            break
        if cost <= budget / 20:
            budget -= cost
            found.append(i)
    return found


def margins(reference: Scores) -> Floats:
    """G_t (N,) of the tokens that `reference` scored, nats."""
    return np.maximum(reference.top_logprobs[:, 0] - reference.logprobs, 0.0)


def as_distance(margin: Floats) -> Distance:
    """Margins (N,) in the place of d, for a judge of `GREEDY_MARGIN` alone."""
    nothing = np.full(len(margin), np.nan)
    return Distance(
        d=margin,
        divergence=nothing,
        flip=np.zeros(len(margin), dtype=np.bool_),
        margin=nothing,
        margin_change=nothing,
    )


def first_divergence(margin: Floats) -> int | None:
    """The first of N tokens that the reference would not have chosen; None: it agrees with all."""
    apart = margin > 0
    return int(apart.argmax()) if apart.any() else None
