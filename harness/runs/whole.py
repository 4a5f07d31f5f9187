"""An answer that is not streamed, read when all of it has come. Pure.

It has the form of `assembling.Stream`, so that an attempt reads either in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from harness.runs.assembling import MOST_BYTES, REASONS, SHOWN, MalformedError, call
from harness.runs.hiding import hidden, loads


class Whole:
    """One answer, of the choices that were asked for."""

    __slots__ = ("_data", "_held", "_secret", "chunks", "done", "finish_reason", "usage")

    def __init__(self, secret: str = "") -> None:
        """`secret`: as `Stream`."""
        self._data: list[bytes] = []
        self._held = 0  # bytes
        self._secret = secret
        self.chunks = 0
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self.done = False

    def feed(self, data: bytes) -> dict[str, Any]:
        """Adds nothing before the end. Raises MalformedError."""
        self._data.append(data)
        self._held += len(data)
        if self._held > MOST_BYTES:
            came = hidden(b"".join(self._data), self._secret)
            raise MalformedError(f"an answer of more than {MOST_BYTES:,} bytes: {came[:80]!r}")
        return {}

    def end(self) -> dict[str, Any]:
        """All of it, as `Stream.feed` has it. Raises MalformedError."""
        data = b"".join(self._data)
        try:
            return self._read(loads(data, self._secret))
        except orjson.JSONDecodeError as error:
            raise MalformedError(f"200, and no JSON: {self._shown(data)}") from error
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise MalformedError(f"200, and no chat's answer: {self._shown(data)}") from error

    def _shown(self, data: bytes) -> str:
        return repr(hidden(data, self._secret)[:SHOWN])

    def _read(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Raises one of the errors above where it is not of the API's form."""
        choices = answer["choices"]
        choice = choices[0]
        message = choice["message"]
        usage = answer.get("usage")
        self.usage = usage if isinstance(usage, dict) else None
        texts = {
            "content": message.get("content"),
            "reasoning": message.get("reasoning") or message.get("reasoning_content"),
            "refusal": message.get("refusal"),
        }
        found: dict[str, Any] = {name: "" + text for name, text in texts.items() if text}
        if calls := message.get("tool_calls"):
            found["calls"] = [call({**one, "index": at}) for at, one in enumerate(calls)]
        if logprobs := choice.get("logprobs"):
            found["logprobs"] = list(logprobs["content"] or ())
        if len(choices) > 1:
            found["choices"] = len(choices)
        if (reason := choice.get("finish_reason")) is not None:
            self.finish_reason = found["finish_reason"] = "" + reason
        self.chunks = 1
        self.done = found["done"] = True  # so that it need not be asked again where we are killed
        return found

    def missing(self, *, ends_with_done: bool) -> str | None:
        """Why it is no whole answer; None: it is one."""
        del ends_with_done  # of streams
        if self.finish_reason is None:
            return "without finish_reason"
        if self.finish_reason not in REASONS:
            return f"with finish_reason {self.finish_reason!r}, which ends no answer"
        return None

    def stranger(self) -> bytes | None:
        """What came in place of an answer: None, for `end` has raised."""
        return None
