"""What a journal tells of each request: what came of it, or how far it had come.

    opened  engine  identity        an engine is ours to ask
    sent    n  id  attempt  from    an attempt begins; `from`: tokens of the attempts before it that
                                    it goes on behind, 0 where it begins anew
    parts   parts                   [n, what an answer was added to], of all requests at once
    ended   n  attempt  outcome     why the attempt is over; `final`: no other follows
    engine  end                     a life of it is over

An answer stands in its parts alone, so a journal holds every byte once, and only requests that are
under way are held in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.runs.answer import Answer
from harness.runs.retry import NO_REQUESTS_FAULT, Failure

ANSWERED = "answered"


@dataclass(slots=True, kw_only=True)
class Begun:
    """A request that is not over."""

    attempts: int = 0
    failures: Counter[Failure] = field(default_factory=Counter[Failure])
    answer: Answer = field(default_factory=Answer)
    continued: list[int] = field(default_factory=list[int])  # token positions that it went on from


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A request that is over."""

    n: int
    outcome: str  # ANSWERED, or the last failure
    attempts: int
    continued: tuple[int, ...]
    answer: Mapping[str, Any]  # what came, whole; of a failure, as far as it came
    end: Mapping[str, Any]  # the last `ended` line


class Story:
    """Journal lines, told one by one."""

    def __init__(self) -> None:
        self.begun: dict[int, Begun] = {}
        self.over: dict[int, str] = {}  # -> outcome
        self.identity: Mapping[str, Any] | None = None  # what the engine last said that it is
        self.retries = 0  # attempts that failed, and were not the last of their request

    def tell(self, line: Mapping[str, Any]) -> Ended | None:
        """What the line ends, if anything."""
        kind = line["kind"]
        if kind == "sent":
            self._sent(line)
        elif kind == "parts":
            for n, part in line["parts"]:
                self.begun[n].answer.add(part)
        elif kind == "ended":
            return self._ended(line)
        elif kind == "opened":
            self.identity = line["identity"]
        return None

    def _sent(self, line: Mapping[str, Any]) -> None:
        begun = self.begun.setdefault(line["n"], Begun())
        begun.attempts += 1
        if line["from"] == 0:
            begun.answer.clear()
            begun.continued.clear()
            return
        if begun.answer.cut() != line["from"]:
            raise ValueError(
                f"request {line['n']} goes on behind token {line['from']}, but can be gone on with "
                f"behind token {begun.answer.safe}"
            )
        begun.continued.append(line["from"])

    def _ended(self, line: Mapping[str, Any]) -> Ended | None:
        n, outcome = line["n"], line["outcome"]
        begun = self.begun[n]
        if outcome != ANSWERED:
            begun.failures[Failure(outcome)] += 1
        if not line["final"]:
            self.retries += outcome not in NO_REQUESTS_FAULT
            begun.answer.cut()  # what came behind the safe place, its end too, did not count
            return None
        del self.begun[n]
        self.over[n] = outcome
        return Ended(
            n=n,
            outcome=outcome,
            attempts=begun.attempts,
            continued=tuple(begun.continued),
            answer=begun.answer.whole(),
            end=line,
        )


def told(lines: Iterable[Mapping[str, Any]]) -> Generator[Ended]:
    """Every request that is over, in the order in which they ended."""
    story = Story()
    for line in lines:
        if (ended := story.tell(line)) is not None:
            yield ended
