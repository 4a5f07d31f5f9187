"""Suites of what a deployment owes its users: each case is a request, and how its reply is held.

A case is asked streamed and not, since an engine has code of its own for either. What an engine
does with part of a prompt shows only beside the same prompt without it: such a case names another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.base.case import Chat
from harness.base.errors import ConfigError
from harness.base.held import Held, How, unanswered
from harness.base.reply import Reply
from harness.base.sampling_rules import Rules
from harness.base.suite import Exact, Given, Suite, Task

STREAMED, WHOLE = "streamed", "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Another case of the suite, and how a reply that was taken is held beside that one's."""

    id: str
    hold: Callable[[Reply, Reply], Held]  # the reply, and the other one's: both are answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One case. What it is held by stands in `body` and `what`, which name the suite."""

    id: str
    what: str  # is asked, and owed
    body: Mapping[str, Any]
    hold: Callable[[Reply], Held]
    ways: tuple[str, ...] = (STREAMED, WHOLE)
    beside: Beside | None = None  # asked in the same way


def suite(name: str, rules: str, cases: Iterable[Owed]) -> Suite:
    """`rules`: another word for it when a reply is held otherwise. A score is of the case alone."""
    made = {_id(case.id, way): (case, way) for case in cases for way in case.ways}

    def hold(task: Task, reply: Reply) -> Held:
        return made[task.id][0].hold(reply)

    def relate(replies: Mapping[str, Reply]) -> Mapping[str, Held]:
        return {id_: _related(*made[id_], reply, replies) for id_, reply in replies.items()}

    return Suite(
        name=name,
        fingerprint=_fingerprint(rules, [case for case, _ in made.values()]),
        tasks=tuple(_task(case, way) for case, way in made.values()),
        raw=False,
        score=lambda task, reply: hold(task, reply).score,
        tokens=lambda task: _tokens(made[task.id][0].body),
        hold=hold,
        relate=relate if any(case.beside for case, _ in made.values()) else None,
    )


def rules(given: Given) -> Rules:
    """Of the family that a spec names. Raises ConfigError where it names none."""
    if given.rules is None:
        raise ConfigError(
            f"suites: {given.name}: contract is missing; it must name the model's family, one of "
            "launchers/contracts"
        )
    return given.rules


def _id(case: str, way: str) -> str:
    return f"{case}/{way}"


def _related(case: Owed, way: str, reply: Reply, replies: Mapping[str, Reply]) -> Held:
    alone = case.hold(reply)
    if case.beside is None or alone.how is not How.KEPT:
        return alone
    beside = _id(case.beside.id, way)
    other = replies.get(beside)
    if other is not None and other.answered:
        return case.beside.hold(reply, other)
    why = "not asked" if other is None else unanswered(other).why
    return Held(how=How.UNANSWERED, why=f"nothing to hold it beside: {beside}: {why}")


def _tokens(body: Mapping[str, Any]) -> float:
    """At most; a body that is wrong on purpose may say anything."""
    most = body.get("max_tokens")
    return max(0.0, float(most)) if isinstance(most, (int, float)) else 0.0


def _task(case: Owed, way: str) -> Task:
    messages = case.body.get("messages")
    tools = case.body.get("tools")
    return Task(
        id=_id(case.id, way),
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
