"""The suites that a run can ask: a row each, made when asked for."""

from __future__ import annotations

from importlib import import_module

from harness.base.errors import ConfigError
from harness.base.suite import Given, Suite

SUITES = {
    "tiny-tasks": "suites.tiny_tasks:chat",
    "tiny-tasks-raw": "suites.tiny_tasks:raw",
    "parameters": "suites.parameters:suite",
    "thinking-history": "suites.thinking_history:suite",
    "features": "suites.features:suite",
    "tool-schemas": "suites.tool_calls:shipped",
    "tool-schemas-walle": "suites.tool_calls:walle",
    "prompt-tokens": "suites.prompt_tokens:of_file",
    "prompt-tokens-kimi-k3": "suites.prompt_tokens:kimi_k3",
    "ending": "suites.ending:suite",
    "tool-trigger": "suites.trigger:suite",
}


def suite(given: Given) -> Suite:
    """The suite of that name. ConfigError where there is none, or it lacks what it is made of."""
    if given.name not in SUITES:
        raise ConfigError(f"there is no suite {given.name!r}; known are {', '.join(SUITES)}")
    module, made_by = SUITES[given.name].split(":")
    return getattr(import_module(module), made_by)(given)
