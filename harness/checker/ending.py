"""The end-of-sequence probe: one request, asked again and again, and how its answers ended.

An engine that now and then ends an answer before it has begun is found by nothing else: one answer
of a thousand moves no score. novita's verifier asks the same 3,000 times; with none found of so
many, the share is below 0.1 % (in 95 of 100 such probes, that is said rightly).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scipy.stats import beta

from harness.base.reply import Reply
from harness.checker.asked import Asked
from harness.checker.detectors_ending import empty, reasoning_only, truncated

CONFIDENCE = 0.95
NOTHING = Asked(messages=(), tools=None)  # these detectors look at the answer alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Endings:
    """Counts of answers. Who gave none is asked and not answered, and counts for nothing else."""

    asked: int
    answered: int
    empty: int  # stopped, with nothing said, called or reasoned
    reasoning_only: int  # stopped after the reasoning
    cut: int  # at a limit

    @property
    def silent(self) -> int:
        """Stopped before an answer."""
        return self.empty + self.reasoning_only


def endings(replies: Iterable[Reply]) -> Endings:
    """Reads them once."""
    asked = answered = 0
    found = dict.fromkeys((empty, reasoning_only, truncated), 0)
    for reply in replies:
        asked += 1
        if reply.answered:
            answered += 1
            for detector in found:
                found[detector] += detector(reply, NOTHING) is not None
    return Endings(
        asked=asked,
        answered=answered,
        empty=found[empty],
        reasoning_only=found[reasoning_only],
        cut=found[truncated],
    )


def upper(count: int, of: int, *, confidence: float = CONFIDENCE) -> float:
    """What a share is at most, by `count` of `of`: the one-sided exact bound of Clopper and Pearson
    (Biometrika 26, 1934), the quantile of Beta(count + 1, of - count).

    However small the share, it lies above the bound in 1 - confidence of all probes at most.
    ValueError where nothing was counted: then nothing is known, and 1 is no bound.
    """
    if not 0 <= count <= of or of == 0:
        raise ValueError(f"{count} of {of}: a share needs one answer or more")
    return 1.0 if count == of else float(beta.ppf(confidence, count + 1, of - count))
