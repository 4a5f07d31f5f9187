"""What a prefill cannot show, with real engines: an fp8 KV cache under MLA, a live reference."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from harness import candidate
from harness.base.errors import LaunchError, RequestError
from harness.candidate import Opened
from harness.checker.outcome import Word
from harness.levels import consistency, decoded, forced
from harness.recording import Trace
from tests.checks import checking

CURE = 'args.compilation-config.custom_ops=["none"]'


def test_an_fp8_cache_under_mla_passes_every_prefill_and_is_met_by_the_first_decode(
    trace_k2: Path, tmp_path: Path
) -> None:
    """MLA's prefill attends to fresh keys; vLLM's decode kernel on a CPU ends at an fp8 one."""
    name, changes = "tiny-k2/vllm-cpu", ('args.kv-cache-dtype="fp8"', CURE)
    log = tmp_path / "log"
    with (
        suppress(LaunchError),  # it is seen to be dead by then, or a moment later
        candidate.opened(
            name, candidate.prepared(name, changes), log=log, announce=lambda _: None
        ) as opened,
        checking(opened, Trace(trace_k2), tmp_path) as check,
    ):
        word, reasons = forced.run(check)
        assert word is Word.EQUIVALENT, reasons
        with pytest.raises(RequestError):
            consistency.run(check)
    assert "expected scalar type Float but found Float8_e4m3fn" in log.read_text()


def test_what_a_healthy_server_decodes_is_what_a_live_reference_supports(
    vllm: Opened, reference: Opened, trace: Path, tmp_path: Path
) -> None:
    with checking(vllm, Trace(trace), tmp_path, reference) as check:
        word, reasons = decoded.run(check)
    assert word is Word.EQUIVALENT, reasons
    assert check.tokens <= decoded.BUDGET
