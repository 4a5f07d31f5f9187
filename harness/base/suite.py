"""What a run asks: tasks that have a right answer, and how an answer is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.case import Chat
from harness.base.held import Held
from harness.base.reply import Reply
from harness.base.sampling_rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """A chat request's own body, sent as it is: only the model is filled in, and the stream."""

    body: Mapping[str, Any]
    streamed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One case: a chat, and what its answer is held against."""

    id: str
    chat: Chat
    expected: str
    exact: Exact | None = None  # None: the chat, sampled as the run's spec has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a run's spec says of a suite."""

    name: str
    max_tokens: int = 0  # of an answer
    rules: Rules | None = None  # of the family of models that it names; None: it names none
    file: Path | None = None  # of cases


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tasks that are asked in one way and scored by one rule."""

    name: str
    fingerprint: str  # sha256 of all that decides what is asked and what an answer is worth
    tasks: Sequence[Task]
    raw: bool  # asked as token ids, so that an answer that was cut can be continued
    score: Callable[[Task, Reply], float | None]  # in [0, 1]; None: there is nothing to score
    tokens: Callable[[Task], float]  # that an answer is expected to take, before any has come
    hold: Callable[[Task, Reply], Held] | None = None  # of what a deployment owes; None: of none
    relate: Callable[[Mapping[str, Reply]], Mapping[str, Held]] | None = None
    """Instead of `hold`, where cases are held beside each other: of the replies of one epoch, by
    task. None: each reply is held by itself."""
