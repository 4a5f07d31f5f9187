"""What came of one request, as its client sees it: an answer, a refusal, or neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANSWERED = "answered"
COUNTS = 1 << 32  # of tokens, from here on, are none: no sum of them is to leave 64 bits
REFUSED = "refused"  # for good: `status` and `said` tell how; no status: in a stream, behind a 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool call, its arguments as the model wrote them."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The last attempt's. `outcome` is ANSWERED only where the whole answer came."""

    outcome: str  # ANSWERED, REFUSED, or the kind of failure that it is: "stalled", "server", ...
    status: int | None = None  # of HTTP; None: nothing answered
    said: str = ""  # of what is no answer, its text
    reasoning: str = ""
    content: str = ""
    calls: tuple[Call, ...] = ()
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None  # None: the engine counts nothing
    logprobs: tuple[Any, ...] = ()  # of the answer's tokens, as the API has them
    choices: int = 1  # that came; all but the first are left out here

    @property
    def answered(self) -> bool:
        return self.outcome == ANSWERED


def token_count(usage: Mapping[str, Any] | None, name: str) -> int | None:
    """None: it does not stand there, or is what no count can be."""
    count = (usage or {}).get(name)
    return count if type(count) is int and 0 <= count < COUNTS else None
