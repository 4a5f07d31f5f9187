"""The corpus of the differential check: prompts of our own making, in strata.

`data/corpus.jsonl` is written by `scripts/make_corpus.py`. A stratum is a kind of prompt that a
fault may touch alone: chats, tools, thinking, long contexts, plain text, code.

`data/templates.jsonl` has the same form: chats that are rendered and never continued, one for each
thing that a template, or a server before it, may get wrong.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

from harness.base.case import Case, Chat
from harness.base.errors import ConfigError

SHIPPED = Path(__file__).parent / "data" / "corpus.jsonl"
TEMPLATES = SHIPPED.with_name("templates.jsonl")
KEYS = {"id", "stratum", "messages", "tools", "thinking", "text"}


def load(path: Path = SHIPPED) -> list[Case]:
    """All cases in the order of the file. ConfigError names the line that is wrong."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    cases = [_case(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise ConfigError(f"{path}: the id {case.id!r} occurs twice")
        seen.add(case.id)
    if not cases:
        raise ConfigError(f"{path}: holds no case")
    return cases


def fingerprint(path: Path = SHIPPED) -> str:
    """sha256 of the corpus file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _case(line: bytes, where: str) -> Case:
    try:
        value: Any = json.loads(line)
    except ValueError as error:  # not JSON, or not UTF-8
        raise ConfigError(f"{where}: is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: is {value!r}; it must be a JSON object")
    row = cast("dict[str, Any]", value)
    if set(row) != KEYS:
        raise ConfigError(f"{where}: has the keys {sorted(row)}; they must be {sorted(KEYS)}")
    if (row["messages"] is None) == (row["text"] is None):
        raise ConfigError(f"{where}: must have either messages or text, and not both")
    return Case(id=row["id"], stratum=row["stratum"], prompt=_prompt(row))


def _prompt(row: dict[str, Any]) -> Chat | str:
    if row["text"] is not None:
        return str(row["text"])
    tools = row["tools"]
    return Chat(
        messages=tuple(row["messages"]),
        tools=None if tools is None else tuple(tools),
        thinking=row["thinking"],
    )
