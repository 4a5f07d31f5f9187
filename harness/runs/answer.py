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

    __slots__ = (
        "_bare",
        "_safe_content",
        "_texts",
        "calls",
        "choices",
        "done",
        "finish_reason",
        "logprobs",
        "safe",
        "token_ids",
    )

    def __init__(self) -> None:
        self._texts: dict[str, StringIO] = {}
        self.token_ids = array("i")
        self.calls: list[Mapping[str, Any]] = []
        self.logprobs: list[Any] = []
        self.choices = 1
        self.finish_reason: str | None = None
        self.done = False  # [DONE] came
        self._bare = False  # some text had no token ids: it cannot be gone on with
        self.safe = 0
        self._safe_content = 0  # characters

    def add(self, part: Mapping[str, Any]) -> None:
        """`part`: of `assembling.Stream.feed`."""
        for name, value in part.items():
            if name == "token_ids":
                self.token_ids.extend(value)
            elif name == "calls":
                self.calls += value
            elif name == "logprobs":
                self.logprobs += value
            elif name == "choices":
                self.choices = max(self.choices, value)
            elif name == "finish_reason":
                self.finish_reason = value
            elif name == "done":
                self.done = True
            elif name not in ("half", "bare"):
                self._texts.setdefault(name, StringIO()).write(value)
        self._bare |= "bare" in part
        content = part.get("content")
        if self._bare:
            self.safe = 0
        elif content and "half" not in part and self.finish_reason is None and content[-1] != HALF:
            self.safe = len(self.token_ids)
            self._safe_content = self._texts["content"].tell()

    def cut(self) -> int:
        """Drops what stands behind the safe place; how many tokens are left."""
        if self.safe == 0:
            self.clear()
            return 0
        kept, ids = self._texts["content"].getvalue()[: self._safe_content], self.token_ids
        safe, characters = self.safe, self._safe_content
        self.clear()
        self.add({"content": kept, "token_ids": ids[:safe]})
        self.safe, self._safe_content = safe, characters
        return safe

    def clear(self) -> None:
        self.__init__()

    def whole(self) -> dict[str, Any]:
        """Texts and lists by name, those that came."""
        found: dict[str, Any] = {name: text.getvalue() for name, text in self._texts.items()}
        if self.token_ids:
            found["token_ids"] = self.token_ids.tolist()
        if self.calls:
            found["calls"] = called(self.calls)
        if self.logprobs:
            found["logprobs"] = self.logprobs
        if self.choices > 1:
            found["choices"] = self.choices
        if self.finish_reason is not None:
            found["finish_reason"] = self.finish_reason
        return found


def called(pieces: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The tool calls of a stream, by their index, each with its arguments' pieces joined."""
    found: dict[int, dict[str, str]] = {}
    arguments: dict[int, list[str]] = {}
    for piece in pieces:
        index, function = piece["index"], piece["function"]
        known = found.setdefault(index, {"id": "", "name": ""})
        known["id"] = known["id"] or piece["id"] or ""
        known["name"] = known["name"] or function["name"] or ""
        arguments.setdefault(index, []).append(function["arguments"] or "")
    return [{**found[index], "arguments": "".join(arguments[index])} for index in sorted(found)]
