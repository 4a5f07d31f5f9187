"""The sampler audit of real engines: healthy ones, and ones whose requests are changed on their
way, as a faulty gateway does it. Faults by the engines' own flags: scripts/repeat_audits.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import session
from harness.candidate import Opened
from harness.checker.outcome import LevelResult, Word
from harness.client import Asker, Endpoint
from harness.evidence import written
from harness.levels import sampled
from harness.levels.state import Check, Settings
from harness.recording import Trace
from launchers.dialect import Reply, Request


class Rewriting(Endpoint):
    """An endpoint whose requests are changed on their way to a real engine."""

    def __init__(self, url: str, instead: Mapping[str, Any]) -> None:
        super().__init__(url)
        self._instead = instead

    def ask(self, request: Request, *, timeout_s: float | None = None) -> Reply:
        body = dict(request.body or {})
        if "sampling_params" in body:  # SGLang's own
            body["sampling_params"] = [{**one, **self._instead} for one in body["sampling_params"]]
        else:
            body |= self._instead
        return super().ask(replace(request, body=body), timeout_s=timeout_s)


def audited(
    opened: Opened, trace: Path, folder: Path, instead: Mapping[str, Any] | None = None
) -> tuple[Word | None, list[str], Check]:
    with (
        Rewriting(opened.url, instead or {}) as endpoint,
        written(folder / "e.parquet") as evidence,
    ):
        recorded = Trace(trace)
        check = Check(
            opened=replace(opened, asker=Asker(endpoint, opened.asker.dialect)),
            trace=recorded,
            tolerances=session.tolerances_of(recorded, "fp32"),
            settings=Settings(seed=0, alpha=0.005, beta=0.005),
            evidence=evidence,
            announce=lambda _: None,
        )
        check.texts = {i: token.text for i, token in recorded.vocabulary().items()}
        check.levels.append(
            LevelResult(
                level="L2", title="", word=Word.EQUIVALENT, reasons=(), tokens=0, seconds=0.0
            )
        )
        word, reasons = sampled.run(check)
    assert check.tokens <= 20_000 or word is not Word.DIFFERENT
    return word, reasons, check


def arm(check: Check, name: str) -> dict[str, Any]:
    return next(a for a in check.findings["sampler"]["arms"] if a["arm"] == name)


def test_a_healthy_server_is_not_accused(vllm: Opened, trace: Path, tmp_path: Path) -> None:
    word, reasons, check = audited(vllm, trace, tmp_path)
    assert word is not Word.DIFFERENT, reasons
    assert abs(arm(check, "unsent")["audit"]["temperature"]["value"] - 1.0) < 0.08
    assert arm(check, "sent")["plain"]["outside_nucleus"] <= 1


def test_another_temperature_is_found_and_estimated(
    sglang: Opened, trace: Path, tmp_path: Path
) -> None:
    word, reasons, check = audited(sglang, trace, tmp_path, {"temperature": 0.6})
    assert word is Word.DIFFERENT, reasons
    for name in ("sent", "unsent"):
        found = arm(check, name)["audit"]["temperature"]["value"]
        assert found == pytest.approx(0.6, abs=0.04), reasons


def test_a_top_k_that_nobody_asked_for_is_named(vllm: Opened, trace: Path, tmp_path: Path) -> None:
    word, reasons, _ = audited(vllm, trace, tmp_path, {"top_k": 20})
    assert word is Word.DIFFERENT
    assert "unsent: top-k 20 is applied and nobody asked for it" in reasons


def test_a_penalty_that_counts_generated_tokens_alone_is_named(
    sglang: Opened, trace: Path, tmp_path: Path
) -> None:
    """As SGLang counts all of them: no answer of one token shows it."""
    word, reasons, check = audited(sglang, trace, tmp_path, {"repetition_penalty": 1.5})
    assert word is Word.DIFFERENT, reasons
    assert arm(check, "sent")["word"] is not Word.DIFFERENT
    assert "a repetition penalty" in " ".join(arm(check, "generated")["reasons"])


def test_the_reference_is_not_asked(reference: Opened, trace: Path, tmp_path: Path) -> None:
    assert audited(reference, trace, tmp_path)[0] is None
