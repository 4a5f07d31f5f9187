"""KTransformers: kt-kernel's experts on the CPU, behind a fork of SGLang whose language it speaks.

Read in sglang-kt and kt-kernel 0.7.2: the fork's /tokenize renders no chats and its server says
version 0.0.0.dev0, so launchers/shims/ktransformers answers both; its parser takes any word for
`--kt-method`, and one that kt_kernel/experts.py does not list ends the engine when the first layer
is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import orjson

from launchers.dialect import Toggle
from launchers.pins import LoadedPin
from launchers.process import Command
from launchers.running import Reported
from launchers.sglang import SglangLauncher, toggles
from launchers.sglang_dialect import SglangDialect

VERSION, RENDER = "/enginediff/version", "/enginediff/render"  # launchers/shims/ktransformers
KV_CACHE = re.compile(r"Using KV cache dtype: torch\.(\w+)")


class KtransformersLauncher:
    """As SGLang is started; the experts' weights come from the model's own folder."""

    ready_path = "/health"
    questions = ("/server_info", VERSION)

    def command(self, loaded: LoadedPin, *, python: Path, port: int) -> Command:
        command = SglangLauncher().command(loaded, python=python, port=port)
        weights = ("--kt-weight-path", str(loaded.model_path))
        return replace(command, argv=(*command.argv, *weights))

    def dialect(self, loaded: LoadedPin) -> SglangDialect:
        return dialect(loaded.pin.model.name)

    def bit_equal(self, loaded: LoadedPin) -> str | None:
        return SglangLauncher().bit_equal(loaded)

    def reported(self, answers: Mapping[str, bytes], log: str) -> Reported:
        """The fork's log does not say what its checkpoint is, as SGLang's does."""
        found = KV_CACHE.search(log)
        version = answers.get(VERSION)
        return replace(
            SglangLauncher().reported(answers, log),
            version=None if version is None else orjson.loads(version)["version"],
            kv_cache_dtype=None if found is None else found[1],
            quantization=orjson.loads(answers["/server_info"])["quantization"],
        )

    def toggles(self, loaded: LoadedPin) -> tuple[Toggle, ...]:
        return toggles(loaded, ("args.disable-cuda-graph=true",))


def dialect(model: str) -> SglangDialect:
    """That of its fork of SGLang, with the two questions that our shim answers."""
    return SglangDialect(
        model=model, engine="ktransformers", identity_path=VERSION, render_path=RENDER
    )
