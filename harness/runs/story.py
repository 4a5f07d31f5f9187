"""What a journal tells of each request: what came of it, or how far it had come.

    sent    n  attempt  from  at    an attempt begins; `from`: tokens of the attempts before it that
                                    it goes on behind, 0 where it begins anew
    parts   at  parts               [n, what an answer was added to], of all requests at once
    ended   n  attempt  outcome     why the attempt is over; `final`: no other follows

An answer stands in its parts alone, so a journal holds every byte once, and only requests that are
under way are held in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.runs.retry import Failure

ANSWERED = "answered"
LISTS = ("token_ids", "calls")  # parts that are not texts


@dataclass(slots=True, kw_only=True)
class Begun:
    """A request that is not over."""

    attempts: int = 0
    failures: Counter[Failure] = field(default_factory=Counter[Failure])
    parts: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    continued: list[int] = field(default_factory=list[int])  # token positions that it went on from

    @property
    def token_ids(self) -> list[int]:
        """All that have come; what a text needs more of than its ids is not known from them."""
        return [token for part in self.parts for token in part.get("token_ids", ())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A request that is over."""

    n: int
    outcome: str  # ANSWERED, or the last failure
    attempts: int
    continued: tuple[int, ...]
    answer: Mapping[str, Any]  # what came: texts and lists, whole; of a failure, as far as it came
    end: Mapping[str, Any]  # the last `ended` line


class Story:
    """Journal lines, told one by one."""

    def __init__(self) -> None:
        self.begun: dict[int, Begun] = {}
        self.over: dict[int, str] = {}  # -> outcome

    def tell(self, line: Mapping[str, Any]) -> Ended | None:
        """What the line ends, if anything."""
        kind = line["kind"]
        if kind == "sent":
            self._sent(line)
        elif kind == "parts":
            for n, part in line["parts"]:
                self.begun[n].parts.append(part)
        elif kind == "ended":
            return self._ended(line)
        return None

    def _sent(self, line: Mapping[str, Any]) -> None:
        begun = self.begun.setdefault(line["n"], Begun())
        begun.attempts += 1
        if line["from"] == 0:
            begun.parts.clear()
            begun.continued.clear()
        else:
            begun.parts[:] = kept(begun.parts, line["from"])
            begun.continued.append(line["from"])

    def _ended(self, line: Mapping[str, Any]) -> Ended | None:
        n, outcome = line["n"], line["outcome"]
        begun = self.begun[n]
        if outcome != ANSWERED:
            begun.failures[Failure(outcome)] += 1
        if not line["final"]:
            return None
        del self.begun[n]
        self.over[n] = outcome
        return Ended(
            n=n,
            outcome=outcome,
            attempts=begun.attempts,
            continued=tuple(begun.continued),
            answer=whole(begun.parts),
            end=line,
        )


def told(lines: Iterable[Mapping[str, Any]]) -> Generator[Ended]:
    """Every request that is over, in the order in which they ended."""
    story = Story()
    for line in lines:
        if (ended := story.tell(line)) is not None:
            yield ended


def whole(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Parts put together."""
    texts: dict[str, list[str]] = {}
    lists: dict[str, list[Any]] = {}
    for part in parts:
        for name, value in part.items():
            if name in LISTS:
                lists.setdefault(name, []).extend(value)
            else:
                texts.setdefault(name, []).append(value)
    return {**{name: "".join(pieces) for name, pieces in texts.items()}, **lists}


def kept(parts: Sequence[Mapping[str, Any]], tokens: int) -> Sequence[Mapping[str, Any]]:
    """The first parts, with that many token ids; ValueError where no part ends there."""
    count = 0
    for place, part in enumerate(parts):
        if count == tokens:
            return parts[:place]
        count += len(part.get("token_ids", ()))
    if count != tokens:
        raise ValueError(f"no part ends at token {tokens}; there are {count}")
    return parts


def safe_end(parts: Sequence[Mapping[str, Any]]) -> int:
    """After how many tokens an answer can be gone on with: behind the last part that brought text.

    A token that brought none may be the first half of a character, which an engine that is given
    the ids alone would begin in its middle.
    """
    count = end = 0
    for part in parts:
        count += len(part.get("token_ids", ()))
        if part.get("content") and not part["content"].endswith("\N{REPLACEMENT CHARACTER}"):
            end = count
    return end
