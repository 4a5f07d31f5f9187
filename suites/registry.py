"""The suites that a run can ask: a row each, made when asked for."""

from __future__ import annotations

from importlib import import_module

from harness.base.errors import ConfigError
from harness.base.suite import Suite

SUITES = {
    "tiny-tasks": "suites.tiny_tasks:chat",
    "tiny-tasks-raw": "suites.tiny_tasks:raw",
}


def suite(name: str) -> Suite:
    """The suite of that name; ConfigError where there is none."""
    if name not in SUITES:
        raise ConfigError(f"there is no suite {name!r}; known are {', '.join(SUITES)}")
    module, made_by = SUITES[name].split(":")
    return getattr(import_module(module), made_by)()
