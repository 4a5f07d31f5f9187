"""Narrowing is tried where it is cheap or asked for, and cannot cost a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness import narrowing
from harness.base.errors import LaunchError
from harness.checker.narrowed import Effect, Narrowing
from harness.checker.outcome import StatisticRow, Word
from harness.levels.state import Settings
from harness.narrowing import Narrower
from harness.recording import Trace
from harness.session import tolerances_of
from harness.verdict import Verdict
from launchers import pins
from launchers.dialect import Toggle
from tests.building import sequences, write_trace
from tests.test_report import VERDICTS

DIFFERENT = replace(VERDICTS["different-L2"], narrowing=None)


@pytest.fixture
def how(tmp_path: Path) -> Narrower:
    write_trace(tmp_path / "x.trace", sequences(2))
    trace = Trace(tmp_path / "x.trace")
    return Narrower(
        name="tiny-moe/vllm-cpu",
        loaded=pins.load("tiny-moe/vllm-cpu"),
        trace=trace,
        tolerances=tolerances_of(trace, "fp32"),
        settings=Settings(seed=0, alpha=0.005, beta=0.005),
        run=tmp_path / "run",
        announce=lambda _: None,
    )


def answering(
    monkeypatch: pytest.MonkeyPatch, answer: Exception | tuple[Word, list[StatisticRow]]
) -> list[tuple[str, int]]:
    """What is asked of the engine is answered so; gives what was asked: toggle, most prompts."""
    asked: list[tuple[str, int]] = []

    def ask(
        number: int, toggle: Toggle, level: str, most: int, how: Narrower
    ) -> tuple[Word, Sequence[StatisticRow]]:
        del number, level, how
        asked.append((toggle.name, most))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(narrowing, "_asked_again", ask)
    return asked


@pytest.mark.parametrize(
    ("verdict", "asked", "why"),
    [
        (replace(DIFFERENT, level="L0"), True, "L0 is exact"),
        (replace(DIFFERENT, level="sampler"), None, "draws"),
        (DIFFERENT, False, "--no-narrow"),
        (replace(DIFFERENT, launch_seconds=61.0), None, "takes 61 s"),
    ],
)
def test_what_is_not_tried_says_why(
    verdict: Verdict,
    asked: bool | None,
    why: str,
    how: Narrower,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launches = answering(monkeypatch, LaunchError("never"))
    found = narrowing.narrow(verdict, asked, how)
    assert found is not None
    assert why in (found.note or "")
    assert (found.rows, launches) == ((), [])


def test_nothing_is_narrowed_unless_it_is_different(how: Narrower) -> None:
    assert narrowing.narrow(VERDICTS["equivalent"], True, how) is None


def test_somebody_else_s_server_is_not_relaunched(how: Narrower) -> None:
    found = narrowing.narrow(DIFFERENT, True, replace(how, loaded=None))
    assert found is not None
    assert "cannot be started" in (found.note or "")


def test_a_slow_launch_is_repeated_when_it_is_asked_for(
    how: Narrower, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches = answering(
        monkeypatch, (Word.EQUIVALENT, [calm(row) for row in DIFFERENT.statistics])
    )
    narrowing.narrow(replace(DIFFERENT, launch_seconds=1000.0), True, how)
    assert len(launches) == 2


def calm(row: StatisticRow) -> StatisticRow:
    return replace(row, raw=row.tolerance / 2, value=row.tolerance / 2)


def test_each_toggle_is_tried_on_as_many_prompts_as_it_took(
    how: Narrower, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches = answering(
        monkeypatch, (Word.EQUIVALENT, [calm(row) for row in DIFFERENT.statistics])
    )
    found = narrowing.narrow(DIFFERENT, None, how)
    most = max(row.units for row in DIFFERENT.statistics if row.level == "L2")
    assert launches == [
        ("without the prefix cache", most),
        ("without its own compiled operators", most),
    ]
    assert isinstance(found, Narrowing)
    assert [row.effect for row in found.rows] == [Effect.GONE, Effect.GONE]


def test_an_engine_that_does_not_start_with_a_toggle_is_a_row(
    how: Narrower, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, LaunchError("vLLM ended with code 1\n  Traceback …"))
    found = narrowing.narrow(DIFFERENT, None, how)
    assert found is not None
    assert [row.effect for row in found.rows] == [Effect.UNKNOWN, Effect.UNKNOWN]
    assert found.rows[0].why == "it failed: vLLM ended with code 1"
