"""The engines that can be launched: a row each, imported when asked for."""

from __future__ import annotations

from importlib import import_module

from harness.base.errors import ConfigError
from launchers.dialect import Launcher

LAUNCHERS = {
    "ktransformers": "launchers.ktransformers:KtransformersLauncher",
    "reference": "launchers.reference:ReferenceLauncher",
    "sglang": "launchers.sglang:SglangLauncher",
    "vllm": "launchers.vllm:VllmLauncher",
}


def launcher(engine: str) -> Launcher:
    """The launcher of `engine`; ConfigError where there is none."""
    if engine not in LAUNCHERS:
        raise ConfigError(f"engine.name is {engine!r}; known are {', '.join(LAUNCHERS)}")
    module, name = LAUNCHERS[engine].split(":")
    return getattr(import_module(module), name)()
