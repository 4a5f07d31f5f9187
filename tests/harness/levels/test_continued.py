"""Whole answers of a toy engine, drawn and then scored by another that is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.base.record import Floats
from harness.checker import sampler
from harness.checker.outcome import Word
from harness.checker.sampler import Audit
from harness.levels import continued, prefixes, sampled
from harness.recording import Trace
from tests.checks import checking
from tests.toy_engine import Moment, Toy, opened, trace_of

BENIGN = 1e-6  # nats a draw
FEW = 400  # draws: enough for gross faults
LISTED = 16


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return trace_of(tmp_path_factory.mktemp("trace") / "toy.trace", 100, LISTED)


def sharp(_: Moment, logits: Floats) -> Floats:
    """Nearly all mass on the listed tokens."""
    return logits * 1.3


def audited(toy: Toy, trace: Trace, folder: Path) -> Audit:
    """Of what continued.draws comes back with, at temperature 1 and top-p .95."""
    with (
        opened(toy) as candidate,
        opened(Toy(bend=sharp, listed=LISTED)) as right,
        checking(candidate, trace, folder, live=right) as check,
    ):
        found = prefixes.candidates(check, as_text=False)
        drawn = continued.draws(check, right.asker, found, sampled.SENT, sampled.AS_SENT, most=FEW)
    assert drawn is not None
    assert drawn.counts.shape == (len(drawn.prefixes.logprobs), LISTED + 1)
    assert (drawn.counts.sum(axis=1) == 1).all()
    assert drawn.tokens <= 9_000
    slack = sampler.slack(drawn.counts, np.full(len(drawn.counts), BENIGN))
    evidence = sampler.weigh(
        drawn.prefixes,
        drawn.counts,
        sampled.AS_SENT,
        slack=slack,
        most=slack,
        alpha=0.00025,
        beta=0.005,
        once=True,
    )
    return sampler.audit(drawn.prefixes, drawn.counts, evidence, slack, once=True)


def test_a_healthy_sampler_is_not_accused_and_its_temperature_is_read_off(
    trace: Trace, tmp_path: Path
) -> None:
    audit = audited(Toy(bend=sharp, listed=LISTED), trace, tmp_path)
    assert audit.word is not Word.DIFFERENT
    assert audit.temperature.low <= 1.0 <= audit.temperature.high
    assert (audit.top_k, audit.min_p, audit.push) == (0, 0.0, 0.0)


def test_another_temperature_is_found_and_told(trace: Trace, tmp_path: Path) -> None:
    audit = audited(Toy(bend=sharp, listed=LISTED, warmer=0.7), trace, tmp_path)
    assert audit.word is Word.DIFFERENT
    assert audit.temperature.value == pytest.approx(0.7, abs=0.1)


def test_a_penalty_that_adds_up_is_named(trace: Trace, tmp_path: Path) -> None:
    audit = audited(Toy(bend=sharp, listed=LISTED, pushes=1.5), trace, tmp_path)
    assert audit.word is Word.DIFFERENT
    assert audit.push == pytest.approx(1.5, abs=0.5)
