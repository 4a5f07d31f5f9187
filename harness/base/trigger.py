"""Whether an answer called a tool, as one run of one engine left it."""

from __future__ import annotations

from dataclasses import dataclass

CALLED = "tool_calls"  # the finish reason of an answer that calls
CUT = "length"  # of one that ended because it was long enough


def called(finish_reason: str | None) -> bool | None:
    """By its finish reason alone. None: nobody knows, for the answer failed, or never ended, or
    was cut off before it could call."""
    return None if finish_reason in (None, CUT) else finish_reason == CALLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One request. What is None is not known; a request that failed knows nothing."""

    case: str
    repeat: int  # 0, 1, ... where a case is asked several times
    finish_reason: str | None  # None: no whole answer came
    calls: int | None  # in the answer
    valid: bool | None  # whether every call fits its tool's schema; None where there is no call
    prompt_tokens: int | None  # as its usage tells them
    completion_tokens: int | None

    @property
    def key(self) -> tuple[str, int]:
        """What no two records of one run share."""
        return self.case, self.repeat

    @property
    def called(self) -> bool | None:
        return called(self.finish_reason)

    @property
    def contradicts_itself(self) -> bool:
        """Calls under another finish reason, or that finish reason and no call."""
        if self.called is None or self.calls is None:
            return False
        return self.called != (self.calls > 0)
