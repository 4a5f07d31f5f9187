"""What real engines do with more tokens than they take; one of them beside the reference's pool."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from harness import recorder, recording, session
from harness.base.case import Case
from harness.candidate import Opened
from harness.checker.tolerance import calibrate
from harness.levels import askable
from harness.recorder import Known
from harness.recording import Recorded, Token, Trace
from suites import corpus, long_contexts
from tests import building
from tests.checks import checking

TOO_LONG = 2100  # tokens: the pins of tiny-moe take 2 048


def quiet(_line: str) -> None:
    """Announces nothing."""


def write_trace(path: Path) -> Trace:
    """A sequence that every engine takes, and one that none does; their logprobs are made up."""
    rng = np.random.default_rng(1)
    rows: list[Recorded] = []
    for stratum, count in (("long-1k", 1600), ("long-2k", TOO_LONG)):
        ids = rng.integers(10, 200, count).tolist()
        logprobs = building.log_softmax(rng.normal(size=(count - 1, 200)))
        scores = building.top(logprobs, ids[1:], 4)
        case = Case(id=stratum, stratum=stratum, prompt="a " * count)
        rows.append(
            Recorded(case=case, token_ids=tuple(ids), prompt_tokens=count - 40, scores=scores)
        )
    pool = building.pool_of(rows)
    strata = [row.case.stratum for row in rows]
    manifest = {
        "top_k": 4,
        "model": {"name": "tiny-moe", "revision": "1", "tokenizer": None},
        "reference": {"title": "a reference", "pin": None, "identity": {}},
        "tolerances": [asdict(calibrate("fp32", pool, strata))],
    }
    words = {i: Token(text=f"w{i}", special=False) for i in range(200)}
    recording.write(path, manifest=manifest, sequences=rows, pool=pool, vocabulary=words)
    return Trace(path)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_what_is_longer_than_its_context_is_refused_in_words_and_can_be_rendered(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    opened: Opened = request.getfixturevalue(engine)
    trace = write_trace(tmp_path / "long.trace")
    with checking(opened, trace, tmp_path) as check:
        refused = askable.too_long(check)
    assert list(refused) == ["long-2k"], refused
    assert "its sequences have up to 2,100 tokens and the candidate refuses them (4" in str(refused)
    assert askable.rows(check) == [0]
    (rendered,) = opened.asker.render(["word " * 3000])
    assert len(rendered) > 2048


def test_vllm_beside_the_reference_widens_its_pool_and_long_prompts_are_as_long_as_asked(
    reference: Opened, vllm: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_contexts, "PROMPTS", 1)
    known = Known(title="vLLM beside", numerics="fp32", open=lambda: nullcontext(vllm))
    recorder.record(
        reference,
        corpus.load()[::160],
        corpus="every 160th",
        path=tmp_path / "x.trace",
        announce=quiet,
        classes=("fp32",),
        further=(known,),
        longest=2048,
    )
    trace = Trace(tmp_path / "x.trace")
    tolerances = session.tolerances_of(trace, "fp32")
    assert tolerances.implementations == ("transformers", "direct", "vllm")
    assert tolerances.configurations[-1] == "vLLM beside"
    assert tolerances.weakness is None
    (row,) = trace.members("long-2k")
    assert 1800 < trace.tokens_of[row] < 2048
