"""What a request asked, for who looks at its answer; and what of a text is not its author's."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from harness.base.arguments import Tools

CODE = re.compile(r"```.*?```|~~~.*?~~~|`[^`\n]*`", re.DOTALL)  # closed: what is left open may leak


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The messages, and all tools that a call may name, whichever way they were declared."""

    messages: Sequence[Any]  # of a request that is wrong they may be anything
    tools: Tools | None  # None: there were none

    def text(self) -> str:
        """Every string that the model could read, and names of properties too."""
        return "\n".join(_strings([list(self.messages), list(self.tools or ())]))

    @property
    def text_alone(self) -> bool:
        """Whether no message has a part that is no text: a picture may hold any words."""
        return all(_is_text(part) for message in self.messages for part in _parts(message))


def without_code(text: str) -> str:
    """Where code stands, a space: in it, anything may be shown without being said."""
    return CODE.sub(" ", text)


def _parts(message: Any) -> list[Any]:
    if not isinstance(message, Mapping):
        return []
    content = cast("Mapping[str, Any]", message).get("content")
    return cast("list[Any]", content) if isinstance(content, list) else []


def _is_text(part: Any) -> bool:
    return not isinstance(part, Mapping) or cast("Mapping[str, Any]", part).get("type") == "text"


def _strings(value: Any) -> Generator[str]:
    left: list[Any] = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            table = cast("Mapping[str, Any]", one)
            left.extend([*table.values(), *table.keys()])
        elif isinstance(one, list):
            left.extend(cast("list[Any]", one))
