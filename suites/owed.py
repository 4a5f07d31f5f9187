"""Suites of what a deployment owes its users: each case is a request, and how its reply is held.

A case is asked streamed and not, since an engine has code of its own for either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.base.case import Chat
from harness.base.errors import ConfigError
from harness.base.held import Held
from harness.base.reply import Reply
from harness.base.sampling_rules import Rules
from harness.base.suite import Exact, Given, Suite, Task

STREAMED, WHOLE = "streamed", "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One case. What `hold` is made of stands in `body` and `what`, which name the suite."""

    id: str
    what: str  # is asked, and owed
    body: Mapping[str, Any]
    hold: Callable[[Reply], Held]
    ways: tuple[str, ...] = (STREAMED, WHOLE)


def suite(name: str, rules: str, cases: Iterable[Owed]) -> Suite:
    """`rules`: another word for it when a reply is held otherwise."""
    made = {f"{case.id}/{way}": (case, _task(case, way)) for case in cases for way in case.ways}

    def hold(task: Task, reply: Reply) -> Held:
        return made[task.id][0].hold(reply)

    return Suite(
        name=name,
        fingerprint=_fingerprint(rules, [case for case, _ in made.values()]),
        tasks=tuple(task for _, task in made.values()),
        raw=False,
        score=lambda task, reply: hold(task, reply).score,
        tokens=lambda task: _tokens(made[task.id][0].body),
        hold=hold,
    )


def rules(given: Given) -> Rules:
    """Of the family that a spec names. Raises ConfigError where it names none."""
    if given.rules is None:
        raise ConfigError(
            f"suites: {given.name}: contract is missing; it must name the model's family, one of "
            "launchers/contracts"
        )
    return given.rules


def _tokens(body: Mapping[str, Any]) -> float:
    """At most; a body that is wrong on purpose may say anything."""
    most = body.get("max_tokens")
    return max(0.0, float(most)) if isinstance(most, (int, float)) else 0.0


def _task(case: Owed, way: str) -> Task:
    messages = case.body.get("messages")
    tools = case.body.get("tools")
    return Task(
        id=f"{case.id}/{way}",
        chat=Chat(
            messages=tuple(messages) if isinstance(messages, list) else (),
            tools=tuple(tools) if isinstance(tools, list) else None,
            thinking=None,
        ),
        expected=case.what,
        exact=Exact(body=case.body, streamed=way == STREAMED),
    )


def _fingerprint(rules: str, cases: Sequence[Owed]) -> str:
    content = [rules, *([case.id, case.what, case.body, case.ways] for case in cases)]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()
