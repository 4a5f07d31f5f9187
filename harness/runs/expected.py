"""How many tokens an answer will take: what its suite says, and what came of its task since. Pure.

A task's expectation is the mean of its own answers, drawn towards what the suite says of it, which
counts as one answer (empirical Bayes with a fixed weight).

Trade-offs accepted: nothing is learned of a kind of tasks from its other tasks. Only answers that
are over count, and the longest are over last: while a run goes on, such a mean is too short, and
tasks of which no answer is over yet would be drawn to it, though these are the longest. So a
suite's word matters: scripts/makespan is how to see what another rule does.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from harness.runs.plan import Cases

SUITES_WORD = 1.0  # answers that what a suite says of a task counts as


@dataclass(slots=True)
class _Seen:
    tokens: int = 0
    answers: int = 0


NONE = _Seen()


class Expected:
    """Of the requests of a run, by number; what one engine took tells of the next."""

    def __init__(self, cases: Cases) -> None:
        self._cases = cases
        self._tasks: dict[tuple[str, str], _Seen] = defaultdict(_Seen)

    def answered(self, n: int, tokens: int) -> None:
        asked, task, _ = self._cases.at(n)
        seen = self._tasks[asked.suite.name, task.id]
        seen.tokens += tokens
        seen.answers += 1

    def tokens(self, n: int) -> float:
        """That the answer of request `n` is expected to take."""
        asked, task, _ = self._cases.at(n)
        seen = self._tasks.get((asked.suite.name, task.id), NONE)
        word = SUITES_WORD * asked.suite.tokens(task)
        return (word + seen.tokens) / (SUITES_WORD + seen.answers)
