"""Requests whose tool choice forces a call. Kimi's own API takes none while a model thinks, so they
are asked in the other mode, where a family has one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.base.held import Held, How, refused, taken
from harness.base.reply import Reply
from harness.base.sampling_rules import INSTANT, Rules

REQUIRED, NAMED = "required", "named"


def fields(rules: Rules) -> Mapping[str, Any]:
    """That ask for the mode in which a call can be forced."""
    return rules.asked_by[INSTANT] if INSTANT in rules.modes else {}


def held(reply: Reply, choice: str, rules: Rules, then: Callable[[Reply], Held]) -> Held:
    """`then` judges the answer. A family that only thinks may refuse the `choice`: then nobody
    knows what would have been called."""
    if INSTANT not in rules.modes and choice not in rules.forced:
        refusal = refused(reply, ("tool_choice",))
        if refusal.how is How.KEPT:
            return Held(how=How.UNFINISHED, why=f"as it may while it thinks, it {refusal.why}")
    return taken(reply, then)
