"""One word of several levels, and what must be said with it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from harness.checker.outcome import LevelResult, Word
from harness.checker.tolerance import ClassTolerances
from harness.verdict import Verdict, caveats, combine, exit_code, to_json
from tests.building import TOLERANCE

STRONG = ClassTolerances(
    numerics="fp32",
    configurations=tuple("abcdefg"),
    implementations=("one", "two"),
    gamma=2.0,
    weakness=None,
    strata=(TOLERANCE,),
)
WEAK = "its benign pool holds 1 implementation(s)"


def levels(words: tuple[Word, ...]) -> list[LevelResult]:
    return [
        LevelResult(level=f"L{i}", title="", word=word, reasons=(), tokens=0, seconds=0.0)
        for i, word in enumerate(words)
    ]


@pytest.mark.parametrize("words", list(product(Word, repeat=3)))
@pytest.mark.parametrize("weakness", [None, WEAK])
def test_every_combination_of_three_levels(words: tuple[Word, ...], weakness: str | None) -> None:
    word, level = combine(levels(words), weakness)
    if Word.DIFFERENT in words:
        assert (word, level) == (Word.DIFFERENT, f"L{words.index(Word.DIFFERENT)}")
    elif Word.INCONCLUSIVE in words:
        assert (word, level) == (Word.INCONCLUSIVE, f"L{words.index(Word.INCONCLUSIVE)}")
    elif weakness is not None:
        assert (word, level) == (Word.INCONCLUSIVE, "pool")
    else:
        assert (word, level) == (Word.EQUIVALENT, "L1")


@pytest.mark.parametrize("weakness", [None, WEAK])
def test_no_level_at_all_is_inconclusive(weakness: str | None) -> None:
    assert combine([], weakness) == (Word.INCONCLUSIVE, "L0")


def test_a_level_that_equivalent_needs_and_nobody_asked_is_inconclusive() -> None:
    asked = levels((Word.EQUIVALENT, Word.EQUIVALENT, Word.EQUIVALENT))
    for needed in range(3):
        unasked = [replace(r, word=None) if i == needed else r for i, r in enumerate(asked)]
        assert combine(unasked, None) == (Word.INCONCLUSIVE, f"L{needed}")


def test_each_word_has_its_exit_code() -> None:
    assert {word.value: exit_code(word) for word in Word} == {
        "EQUIVALENT": 0,
        "DIFFERENT": 1,
        "INCONCLUSIVE": 3,
    }


def test_the_caveats_say_what_the_error_rates_rest_on() -> None:
    lines = caveats(STRONG, "fp32", attached=False, rendered_by=None)
    assert "7 benign configurations of 2 implementations" in lines[0]
    assert any("fewer than 5% of sequences" in line for line in lines)
    assert not any("--numerics" in line or "cannot support" in line for line in lines)


def test_a_server_of_unknown_promise_and_a_weak_pool_are_said() -> None:
    assert any(
        "judged as bf16" in line
        for line in caveats(STRONG, "bf16", attached=True, rendered_by=None)
    )
    weak = caveats(replace(STRONG, weakness=WEAK), "fp32", attached=False, rendered_by=None)
    assert weak[-1] == f"this trace cannot support EQUIVALENT: {WEAK}"


def test_renderings_of_another_engine_are_said() -> None:
    lines = caveats(STRONG, "fp32", attached=False, rendered_by="kimi/vllm")
    assert any("as kimi/vllm renders them, and L0 says only" in line for line in lines)


def test_a_verdict_is_one_line_of_json_with_its_run() -> None:
    whole = Verdict(
        schema=1,
        verdict=Word.INCONCLUSIVE,
        level="pool",
        candidate={},
        reference={},
        numerics="fp32",
        reasons=("two\nlines",),
        caveats=(),
        tokens=0,
        seconds=0.5,
        launch_seconds=None,
        alpha=0.005,
        beta=0.005,
        seed=0,
        every_level=False,
        live=None,
        levels=(),
        statistics=(),
        tolerances={},
        breakdown={},
        worst_segment=None,
        diagnosis=(),
        narrowing=None,
        reproduction=None,
        provenance={},
    )
    line = to_json(whole, Path("runs/x"))
    assert line.count(b"\n") == 1
    table = json.loads(line)
    assert (table["schema"], table["verdict"], table["run"]) == (1, "INCONCLUSIVE", "runs/x")
    assert table["launch_seconds"] is None
