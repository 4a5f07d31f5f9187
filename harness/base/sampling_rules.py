"""What a model's vendor allows it to be asked, and what it offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

THINKING, INSTANT = "thinking", "instant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Of one family of models."""

    family: str
    default: str  # the mode of a request that says nothing
    modes: Mapping[str, Mapping[str, float]]  # mode -> sampling parameter -> its only value
    always: Mapping[str, float]  # sampling parameter -> its only value, in every mode
    asked_by: Mapping[str, Mapping[str, Any]]  # mode, served or not -> the fields that ask for it
    efforts: tuple[str, ...]  # of thinking, in the field reasoning_effort
    dynamic_tools: bool  # a system message may declare tools
