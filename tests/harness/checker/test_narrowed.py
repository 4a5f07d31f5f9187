"""What a toggle did is told by the largest excess before and after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.checker.narrowed import Effect, effect, excess
from harness.checker.outcome import Word
from tests.harness.checker.test_diagnosis import row

BEFORE = (row("text", "K", 418.0), row("text", "A", 2.9))
D, E, U = Word.DIFFERENT, Word.EQUIVALENT, Word.INCONCLUSIVE


@pytest.mark.parametrize(
    ("after", "word", "expected"),
    [
        ((row("text", "K", 0.2), row("text", "A", 0.1)), E, Effect.GONE),
        ((row("text", "K", 0.9),), U, Effect.GONE),  # few prompts show no EQUIVALENT
        ((row("text", "K", 0.2), row("text", "A", 1.4)), U, Effect.SMALLER),
        ((row("text", "K", 100.0),), D, Effect.SMALLER),
        ((row("text", "K", 400.0),), D, Effect.STAYS),
        ((row("text", "K", 9000.0),), D, Effect.STAYS),
        ((), None, Effect.UNKNOWN),
        ((replace(row("text", "K", 1.0), raw=None),), U, Effect.UNKNOWN),
    ],
)
def test_a_toggle_s_effect(after: tuple[object, ...], word: Word | None, expected: Effect) -> None:
    found, _, why = effect(BEFORE, after, word)  # type: ignore[arg-type]
    assert found is expected
    assert why


def test_how_much_smaller_it_is_and_of_what() -> None:
    _, factor, why = effect(BEFORE, (row("code", "K", 41.8),), D)
    assert factor == pytest.approx(10)
    assert "418 times a tolerance (text K)" in why
    assert "41.8 times (code K)" in why


def test_a_level_that_drew_nothing_has_no_excess() -> None:
    assert excess(()) is None
