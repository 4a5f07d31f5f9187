"""A request's reply, of the fields that are kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.base.reply import Call, Reply


def reply(kept: Mapping[str, Any]) -> Reply:
    """`kept`: a line of `answers/`, or of a journal's end with what came before it."""
    return Reply(
        outcome=kept["outcome"],
        status=kept.get("status"),
        said=kept.get("why", ""),
        reasoning=kept.get("reasoning", ""),
        content=kept.get("content", ""),
        calls=tuple(Call(**call) for call in kept.get("calls", ())),
        finish_reason=kept.get("finish_reason"),
        usage=kept.get("usage"),
        logprobs=tuple(kept.get("logprobs", ())),
        choices=kept.get("choices", 1),
    )
