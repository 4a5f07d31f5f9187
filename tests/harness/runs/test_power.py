"""What GPUs draw while an engine is asked: in the journal, and then in a file of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from harness.runs import journal, power
from harness.runs.journal import Journal
from harness.runs.results import gathered
from harness.runs.writer import Writer
from hw_profiles.reading import Maybe, Unknown
from tests.harness.runs.made_up import answered, cases, journalled, suite
from tests.harness.runs.test_results import asked_of


def test_power_is_sampled_with_no_value_for_what_a_gpu_does_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "EVERY_S", 0.01)
    reads = list[int]()

    def read() -> list[Maybe[float]]:
        reads.append(1)
        return [412.34, Unknown(reason="GPU is lost")]

    async def sampled() -> None:
        writer = Writer(opened, lambda: 7.0, print)
        writing = asyncio.create_task(writer.run())
        sampling = asyncio.create_task(power.sample(writer, read))
        while len(reads) < 3:
            await asyncio.sleep(0.01)
        sampling.cancel()
        writing.cancel()
        await asyncio.gather(sampling, writing, return_exceptions=True)

    path = tmp_path / "journal.jsonl"
    with Journal(path) as opened:
        asyncio.run(sampled())
    lines = list(journal.read(path))
    assert len(lines) >= 2
    assert lines[0] == {"kind": "power", "at": 7.0, "watts": [412.3, None]}


def test_what_was_sampled_stands_beside_the_answers_of_its_node(tmp_path: Path) -> None:
    sample = {"kind": "power", "at": 1.5, "watts": [300.0, None]}
    lines = [sample, *answered(0, "t0"), {**sample, "at": 2.5}]
    far = journalled(tmp_path / "records" / "1-e" / "b.jsonl", lines)
    near = journalled(tmp_path / "records" / "1-e" / "a.jsonl", answered(1, "t1"))
    gathered(asked_of("1-e", {"a": near, "b": far}), cases(suite(2)), tmp_path)
    written = (tmp_path / "power" / "1-e" / "b.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line) for line in written] == [
        {"schema": 1, "at": 1.5, "watts": [300.0, None]},
        {"schema": 1, "at": 2.5, "watts": [300.0, None]},
    ]
    assert not (tmp_path / "power" / "1-e" / "a.jsonl").exists()
