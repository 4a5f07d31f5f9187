"""How an answer ended: with nothing said, or cut off."""

from __future__ import annotations

from harness.base.reply import Reply
from harness.checker.asked import Asked


def reasoning_only(reply: Reply, _: Asked) -> str | None:
    """It stopped of itself after its reasoning, and neither says nor calls anything."""
    if _silent(reply) and reply.reasoning.strip():
        return f"reasoning ends: {reply.reasoning.strip()[-80:]}"
    return None


def empty(reply: Reply, _: Asked) -> str | None:
    """It stopped of itself, and there is nothing at all; white space is nothing."""
    if _silent(reply) and not reply.reasoning.strip():
        tokens = (reply.usage or {}).get("completion_tokens")
        return "nothing" if tokens is None else f"nothing, of {tokens} tokens"
    return None


def truncated(reply: Reply, _: Asked) -> str | None:
    """It was cut off at a limit."""
    if reply.finish_reason == "length":
        return f"ends: {(reply.content.strip() or reply.reasoning.strip())[-80:]}"
    return None


def _silent(reply: Reply) -> bool:
    return reply.finish_reason == "stop" and not reply.content.strip() and not reply.calls
