"""What a run's answers say of tool calls triggered, beside those of the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from harness.base.arguments import wrong
from harness.base.errors import ConfigError
from harness.base.reply import Call, Reply, token_count
from harness.base.suite import Task
from harness.base.trigger import Trigger
from harness.checker.tasks import triggering
from harness.checker.tasks.triggering import TriggerFinding
from harness.runs.plan import Cases
from harness.runs.replies import reply
from harness.verifying.holding import read
from harness.verifying.noticing import asked
from suites.trigger_cases import TriggerCase


def found(
    recorded: Sequence[TriggerCase], cases: Cases, path: Path, suite: str, seed: int
) -> TriggerFinding:
    """`path`: the answers of an engine; `recorded`: the cases of `suite`, as the reference had
    them."""
    reference = [_recorded(case) for case in recorded]
    rng = np.random.default_rng(seed)
    return triggering.compare(reference, list(_answers(cases, path, suite)), rng)


def _recorded(case: TriggerCase) -> Trigger:
    calls = None
    if case.calls is not None:
        calls = [Call(id="", name=call.name, arguments=call.arguments) for call in case.calls]
    return Trigger(
        case=case.id,
        repeat=0,
        finish_reason=case.finish_reason,
        calls=None if calls is None else len(calls),
        valid=None,
        prompt_tokens=None,
        completion_tokens=None,
    )


def _answers(cases: Cases, path: Path, suite: str) -> Iterator[Trigger]:
    for line in read(path):
        of, task, epoch = cases.at(line["n"])
        if of.suite.name == suite:
            yield _answer(task, epoch, reply(line))


def _answer(task: Task, epoch: int, said: Reply) -> Trigger:
    return Trigger(
        case=task.id,
        repeat=epoch,
        finish_reason=said.finish_reason if said.answered else None,
        calls=len(said.calls) if said.answered else None,
        valid=_valid(task, said) if said.answered and said.calls else None,
        prompt_tokens=token_count(said.usage, "prompt_tokens"),
        completion_tokens=token_count(said.usage, "completion_tokens"),
    )


def _valid(task: Task, said: Reply) -> bool | None:
    """None: a tool's own declaration is at fault."""
    try:
        return all(wrong(call, asked(task).tools) is None for call in said.calls)
    except ConfigError:
        return None
