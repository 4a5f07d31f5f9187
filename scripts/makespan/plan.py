"""The plan of Kimi Vendor Verifier as a run's cases, and the tokens of each answer, drawn.

The suites, their modes, AIME's 32 epochs and the most tokens are KVV's (the README of
MoonshotAI/Kimi-Vendor-Verifier, "K2.6 and Earlier"; tool calls: its docs/EVALUATION_GUIDE_zh.md).
That AIME takes 24,000 tokens with thinking is what Kimi-K2-Thinking took of AIME 2025 (arXiv
2512.02556, DeepSeek-V3.2, the table of tokens; DeepSeek-R1-0528's model card has 23,000 of its
own). Every other mean, and every spread, is our assumption: answers are log-normal, a task's own
mean about its kind's and an answer about its task's, cut at the most tokens.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from harness.base.case import Chat
from harness.base.suite import Suite, Task
from harness.runs.plan import Asked, Cases

MODES = {True: "thinking", False: "instant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A suite in one mode."""

    suite: str
    thinking: bool
    tasks: int
    epochs: int
    tokens: float  # the mean answer before it is cut
    between: float  # sigma of the logarithm, of the tasks
    within: float  # of a task's answers
    most: int  # max_tokens
    prior: float  # what the suite says of each of its tasks: round, and not the truth

    @property
    def name(self) -> str:
        return f"{self.suite}, {MODES[self.thinking]}"

    @property
    def requests(self) -> int:
        return self.tasks * self.epochs


def _both(
    suite: str,
    tasks: int,
    most: int,
    tokens: tuple[float, float],
    prior: tuple[float, float],
    spread: tuple[float, float],
    epochs: int = 1,
) -> tuple[Kind, Kind]:
    """Thinking and not."""
    thinking, instant = (
        Kind(
            suite=suite,
            thinking=mode,
            tasks=tasks,
            epochs=epochs,
            tokens=tokens[place],
            between=spread[0],
            within=spread[1],
            most=most,
            prior=prior[place],
        )
        for place, mode in enumerate((True, False))
    )
    return thinking, instant


# In the order that KVV asks them in.
KINDS: tuple[Kind, ...] = (
    *_both("OCRBench", 1_000, 16_384, (700, 60), (1_000, 100), (0.6, 0.5)),
    *_both("MMMU-Pro", 1_730, 65_536, (5_000, 700), (8_000, 1_000), (0.8, 0.4)),
    *_both("AIME 2025", 30, 98_304, (24_000, 6_000), (20_000, 5_000), (0.7, 0.35), epochs=32),
    *_both("tool calls", 2_000, 65_536, (600, 150), (1_000, 200), (0.6, 0.5)),
)


def cases(kinds: Sequence[Kind]) -> Cases:
    """A run has as many epochs of all suites, so that AIME's tasks are in its suite 32 times."""
    return Cases([_asked(kind) for kind in kinds], 1)


def answers(kinds: Sequence[Kind], seed: int, engine: int = 0) -> list[int]:
    """Tokens by request; a task's own mean is the same for every engine of a seed."""
    drawn: list[int] = []
    for kind in kinds:
        own = random.Random(f"answers {seed} {engine} {kind.name}")
        medians = _medians(kind, random.Random(f"tasks {seed} {kind.name}"))
        for number in range(kind.requests):
            tokens = medians[number % kind.tasks] * math.exp(own.gauss(0, kind.within))
            drawn.append(min(kind.most, max(1, round(tokens))))
    return drawn


def _medians(kind: Kind, rng: random.Random) -> list[float]:
    """By task: the distribution's quantiles, so that 30 tasks have its mean too; shuffled."""
    median = kind.tokens * math.exp(-(kind.between**2 + kind.within**2) / 2)
    normal = NormalDist(0, kind.between)
    places = [(number + 0.5) / kind.tasks for number in range(kind.tasks)]
    rng.shuffle(places)
    return [median * math.exp(normal.inv_cdf(place)) for place in places]


def _asked(kind: Kind) -> Asked:
    one = [
        Task(
            id=f"{kind.name} {number}",
            chat=Chat(messages=(), tools=None, thinking=kind.thinking),
            expected="",
        )
        for number in range(kind.tasks)
    ]
    suite = Suite(
        name=kind.suite,
        fingerprint="",
        tasks=one,
        raw=False,
        score=lambda _task, _reply: 0.0,
        tokens=_always(kind.prior),
    )
    return Asked(suite=suite, tasks=one * kind.epochs, continues=False)


def _always(tokens: float) -> Callable[[Task], float]:
    return lambda _task: tokens
