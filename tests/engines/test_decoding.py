"""What a prefill cannot show, with real engines: an fp8 KV cache under MLA, a live reference."""

from __future__ import annotations

from pathlib import Path

from harness import session
from harness.candidate import Opened
from harness.checker.outcome import Word
from harness.evidence import written
from harness.levels import decoded
from harness.levels.state import Check, Settings
from harness.recording import Trace
from tests.engines.command_line import run

CURE = 'args.compilation-config.custom_ops=["none"]'


def test_an_fp8_cache_under_mla_passes_every_prefill_and_is_met_by_the_first_decode(
    trace_k2: Path,
) -> None:
    """MLA's prefill attends to fresh keys; vLLM's decode kernel on a CPU ends at an fp8 one."""
    fp8 = ("--set", 'args.kv-cache-dtype="fp8"', "--set", CURE)
    done = run("check", "tiny-k2/vllm-cpu", *fp8, "--against", trace_k2, "--every-level", "--json")
    prefill = [line for line in done.stderr.splitlines() if line.startswith("L2: ")]
    assert "evidence for DIFFERENT 10^-" in prefill[-1]  # the last of them that was printed
    assert (done.returncode, done.stdout) == (4, "")
    assert not any(line.startswith("L1: ") for line in done.stderr.splitlines())
    log = done.stderr.split("\nlog: ")[1].split(",")[0]
    assert "expected scalar type Float but found Float8_e4m3fn" in Path(log).read_text()


def test_what_a_healthy_server_decodes_is_what_a_live_reference_supports(
    vllm: Opened, reference: Opened, trace: Path, tmp_path: Path
) -> None:
    opened = Trace(trace)
    with written(tmp_path / "evidence.parquet") as evidence:
        check = Check(
            opened=vllm,
            trace=opened,
            tolerances=session.tolerances_of(opened, "fp32"),
            settings=Settings(seed=0, alpha=0.005, beta=0.005),
            evidence=evidence,
            announce=lambda _: None,
            live=reference,
        )
        word, reasons = decoded.run(check)
    assert word is Word.EQUIVALENT, reasons
    assert check.tokens <= decoded.BUDGET
