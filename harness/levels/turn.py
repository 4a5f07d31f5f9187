"""One round of L1 as it is asked: what several comparisons need is asked once."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.base.record import Distance, Generation, Scores
from harness.checker.consistency import USUAL_LOAD, Round
from harness.levels import askable
from harness.levels.state import Check
from launchers.dialect import Tokens

TOP_K = 2  # a longer list costs time, and tells nothing more of an engine against itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One prompt in one comparison."""

    group: str
    row: int
    distance: Distance
    unequal: int | None = None  # the first position at which two scores of the same tokens differ


@dataclass(slots=True, kw_only=True)
class Cached:
    """What an engine says of the prompts of one group: how much of them was in the prefix cache."""

    prompt_tokens: int = 0
    tokens: int | None = 0  # None: it does not say

    def add(self, prompt: Tokens, generation: Generation) -> None:
        self.prompt_tokens += len(prompt)
        said = generation.cached_tokens
        self.tokens = None if said is None or self.tokens is None else self.tokens + said


@dataclass(slots=True, kw_only=True)
class Session:
    """What L1 knows from round to round."""

    check: Check
    cached: dict[str, Cached] = field(default_factory=dict[str, Cached])  # group -> its prompts
    pairs: int = 0  # prompts sent while the same prompt was in flight
    overlapping: int = 0  # of these, answered while the other was still being decoded

    def cache_of(self, group: str) -> Cached:
        return self.cached.setdefault(group, Cached())


class Turn:
    """The prompts of one round. What is asked is kept until the round ends."""

    def __init__(self, session: Session, plan: Round) -> None:
        self.session = session
        self.check = session.check
        self.plan = plan
        self._alone: list[Scores] | None = None
        self._usual: list[Scores] | None = None

    @property
    def rows(self) -> tuple[int, ...]:
        return self.plan.rows

    @property
    def alternatives(self) -> int:
        """Of each position, as many as the endpoint gives."""
        return askable.alternatives(self.check, "score", TOP_K)

    def sequences(self) -> list[Tokens]:
        return [self.check.trace[row].token_ids for row in self.rows]

    def alone(self) -> list[Scores]:
        """Scores of the round's sequences, each the only request; asked once."""
        if self._alone is None:
            self._alone = self.scored(at_once=1)
        return self._alone

    def usual(self) -> list[Scores]:
        """The same among many requests: as L2 heard them, or asked now, once."""
        if self._usual is None:
            heard = self.check.scores
            missing = [row for row in self.rows if row not in heard]
            sequences = [self.check.trace[row].token_ids for row in missing]
            self.check.tokens += sum(map(len, sequences))
            answers = self.check.asker.score(sequences, self.alternatives, at_once=USUAL_LOAD)
            heard.update(zip(missing, answers, strict=True))
            self._usual = [heard.pop(row).best(TOP_K) for row in self.rows]
        return self._usual

    def scored(self, *, at_once: int) -> list[Scores]:
        """The same, with so many sequences in flight; asked now."""
        sequences = self.sequences()
        self.check.tokens += sum(map(len, sequences))
        return self.check.asker.score(sequences, self.alternatives, at_once=at_once, per_request=1)
