"""Whether a deployment calls a tool where a reference did: K2-Vendor-Verifier's question.

A request that is answered scores 1 where both called, or neither. That they differ breaks nothing:
two runs of one engine differ too. `harness.checker.tasks.triggering` says how much.
"""

from __future__ import annotations

from harness.base.case import Chat
from harness.base.errors import ConfigError
from harness.base.reply import Reply
from harness.base.suite import Exact, Given, Suite, Task
from harness.base.trigger import called
from suites import trigger_cases
from suites.trigger_cases import TriggerCase

RULES = "1"
CALLED, SILENT, UNKNOWN = "called", "no call", "unknown"  # of the reference
SERVERS = ("model", "stream", "stream_options")  # of a request, which its server decides


def suite(given: Given) -> Suite:
    """Raises ConfigError where a spec names no file of cases, or one that is wrong."""
    if given.file is None:
        raise ConfigError(f"suites: {given.name}: file is missing; it must name a file of cases")
    cases = trigger_cases.load(given.file)
    return Suite(
        name=given.name,
        fingerprint=trigger_cases.fingerprint(given.file) + RULES,
        tasks=tuple(_task(case) for case in cases),
        raw=False,
        score=_score,
        tokens=lambda _: float(given.max_tokens),
    )


def _task(case: TriggerCase) -> Task:
    body = {name: value for name, value in case.request.items() if name not in SERVERS}
    messages, tools = body.get("messages"), body.get("tools")
    said = {True: CALLED, False: SILENT, None: UNKNOWN}[case.called]
    return Task(
        id=case.id,
        chat=Chat(
            messages=tuple(messages) if isinstance(messages, (list, tuple)) else (),
            tools=tuple(tools) if isinstance(tools, (list, tuple)) else None,
            thinking=None,
        ),
        expected=said,
        exact=Exact(body=body, streamed=bool(case.request.get("stream", True))),
    )


def _score(task: Task, reply: Reply) -> float | None:
    """None: of either nobody knows."""
    if not reply.answered or (own := called(reply.finish_reason)) is None:
        return None
    if task.expected == UNKNOWN:
        return None
    return float(own == (task.expected == CALLED))
