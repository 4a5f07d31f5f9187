"""The main job with a real KTransformers' int4 experts: healthy, and taken for another model.

Its bf16 experts are checked in test_candidates.py.
"""

from __future__ import annotations

from pathlib import Path

from harness import session, verdict
from harness.candidate import Opened
from harness.checker.outcome import LevelResult, Word
from harness.levels.state import Settings
from harness.recording import Trace
from harness.verdict import NEEDED
from tests.engines.command_line import run

RAWINT4 = "tiny-moe/ktransformers-cpu-rawint4"


def judged(
    opened: Opened, path: Path, numerics: str, file: Path
) -> tuple[Word, str, dict[str, LevelResult]]:
    """The word of a running engine against a trace, the level that decided, and every level."""
    trace = Trace(path)
    tolerances = session.tolerances_of(trace, numerics)
    settings = Settings(seed=0, alpha=0.005, beta=0.005)
    state, _ = session.checked(
        opened, trace, tolerances, settings, file=file, announce=lambda _: None
    )
    word, level = verdict.combine(state.levels, tolerances.weakness)
    return word, level, {found.level: found for found in state.levels}


def test_int4_experts_are_equivalent_to_the_reference_on_the_same_dequantised_weights(
    ktransformers_int4: Opened, trace_int4: Path, tmp_path: Path
) -> None:
    word, level, levels = judged(
        ktransformers_int4, trace_int4, "int4-weights", tmp_path / "evidence.parquet"
    )
    for name in ("pin", *NEEDED):
        assert levels[name].word is Word.EQUIVALENT, levels[name]
    # So short a trace has few prefixes that tell a sampler's top-p apart in bf16.
    assert (word, level) in ((Word.EQUIVALENT, "L1"), (Word.INCONCLUSIVE, "sampler"))


def test_int4_experts_are_different_from_the_model_that_they_were_made_of(
    ktransformers_int4: Opened, trace_bf16: Path, tmp_path: Path
) -> None:
    word, level, levels = judged(
        ktransformers_int4, trace_bf16, "bf16", tmp_path / "evidence.parquet"
    )
    assert (word, level) == (Word.DIFFERENT, "L2"), levels


def test_an_int4_promise_is_refused_against_a_reference_without_int4_weights() -> None:
    done = run("check", RAWINT4, "--against", "tiny-moe/reference")
    assert done.returncode == 2
    assert "int4-weights" in done.stderr


def test_an_int4_pin_is_refused_against_a_trace_of_the_model_that_it_was_made_of(
    trace_bf16: Path,
) -> None:
    done = run("check", RAWINT4, "--set", "numerics=bf16", "--against", trace_bf16)
    assert done.returncode == 2
    assert "tiny-moe-int4" in done.stderr
