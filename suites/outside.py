"""Data from outside, which is not ours to ship: `scripts/fetch_data.py` fetches it.

walle           JSON schemas for tool parameters, each judged by the vendor's validator
prompt_tokens   requests, each with the number of prompt tokens that the vendor counts
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.base.errors import ConfigError

VARIABLE = "ENGINEDIFF_DATA"
NAMES = ("walle", "prompt_tokens")


def folder(name: str) -> Path | None:
    """The folder of the data called `name`; None where the variable is unset or has no such data.

    Raises ConfigError where the variable names something that is no folder.
    """
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    if not Path(value).is_dir():
        raise ConfigError(f"{VARIABLE} is {value}; it must be a folder that is there")
    found = Path(value) / name
    return found if found.is_dir() else None


def required(name: str, suite: str) -> Path:
    """The same, for a suite that is made of it. Raises ConfigError where it is not here."""
    found = folder(name)
    if found is None:
        raise ConfigError(
            f"suites: {suite}: the data {name!r} is not here; {VARIABLE} must name the folder that "
            "scripts/fetch_data.py has filled"
        )
    return found
