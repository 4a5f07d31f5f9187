"""What a run asks: tasks that have a right answer, and how an answer is scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.base.case import Chat


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One case: a chat, and what its answer is held against."""

    id: str
    chat: Chat
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tasks that are asked in one way and scored by one rule."""

    name: str
    fingerprint: str  # sha256 of all that decides what is asked and what an answer is worth
    tasks: Sequence[Task]
    raw: bool  # asked as token ids, so that an answer that was cut can be continued
    score: Callable[[Task, str], float]  # of a text that was answered, in [0, 1]
    tokens: Callable[[Task], float]  # that an answer is expected to take, before any has come
