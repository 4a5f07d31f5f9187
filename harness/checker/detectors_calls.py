"""What is wrong with an answer's tool calls, by what was declared."""

from __future__ import annotations

from collections.abc import Callable, Generator

from harness.base.arguments import Kind, parameters, wrong
from harness.base.errors import ConfigError
from harness.base.reply import Call, Reply
from harness.base.strict_json import parsed
from harness.checker.asked import Asked
from harness.checker.property_order import reordered


def of_kind(kind: Kind) -> Callable[[Reply, Asked], str | None]:
    """Finds the first call that is wrong in that way. The last call of an answer that was cut off
    may be no JSON: that is the limit's doing."""

    def found(reply: Reply, asked: Asked) -> str | None:
        for call in _whole(reply):
            try:
                fault = wrong(call, asked.tools)
            except ConfigError:  # `unjudged` tells
                continue
            if fault is not None and fault.kind is kind:
                return fault.why if kind is Kind.UNKNOWN_NAME else f"{call.name}: {fault.why}"
        return None

    return found


def unjudged(reply: Reply, asked: Asked) -> str | None:
    """A call whose tool's own declaration is at fault: of the request, that is, not the answer."""
    for call in reply.calls:
        try:
            wrong(call, asked.tools)
        except ConfigError as error:
            return str(error)
    return None


def reordered_properties(reply: Reply, asked: Asked) -> str | None:
    """The arguments' properties stand in another order than the schema's; it breaks nothing."""
    for call in reply.calls:
        try:
            schema = parameters(asked.tools).get(call.name)
            order = reordered(parsed(call.arguments), schema)
        except (ConfigError, ValueError, RecursionError):  # `of_kind` and `unjudged` tell
            continue
        if order is not None:
            return f"{call.name}: {order}"
    return None


def _whole(reply: Reply) -> Generator[Call]:
    """All calls but one that was cut off."""
    for at, call in enumerate(reply.calls, 1):
        if reply.finish_reason != "length" or at < len(reply.calls) or _is_json(call.arguments):
            yield call


def _is_json(text: str) -> bool:
    try:
        parsed(text)
    except ValueError:
        return False
    except RecursionError:
        return True
    return True
