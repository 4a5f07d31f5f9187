"""How many tokens an answer will take: what its suite says before any came, and what came since.
Pure.

A task's expectation is the mean of its own answers, drawn towards those of its kind (its suite, and
whether it is thought about), and these towards what the suite says: each step counts as so many
answers (empirical Bayes with fixed weights). Only answers that are over count, and the longest are
over last: while a run goes on, expectations are too short, for all tasks of a kind alike.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from harness.runs.plan import Cases

SUITES_WORD = 4.0  # answers that what a suite says of its tasks counts as
KINDS_WORD = 1.0  # that its kind's mean counts as for one task


@dataclass(slots=True)
class _Seen:
    tokens: float = 0.0
    answers: int = 0

    def drawn_to(self, mean: float, weight: float) -> float:
        return (weight * mean + self.tokens) / (weight + self.answers)

    def add(self, tokens: int) -> None:
        self.tokens += tokens
        self.answers += 1


class Expected:
    """Of the requests of a run, by number; what one engine took tells of the next."""

    def __init__(self, cases: Cases) -> None:
        self._cases = cases
        self._kinds: dict[object, _Seen] = defaultdict(_Seen)
        self._tasks: dict[object, _Seen] = defaultdict(_Seen)
        self.answers = 0  # that have been told

    def answered(self, n: int, tokens: int) -> None:
        kind, task = self._named(n)
        self._kinds[kind].add(tokens)
        self._tasks[task].add(tokens)
        self.answers += 1

    def tokens(self, n: int) -> float:
        """That the answer of request `n` is expected to take."""
        asked, task, _ = self._cases.at(n)
        kind, name = self._named(n)
        mean = self._kinds[kind].drawn_to(asked.suite.tokens(task), SUITES_WORD)
        return self._tasks[name].drawn_to(mean, KINDS_WORD)

    def _named(self, n: int) -> tuple[object, object]:
        asked, task, _ = self._cases.at(n)
        return (asked.suite.name, task.chat.thinking), (asked.suite.name, task.id)
