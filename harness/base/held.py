"""How one request came out against what a deployment owes its users.

    kept           as the contract has it
    broken         refused or answered otherwise than the contract has it
    not enforced   what it ought to refuse was answered, or refused behind a status of 200
    unfinished     an answer that was cut at its length: neither
    unanswered     no answer, and no refusal that says what it refuses

Only HTTP 400 or 422 whose text names what is wrong is a refusal; the keys of its JSON name nothing.
All else is an outcome of its own, kept apart and counted: a server that is dead refuses nothing,
and one whose context is too short has not been asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.base.excerpt import excerpt
from harness.base.reply import REFUSED, Reply

REFUSALS = (400, 422)
KEY = re.compile(r"""[{,]\s*(["'])(?:\\.|(?!\1)[^\\])*\1\s*:""")  # of JSON: it names nothing
OF_CONTEXT = re.compile(r"context[ _-]length|maximum context|longer than the model", re.IGNORECASE)
SHOWN = 240  # characters of what a server said


class How(StrEnum):
    """The worst first."""

    BROKEN = "broken"
    NOT_ENFORCED = "not enforced"
    UNANSWERED = "unanswered"
    UNFINISHED = "unfinished"
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One request's."""

    how: How
    why: str  # in words; of what is kept, what was seen

    @property
    def score(self) -> float | None:
        """None: it says nothing of the contract."""
        if self.how in (How.UNFINISHED, How.UNANSWERED):
            return None
        return float(self.how is How.KEPT)


def kept(why: str) -> Held:
    return Held(how=How.KEPT, why=why)


def broken(why: str) -> Held:
    return Held(how=How.BROKEN, why=why)


def taken(reply: Reply, then: Callable[[Reply], Held], *, whole: bool = True) -> Held:
    """Of a request that must be answered. `then` judges the answer; `whole`: only where it was not
    cut at its length."""
    if reply.answered:
        if whole and reply.finish_reason == "length":
            return Held(how=How.UNFINISHED, why=f"cut at its length: {_shown(reply)}")
        return then(reply)
    if reply.outcome == REFUSED and OF_CONTEXT.search(reply.said):
        return unanswered(reply)
    if reply.outcome == REFUSED and reply.status in (*REFUSALS, None):
        return broken(f"refused: {excerpt(reply.said, characters=SHOWN)}")
    return unanswered(reply)


def refused(reply: Reply, named: Sequence[str]) -> Held:
    """Of a request that must be refused, by a text that has one of the words `named`."""
    if reply.answered:
        return Held(how=How.NOT_ENFORCED, why=f"answered: {_shown(reply)}")
    if reply.outcome == REFUSED and reply.status is None:
        said = excerpt(reply.said, characters=SHOWN)
        return Held(how=How.NOT_ENFORCED, why=f"refused behind a status of 200: {said}")
    if reply.outcome != REFUSED or reply.status not in REFUSALS:
        return unanswered(reply)
    said = excerpt(reply.said, characters=SHOWN)
    if OF_CONTEXT.search(reply.said):
        return unanswered(reply)
    if not any(_has(KEY.sub(" ", reply.said), name) for name in named):
        words = " or ".join(named)
        return Held(how=How.UNANSWERED, why=f"refused, and not for {words}: {said}")
    return kept(f"refused: {said}")


def unanswered(reply: Reply) -> Held:
    status = "" if reply.status is None else f" ({reply.status})"
    return Held(
        how=How.UNANSWERED, why=f"{reply.outcome}{status}: {excerpt(reply.said, characters=SHOWN)}"
    )


def _has(text: str, word: str) -> bool:
    """As a word of its own: an `n` is in many others."""
    pattern = rf"(?<![\w\\/]){re.escape(word)}(?![\w/])"
    return re.search(pattern, text, re.IGNORECASE) is not None


def _shown(reply: Reply) -> str:
    calls = ", ".join(f"{call.name}({call.arguments})" for call in reply.calls)
    text = reply.content or calls or reply.reasoning
    return excerpt(f"{reply.finish_reason}, {text!r}", characters=SHOWN)
