"""What the detectors find in the answers of a run's engine, read one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from harness.base.suite import Task
from harness.checker.asked import Asked
from harness.checker.detected import Counted, Found, counted
from harness.checker.detectors import detect
from harness.checker.ending import Endings, endings
from harness.runs.plan import Cases
from harness.runs.replies import reply
from harness.verifying.holding import read


def noticed(cases: Cases, path: Path) -> Counted:
    """`path`: the engine's answers; one that is not there holds none."""
    return counted(_found(cases, path))


def probed(cases: Cases, path: Path, suite: str) -> Endings:
    """How the answers of a suite ended, which asks one thing again and again."""
    return endings(
        reply(answer) for answer in read(path) if cases.at(answer["n"])[0].suite.name == suite
    )


def _found(cases: Cases, path: Path) -> Iterator[Found]:
    for answer in read(path):
        _, task, _ = cases.at(answer["n"])
        said = reply(answer)
        yield Found(
            n=answer["n"],
            case=task.id,
            answered=said.answered,
            detections=detect(said, asked(task)),
        )


def asked(task: Task) -> Asked:
    """Of a task, with the tools that its messages declare too."""
    tools = [*(task.chat.tools or ())]
    for message in task.chat.messages:
        tools += _declared(message)
    return Asked(messages=task.chat.messages, tools=tools or None)


def _declared(message: Any) -> list[Mapping[str, Any]]:
    """A request that is wrong may hold anything for a message."""
    if not isinstance(message, Mapping):
        return []
    tools = cast("Mapping[str, Any]", message).get("tools")
    return cast("list[Mapping[str, Any]]", tools) if isinstance(tools, list) else []
