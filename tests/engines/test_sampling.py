"""The sampler audit of real engines: healthy ones, and ones whose requests are changed on their
way, as a faulty gateway does it. Faults by the engines' own flags: scripts/repeat_audits.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.candidate import Opened
from harness.checker.outcome import Word
from harness.client import Asker
from harness.levels import sampled
from harness.levels.state import Check
from harness.recording import Trace
from scripts.repeat_audits import Rewriting, checking


def audited(
    opened: Opened, trace: Path, instead: Mapping[str, Any] | None = None
) -> tuple[Word | None, list[str], Check]:
    with Rewriting(opened.url, instead or {}) as endpoint:
        changed = replace(opened, asker=Asker(endpoint, opened.asker.dialect))
        check = checking(Trace(trace), changed, None, "fp32", seed=0)
        word, reasons = sampled.run(check)
    assert check.tokens <= 20_000 or word is not Word.DIFFERENT
    return word, reasons, check


def arm(check: Check, name: str) -> dict[str, Any]:
    return next(a for a in check.findings["sampler"]["arms"] if a["arm"] == name)


def test_a_healthy_server_is_not_accused(vllm: Opened, trace: Path) -> None:
    word, reasons, check = audited(vllm, trace)
    assert word is not Word.DIFFERENT, reasons
    assert abs(arm(check, "unsent")["audit"]["temperature"]["value"] - 1.0) < 0.08
    assert arm(check, "sent")["plain"]["outside_nucleus"] <= 1


def test_another_temperature_is_found_and_estimated(sglang: Opened, trace: Path) -> None:
    word, reasons, check = audited(sglang, trace, {"temperature": 0.6})
    assert word is Word.DIFFERENT, reasons
    for name in ("sent", "unsent"):
        found = arm(check, name)["audit"]["temperature"]["value"]
        assert found == pytest.approx(0.6, abs=0.04), reasons


def test_a_top_k_that_nobody_asked_for_is_named(vllm: Opened, trace: Path) -> None:
    word, reasons, _ = audited(vllm, trace, {"top_k": 20})
    assert word is Word.DIFFERENT
    assert "unsent: top-k 20 is applied and nobody asked for it" in reasons


def test_a_penalty_that_counts_generated_tokens_alone_is_named(sglang: Opened, trace: Path) -> None:
    """As SGLang counts all of them: no answer of one token shows it."""
    word, reasons, check = audited(sglang, trace, {"repetition_penalty": 1.5})
    assert word is Word.DIFFERENT, reasons
    assert arm(check, "sent")["word"] is not Word.DIFFERENT
    assert "a repetition penalty" in " ".join(arm(check, "generated")["reasons"])


def test_the_reference_is_not_asked(reference: Opened, trace: Path) -> None:
    assert audited(reference, trace)[0] is None
