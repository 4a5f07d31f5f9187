"""Specs, suites and journals that tests of a run make up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.base.case import Chat
from harness.base.reply import Reply
from harness.base.suite import Suite, Task
from harness.runs.journal import Journal
from harness.runs.plan import Asked, Cases
from harness.runs.spec import (
    EngineTable,
    LimitsTable,
    ModeTable,
    RunSpec,
    SamplingTable,
    SuiteTable,
)

LIMITS = LimitsTable(in_flight=4, attempts=99, retries=999, idle_s=30.0, total_s=60.0, restarts=0)
THINKING, INSTANT = ModeTable(temperature=1.0, top_p=0.95), ModeTable(temperature=0.6, top_p=0.9)
SPEC = RunSpec(
    schema=1,
    seed=7,
    epochs=1,
    transport="aiohttp",
    nodes=("local",),
    suites=(SuiteTable(name="made-up"),),
    engines=(EngineTable(name="http://127.0.0.1:1"),),
    sampling=SamplingTable(max_tokens=8, seeded=False, thinking=THINKING, instant=INSTANT),
    limits=LIMITS,
)
TOML = """\
schema = 1
seed = 7
epochs = 1
transport = "aiohttp"
nodes = ["local"]
[[suites]]
name = "tiny-tasks"
[[engines]]
name = "http://127.0.0.1:1"
[sampling]
max_tokens = 8
seeded = false
thinking = { temperature = 1.0, top_p = 0.95 }
instant = { temperature = 0.6, top_p = 0.9 }
[limits]
in_flight = 4
attempts = 99
retries = 999
idle_s = 30.0
total_s = 60.0
restarts = 0
"""


def task(name: str, thinking: bool | None = None, tools: bool = False) -> Task:
    """Its right answer is its name."""
    tool = {"type": "function", "function": {"name": "now", "parameters": {}}}
    chat = Chat(
        messages=({"role": "user", "content": f"Say {name}."},),
        tools=(tool,) if tools else None,
        thinking=thinking,
    )
    return Task(id=name, chat=chat, expected=name)


def right(task: Task, reply: Reply) -> float | None:
    return float(reply.content == task.expected) if reply.answered else None


def suite(count: int, *, name: str = "made-up", raw: bool = False) -> Suite:
    """Tasks t0, t1, ..."""
    tasks = tuple(task(f"t{i}") for i in range(count))
    return Suite(
        name=name,
        fingerprint=f"f-{name}",
        tasks=tasks,
        raw=raw,
        score=right,
        tokens=lambda _task: 10.0,
    )


def asked(suite: Suite, *, continues: bool = True) -> Asked:
    return Asked(suite=suite, tasks=suite.tasks, continues=continues)


def cases(*suites: Suite, epochs: int = 1) -> Cases:
    return Cases([asked(one) for one in suites], epochs)


def journalled(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with Journal(path) as opened:
        opened.write(lines)
    return path


def answered(n: int, text: str, ids: list[int] | None = None, **end: Any) -> list[dict[str, Any]]:
    """A whole answer's lines."""
    part: dict[str, Any] = {"content": text, "finish_reason": "stop", "done": True}
    if ids is not None:
        part["token_ids"] = ids
    return [
        {"kind": "sent", "n": n, "attempt": 1, "from": 0},
        {"kind": "parts", "parts": [[n, part]]},
        {"kind": "ended", "n": n, "attempt": 1, "outcome": "answered", "final": True, **end},
    ]


def failed(n: int, outcome: str) -> list[dict[str, Any]]:
    return [
        {"kind": "sent", "n": n, "attempt": 1, "from": 0},
        {"kind": "ended", "n": n, "attempt": 1, "outcome": outcome, "final": True, "why": "..."},
    ]


def kinds(lines: list[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [line for line in lines if line["kind"] == kind]
