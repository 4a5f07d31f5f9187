"""L2b with two toy engines, one of them the live reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import RequestError
from harness.base.record import Floats
from harness.checker.outcome import Word
from harness.levels import decoded
from harness.levels.state import Check
from harness.recording import Trace
from tests.checks import checking
from tests.toy_engine import Moment, Toy, opened, trace_of


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return trace_of(tmp_path_factory.mktemp("trace") / "toy.trace", 60)


def asked(toy: Toy, trace: Trace, folder: Path) -> tuple[Word | None, list[str], Check]:
    with (
        opened(Toy()) as reference,
        opened(toy) as candidate,
        checking(candidate, trace, folder, live=reference) as check,
    ):
        word, reasons = decoded.run(check)
        return word, reasons, check


def test_without_a_live_reference_nothing_is_asked(trace: Trace, tmp_path: Path) -> None:
    toy = Toy()
    with opened(toy) as candidate, checking(candidate, trace, tmp_path) as check:
        found = decoded.run(check)
    assert found == (None, ["there is no live reference (--live keeps it running)"])
    assert toy.asked == 0


def test_a_healthy_engine_generates_what_the_reference_supports(
    trace: Trace, tmp_path: Path
) -> None:
    word, reasons, check = asked(Toy(), trace, tmp_path)
    assert word is Word.EQUIVALENT, reasons
    assert reasons[-1].endswith("greedy continuations are the reference's own")
    assert check.findings["L2b"]["diverged"] == 0
    assert 0 < check.tokens <= decoded.BUDGET


def test_a_fault_that_only_decoding_has_is_found(trace: Trace, tmp_path: Path) -> None:
    def bend(moment: Moment, logits: Floats) -> Floats:
        return logits * (0.8 if moment.generating else 1.0)

    word, reasons, _ = asked(Toy(bend=bend), trace, tmp_path)
    assert word is Word.DIFFERENT
    assert reasons[0].startswith(("greedy: ", "sampled: "))


def test_choices_that_are_not_the_best_are_found_by_the_margin_alone(
    trace: Trace, tmp_path: Path
) -> None:
    """Its logprobs are right to the last bit; it takes the second best where it says greedy."""
    toy = Toy(choose=lambda logprobs: int(logprobs.argsort()[-2]))
    word, reasons, check = asked(toy, trace, tmp_path)
    assert word is Word.DIFFERENT
    assert reasons[0].startswith("greedy margin: ")
    worst = check.findings["L2b"]["divergences"][0]
    assert worst["position"] == 0
    assert worst["margin"] > 0


def test_an_engine_that_dies_while_it_generates_is_no_verdict(trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        asked(Toy(dies_after=20), trace, tmp_path)
