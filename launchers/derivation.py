"""`--set KEY=VALUE`: single keys of a pin's table changed, before it is read as a pin."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Sequence
from typing import Any, cast

from harness.base.errors import ConfigError
from launchers.command import SECRET_VARIABLE


def apply(table: dict[str, Any], change: str) -> None:
    """Changes `table` in place; raises ConfigError where the key leads nowhere."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {change}: must be KEY=VALUE, as in --set args.dtype=bfloat16")
    parts = key.split(".")
    place: dict[str, Any] = table
    for part in parts[:-1]:
        inner = place.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {change}: {part!r} is a value, not a table")
        place = cast("dict[str, Any]", inner)
    place[parts[-1]] = _value(text)


def shown(change: str) -> str:
    """The change as a reader may see it: a secret's value is ***."""
    key, equals, _ = change.partition("=")
    secret = SECRET_VARIABLE.search(key.rpartition(".")[2]) if key.startswith("env.") else None
    return f"{key}=***" if equals and secret else change


def _value(text: str) -> object:
    """A TOML value, or JSON (`{"rope_theta": 2e4}`), or else the text as it stands."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return copy.copy(json.loads(text))
    except json.JSONDecodeError:
        return text


def sets(changes: Sequence[str], prefix: str) -> bool:
    """Whether one of the changes is of this key, or of one that begins so."""
    return any(change.split("=")[0].startswith(prefix) for change in changes)
