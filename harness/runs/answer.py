"""An answer as far as it has come, in few bytes a token, and where it can be gone on with."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any

HALF = "\N{REPLACEMENT CHARACTER}"  # an engine's text of a character of which more is to come


class Answer:
    """Parts put together. A generation that was cut is continued behind `safe` tokens.

    Safe is a place behind a part that brought text: a token that brought none may be the first
    half of a character, which an engine that is given the ids alone would begin in its middle. The
    last part is left out too: what stopped the generation is in it.
    """

    __slots__ = ("_safe_content", "_texts", "calls", "safe", "token_ids")

    def __init__(self) -> None:
        self._texts: dict[str, StringIO] = {}
        self.token_ids = array("i")
        self.calls: list[Mapping[str, Any]] = []
        self.safe = 0
        self._safe_content = 0  # characters

    def add(self, part: Mapping[str, Any]) -> None:
        """`part`: of `assembling.Stream.feed`."""
        for name, value in part.items():
            if name == "token_ids":
                self.token_ids.extend(value)
            elif name == "calls":
                self.calls += value
            else:
                self._texts.setdefault(name, StringIO()).write(value)
        content = part.get("content")
        if content and "token_ids" in part and "finish_reason" not in part and content[-1] != HALF:
            self.safe = len(self.token_ids)
            self._safe_content = self._texts["content"].tell()

    def cut(self) -> int:
        """Drops what stands behind the safe place; how many tokens are left."""
        content = self._texts.pop("content", None)
        kept = content.getvalue()[: self._safe_content] if content is not None else ""
        self._texts.clear()  # a raw answer has no other text, but for its finish_reason
        if kept:
            self._texts["content"] = StringIO()
            self._texts["content"].write(kept)
        del self.token_ids[self.safe :]
        return self.safe

    def clear(self) -> None:
        self.__init__()

    @property
    def finish_reason(self) -> str | None:
        found = self._texts.get("finish_reason")
        return None if found is None else found.getvalue()

    def whole(self) -> dict[str, Any]:
        """Texts and lists by name, those that came."""
        found: dict[str, Any] = {name: text.getvalue() for name, text in self._texts.items()}
        if self.token_ids:
            found["token_ids"] = self.token_ids.tolist()
        if self.calls:
            found["calls"] = called(self.calls)
        return found


def called(pieces: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The tool calls of a stream, by their index, each with its arguments' pieces joined."""
    found: dict[int, dict[str, str]] = {}
    for piece in pieces:
        known = found.setdefault(piece.get("index", 0), {"id": "", "name": "", "arguments": ""})
        function: Mapping[str, Any] = piece.get("function") or {}
        known["id"] = known["id"] or piece.get("id") or ""
        known["name"] = known["name"] or function.get("name") or ""
        known["arguments"] += function.get("arguments") or ""
    return [found[index] for index in sorted(found)]
