"""One thing asked of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A conversation to be rendered by the engine's own chat template, ready for the answer."""

    messages: tuple[Mapping[str, Any], ...]  # as in the OpenAI chat API
    tools: tuple[Mapping[str, Any], ...] | None
    thinking: bool | None  # the template's variable `thinking`; None: not passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One prompt of the corpus: a chat, or raw text that is to be continued."""

    id: str
    stratum: str
    prompt: Chat | str
