"""A slice of the fault zoo: faults that must be DIFFERENT, and what is benign and must not be."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest

from harness.checker.outcome import Word
from scripts.zoo import account, row
from scripts.zoo.row import Zoo
from scripts.zoo.rows import ROWS, SLICE

BY_NAME = {one.name: one for one in ROWS}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, trace_short: Path) -> Zoo:
    recorded: Future[Path] = Future()
    recorded.set_result(trace_short)
    return Zoo(tmp_path_factory.mktemp("zoo"), {("tiny-moe", "fp32"): recorded}, brief=True)


@pytest.mark.parametrize("name", SLICE)
def test_a_row_of_the_zoo_comes_out_right(zoo: Zoo, name: str) -> None:
    fault = BY_NAME[name]
    outcome = row.outcome(zoo, fault, lambda _: None)
    if fault.benign and outcome.level == "sampler":  # a short trace may leave it undecided
        assert outcome.word is Word.INCONCLUSIVE, outcome
        return
    assert account.wrong(fault, outcome, None) is None, outcome
    if not fault.benign:
        assert row.outcome(zoo, fault, lambda _: None) == outcome  # not done again
