"""The pin level: one difference is enough, and what was not reported is said."""

from __future__ import annotations

from harness.checker.outcome import Word
from harness.levels import configured
from launchers.running import Comparison, Difference

DTYPE = Difference(key="dtype (numerics fp32)", pinned="float32", running="float16")


def found(*differences: Difference, unreported: tuple[str, ...] = ()) -> Comparison:
    return Comparison(
        equal=("engine.version", "args.seed"), differences=differences, unreported=unreported
    )


def test_one_difference_is_different_and_is_the_reason() -> None:
    assert configured.judged(found(DTYPE, unreported=("args.x",))) == (
        Word.DIFFERENT,
        ["dtype (numerics fp32): the pin says float32, the engine runs float16"],
    )


def test_what_was_compared_and_what_was_not_reported_is_said() -> None:
    assert configured.judged(found(unreported=("args.x", "args.y"))) == (
        Word.EQUIVALENT,
        ["as pinned: engine.version, args.seed", "not reported by the engine: args.x, args.y"],
    )
    assert configured.judged(found()) == (
        Word.EQUIVALENT,
        ["as pinned: engine.version, args.seed"],
    )
