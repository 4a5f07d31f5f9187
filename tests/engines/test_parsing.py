"""The real parsers of three engines read every stream in every cutting, as their releases do.

Each is replayed once, and then kept; what is replayed with a wrong parser is kept as well.
"""

from __future__ import annotations

import pytest

from harness.checker import parsing
from harness.checker.parsing import Judgement
from launchers import environments, pins, replay
from launchers.model_files import silent
from suites import streams


def judged(name: str, *changes: str) -> Judgement:
    loaded = pins.load(name, changes)
    environments.build(loaded.pin.engine.environment, announce=silent)
    asked = replay.Asked(streams=streams.load(), markers=streams.MARKERS, tools=streams.TOOLS)
    found = replay.replayed(loaded, asked, silent)
    assert (found.version, found.unknown) == (loaded.pin.engine.version, ())
    return parsing.judge(asked.streams, found.answers, loaded.pin.serving.known_deviations)


@pytest.mark.parametrize(
    "name",
    ["tiny-moe/vllm-cpu", "tiny-moe/sglang-cpu", "tiny-moe/ktransformers-cpu-rawint4"],
)
def test_a_release_parses_as_its_pin_declares(name: str) -> None:
    said = judged(name)
    assert [deviation.told() for deviation in said.undeclared] == []
    assert said.unmet == ()
    assert said.declared


def test_a_wrong_reasoning_parser_is_seen_and_the_stream_named() -> None:
    said = judged("tiny-moe/vllm-cpu", "args.reasoning-parser=deepseek_r1")
    assert "plain-beside-tools" in {deviation.stream for deviation in said.undeclared}
