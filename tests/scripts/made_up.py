"""Answer sets over a corpus that is made up, whose errors are as large as a test wants them."""

from __future__ import annotations

import numpy as np

from harness.levels.state import Settings
from scripts.answer_sets import AnswerSet, Corpus, answer_set
from tests import building

PROMPTS, TOKENS = 40, 30  # of a stratum, of a sequence
ROWS = range(2 * PROMPTS)
CORPUS = Corpus(
    strata={"chat": ROWS[:PROMPTS], "text": ROWS[PROMPTS:]}, tokens_of=[TOKENS + 1 for _ in ROWS]
)
SETTINGS = [Settings(seed=seed, alpha=0.005, beta=0.005) for seed in range(3)]


def answers(
    name: str,
    implementation: str,
    *,
    seed: int,
    size: float = 0.01,
    load: int | None = None,
    lost: int = 0,
) -> AnswerSet:
    """|d| about `size`; the same seed and size: equal to the bit. `lost`: tokens of each sequence
    that are decisively another one."""
    rng = np.random.default_rng(seed)
    by_case = {
        str(row): building.distance(
            rng.normal(scale=size, size=TOKENS), divergence=size**2, flips=lost
        )
        for row in ROWS
    }
    return answer_set([str(row) for row in ROWS], by_case, name, load, implementation, "fp32")


def right(count: int) -> list[AnswerSet]:
    """Configurations that are right, of two implementations in turn."""
    return [answers(f"right {i}", ("one", "two")[i % 2], seed=i) for i in range(count)]
