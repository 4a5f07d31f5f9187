"""Answers of several engines: who is named, who is not, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import consensus, recording
from harness.base.case import Case
from harness.base.errors import LaunchError, RequestError
from harness.base.record import Scores
from harness.checker.outcome import Word
from harness.comparison import Row, failed
from harness.consensus import Answers, Member
from harness.recording import Recorded, Trace
from tests.building import sequences

ALPHA = 0.005
PROMPTS = 60


def shifted(recorded: Recorded, by: float, rng: np.random.Generator) -> Recorded:
    """The same tokens, their logprobs further down by about `by`."""
    own = recorded.scores
    logprobs = own.logprobs - by * rng.gamma(2.0, 0.5, len(own.logprobs))
    scores = Scores(logprobs=logprobs, top_ids=own.top_ids, top_logprobs=own.top_logprobs)
    return replace(recorded, scores=scores)


def answered(folder: Path, offs: dict[str, float]) -> tuple[list[Answers], list[Case]]:
    """An engine for each name, so far off from the same truth, on the same sequences."""
    rows = sequences(PROMPTS // 2)
    rng = np.random.default_rng(8)
    answers: list[Answers] = []
    for name, off in offs.items():
        path = folder / f"{name}.trace"
        own = [shifted(row, off, rng) for row in rows]
        recording.write(path, manifest={}, sequences=own, pool=[], vocabulary={})
        answers.append(
            Answers(
                member=Member(name=name, title=name, numerics="fp32", pin=None),
                rendered=tuple(row.token_ids[: row.prompt_tokens] for row in rows),
                trace=Trace(path),
                tokens=100,
                seconds=1.0,
                launch_seconds=None,
            )
        )
    return answers, [row.case for row in rows]


def told(answers: list[Answers], cases: list[Case]) -> list[Row]:
    finding = consensus.judged(answers, cases, ALPHA)
    return [consensus.row_of(place, answers, finding) for place in range(len(answers))]


def test_the_one_that_lies_far_from_two_that_agree_is_named(tmp_path: Path) -> None:
    rows = told(*answered(tmp_path, {"a": 1e-6, "b": 1.0, "c": 1e-6}))
    assert [row.word for row in rows] == [Word.INCONCLUSIVE, Word.DIFFERENT, Word.INCONCLUSIVE]
    assert consensus.headline(rows) == "b stands alone."
    assert "mean |d| to a and c" in rows[1].reasons[0]
    assert "agreement, not correctness" in rows[0].reasons[0]
    assert [row.exit_code for row in rows] == [3, 1, 3]


def test_engines_that_agree_are_not_called_equivalent(tmp_path: Path) -> None:
    rows = told(*answered(tmp_path, dict.fromkeys("abc", 1e-6)))
    assert {row.word for row in rows} == {Word.INCONCLUSIVE}
    assert consensus.headline(rows).startswith("Nobody stands alone")


def test_the_distance_of_a_pair_is_weighed_by_tokens(tmp_path: Path) -> None:
    answers, cases = answered(tmp_path, {"a": 0.0, "b": 0.5, "c": 0.5})
    finding = consensus.judged(answers, cases, ALPHA)
    apart = [
        answers[0].trace[row].scores.logprobs - answers[1].trace[row].scores.logprobs
        for row in range(len(cases))
    ]
    assert finding.pairs[0].mean_absolute_d == pytest.approx(np.abs(np.concatenate(apart)).mean())
    assert finding.pairs[0].tokens == len(np.concatenate(apart))


def test_another_rendering_than_the_majoritys_is_named_with_its_cases(tmp_path: Path) -> None:
    answers, cases = answered(tmp_path, dict.fromkeys("abc", 1e-6))
    other = tuple((1, *ids) for ids in answers[2].rendered)
    rows = told([*answers[:2], replace(answers[2], rendered=other)], cases)
    assert (rows[2].word, rows[2].level) == (Word.DIFFERENT, "L0")
    assert cases[0].id in rows[2].reasons[0] and f"{PROMPTS} of {PROMPTS}" in rows[2].reasons[0]
    assert rows[0].word is Word.INCONCLUSIVE


def test_where_all_render_otherwise_nobody_is_named(tmp_path: Path) -> None:
    answers, cases = answered(tmp_path, dict.fromkeys("abc", 1e-6))
    prefixed = [
        replace(a, rendered=tuple((place, *ids) for ids in a.rendered))
        for place, a in enumerate(answers)
    ]
    assert {row.word for row in told(prefixed, cases)} == {Word.INCONCLUSIVE}


def test_a_logprob_that_is_no_number_is_an_error_with_a_name(tmp_path: Path) -> None:
    answers, cases = answered(tmp_path, {"a": 0.0, "b": float("inf"), "c": 0.0})
    with pytest.raises(RequestError, match=r"b: its logprob of case .* not a finite number"):
        consensus.judged(answers, cases, ALPHA)


def test_an_engine_that_failed_is_no_word() -> None:
    row = failed("x", "fp32", "The engine died", LaunchError.exit_code)
    assert (row.word, row.exit_code, row.error) == (None, 4, "The engine died")
