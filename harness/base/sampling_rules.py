"""What a model's vendor allows it to be asked, and what it offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

THINKING, INSTANT = "thinking", "instant"
LOOP, ALL = "loop", "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What becomes of the reasoning that a chat brings back, when the model thinks."""

    rendered: str  # of its own: LOOP, that of the tool calls since the last answer; or ALL
    keep: Mapping[str, Any] | None = None  # the fields that ask for ALL; None: nothing asks for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Of one family of models."""

    family: str
    default: str  # the mode of a request that says nothing
    modes: Mapping[str, Mapping[str, float]]  # mode -> sampling parameter -> its only value
    always: Mapping[str, float]  # sampling parameter -> its only value, in every mode
    asked_by: Mapping[str, Mapping[str, Any]]  # mode, served or not -> the fields that ask for it
    forced: tuple[str, ...]  # tool choices that it serves while it thinks: "required", "named"
    efforts: tuple[str, ...]  # of thinking, in the field reasoning_effort
    dynamic_tools: bool  # a system message may declare tools
    history: History | None  # None: nothing is known of it
