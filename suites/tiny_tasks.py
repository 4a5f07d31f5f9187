"""The tiny models' skills as a benchmark: short questions that have one right answer.

`data/tiny-tasks.jsonl` is written by `scripts/make_tiny_tasks.py`, from seeds held out of what the
models learned from. They are asked by the chat API, or raw: as the token ids that the engine's own
template makes of the chat.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.base import strict_toml
from harness.base.case import Chat
from harness.base.reply import Reply
from harness.base.suite import Given, Suite, Task

SHIPPED = Path(__file__).parent / "data" / "tiny-tasks.jsonl"
THOUGHT, END = "</think>", "<|im_end|>"  # of a raw answer, whose special tokens are texts too
RULES = "1"  # raise it when `_spoken` or a score becomes another


def chat(given: Given) -> Suite:
    return _suite(given.name, raw=False)


def raw(given: Given) -> Suite:
    return _suite(given.name, raw=True)


def _suite(name: str, *, raw: bool) -> Suite:
    content = SHIPPED.read_bytes()
    return Suite(
        name=name,
        fingerprint=hashlib.sha256(content + RULES.encode()).hexdigest(),
        tasks=tuple(
            _task(json.loads(line), f"{SHIPPED}:{number}")
            for number, line in enumerate(content.splitlines(), 1)
        ),
        raw=raw,
        score=_score,
        tokens=_tokens,
    )


def _task(row: dict[str, Any], where: str) -> Task:
    return Task(
        id=strict_toml.convert(str, row["id"], where),
        chat=Chat(messages=tuple(row["messages"]), tools=None, thinking=row["thinking"]),
        expected=row["expected"],
    )


def _tokens(task: Task) -> float:
    return 8.0 if task.chat.thinking is False else 24.0


def _score(task: Task, reply: Reply) -> float | None:
    """1 where the answer is the right one to the letter, white space around it aside."""
    return float(_spoken(reply.content) == task.expected) if reply.answered else None


def _spoken(text: str) -> str:
    """What is said behind the thinking."""
    return text.split(END)[0].split(THOUGHT)[-1].strip()
