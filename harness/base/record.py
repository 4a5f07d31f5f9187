"""What an engine answered, as arrays: the evidence that everything is judged by.

A logprob is the natural logarithm of the probability under the model's own distribution, before
temperature, penalties or any truncation. Position t of T tokens is predicted from the tokens
before it, so a sequence of T tokens has T - 1 logprobs, for positions 1 .. T-1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Bounds = npt.NDArray[np.int64]  # (P + 1,) of P sequences end to end: where each begins, and the end
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Logprobs of given tokens, and the most probable tokens in their place.

    N positions, k alternatives in descending order of probability.
    """

    logprobs: Floats  # (N,) of the tokens that stand there
    top_ids: Ints  # (N, k)
    top_logprobs: Floats  # (N, k)

    def slice(self, start: int, stop: int) -> Scores:
        """Positions `start` to `stop` alone."""
        return Scores(
            logprobs=self.logprobs[start:stop],
            top_ids=self.top_ids[start:stop],
            top_logprobs=self.top_logprobs[start:stop],
        )

    def best(self, k: int) -> Scores:
        """The same positions with the `k` most probable alternatives alone."""
        return Scores(
            logprobs=self.logprobs,
            top_ids=self.top_ids[:, :k],
            top_logprobs=self.top_logprobs[:, :k],
        )

    def copied(self) -> Scores:
        """The same in arrays of their own, which hold no larger ones in memory."""
        return Scores(
            logprobs=self.logprobs.copy(),
            top_ids=self.top_ids.copy(),
            top_logprobs=self.top_logprobs.copy(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Tokens that an engine chose itself, with the logprobs that it reported for them."""

    token_ids: tuple[int, ...]  # n, the end-of-sequence token included where it was chosen
    scores: Scores  # n positions
    finish_reason: str  # "stop" or "length"
    cached_tokens: int | None = None  # of its prompt, from the prefix cache; None: it is not said


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """How far one answer lies from the reference on the same N tokens of one sequence."""

    d: Floats  # (N,) nats
    divergence: Floats  # (N,) nats: K_t
    flip: Bools  # (N,) the most probable token is another one
    margin: Floats  # (N,) nats: the reference's top-1 logprob less its top-2
    margin_change: Floats  # (N,) nats: how much the candidate has changed that margin, absolute


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """What is judged of P sequences, their N tokens end to end: one pass sees to all of them."""

    d: Floats  # (N,) and so are the others
    divergence: Floats
    flip: Bools
    margin: Floats
    bounds: Bounds

    @classmethod
    def of(cls, one: Distance) -> Distances:
        """Of one sequence."""
        return cls(
            d=one.d,
            divergence=one.divergence,
            flip=one.flip,
            margin=one.margin,
            bounds=whole(one.d),
        )

    def picked(self, rows: npt.NDArray[np.int64]) -> Distances:
        """These sequences alone, in this order, one or more."""
        starts, ends = self.bounds[rows], self.bounds[rows + 1]
        apart = starts[1:] != ends[:-1]  # neighbours stay together
        first, last = starts[np.append(True, apart)], ends[np.append(apart, True)]
        spans = [slice(*span) for span in zip(first.tolist(), last.tolist(), strict=True)]
        return Distances(
            d=np.concatenate([self.d[span] for span in spans]),
            divergence=np.concatenate([self.divergence[span] for span in spans]),
            flip=np.concatenate([self.flip[span] for span in spans]),
            margin=np.concatenate([self.margin[span] for span in spans]),
            bounds=np.append(0, np.cumsum(ends - starts)),
        )


def whole(values: Floats) -> Bounds:
    """The bounds of one sequence (N,)."""
    return np.array([0, len(values)])
