"""What comes of a request, and how a suite of what is owed holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from harness.base.held import Held
from harness.base.reply import ANSWERED, REFUSED, Call, Reply
from harness.base.suite import Given, Suite
from launchers.contracts import rules
from suites import registry

STATUS_500 = Reply(outcome="server", status=500, said="CUDA error: out of memory")
STATUS_401 = Reply(outcome=REFUSED, status=401, said='{"error": {"message": "no key"}}')
CUT = Reply(outcome="cut", content="Yes", said="the stream ended before finish_reason")
STALLED = Reply(outcome="stalled", said="no byte for 60 s")
NEITHER = (STATUS_500, STATUS_401, CUT, STALLED)  # no answers, and they refuse nothing


def suite(name: str, family: str = "kimi-k2.6") -> Suite:
    return registry.suite(Given(name=name, max_tokens=64, rules=rules(family)))


def held(made: Suite, case: str, reply: Reply) -> Held:
    """Of a case, asked in either way: a reply is held alike in both."""
    assert made.hold is not None
    (first, *others) = [
        made.hold(task, reply) for task in made.tasks if task.id.rpartition("/")[0] == case
    ]
    assert all(other == first for other in others)
    return first


def bodies(made: Suite) -> dict[str, Mapping[str, Any]]:
    """By case and way."""
    return {task.id: task.exact.body for task in made.tasks if task.exact is not None}


def answer(content: str = "Yes", finish_reason: str = "stop", **others: Any) -> Reply:
    return Reply(outcome=ANSWERED, content=content, finish_reason=finish_reason, **others)


def calling(*calls: tuple[str, str], finish_reason: str = "tool_calls", **others: Any) -> Reply:
    """Each the name of a tool, and its arguments."""
    made = tuple(
        Call(id=f"functions.{name}:{n}", name=name, arguments=arguments)
        for n, (name, arguments) in enumerate(calls)
    )
    return answer("", finish_reason, calls=made, **others)


def refusal(message: str, status: int | None = 400) -> Reply:
    """As engines write one; without a status, in a stream that had begun."""
    error = {"message": message, "type": "BadRequestError", "param": None, "code": 400}
    return Reply(outcome=REFUSED, status=status, said=orjson.dumps({"error": error}).decode())
