"""A raw answer of a model, and what an engine's parsers make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call as it ought to be parsed."""

    name: str
    arguments: Mapping[str, Any]
    id: str | None = None  # None: whichever, but the same however the answer is cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One raw answer, and what it holds. None: not laid down, but the same however it is cut."""

    id: str
    text: str  # after the prompt, which ends in `<think>`, or in `<think></think>`
    thinking: bool  # whether the prompt leaves `<think>` open
    tools: bool  # whether the request offers tools
    letters: bool  # every character is a token, or several: markers are spelt out too
    finish: str  # `stop`: the model ended it; `length`: it was cut off
    reasoning: str | None = None
    content: str | None = None
    calls: tuple[Call, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCall:
    """A tool call as a client gets it: all text, put together."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What became of a stream in some cuttings of it."""

    cuttings: tuple[str, ...]
    error: str | None  # what the server would have answered instead
    reasoning: str
    content: str
    calls: tuple[ParsedCall, ...]
