"""Several real engines against one reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engines.command_line import run, shown_right

TWO = ("tiny-moe/vllm-cpu", "tiny-moe/ktransformers-cpu-bf16")


@pytest.mark.timeout(900)  # launches on a loaded machine
def test_engines_are_launched_and_judged_each_by_its_promise(
    trace_bf16: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    done = run("check", *TWO, "--against", trace_bf16, "--run", folder, "--json", timeout=900)
    result = json.loads(done.stdout)
    rows = result["rows"]
    assert [row["numerics"] for row in rows] == ["fp32", "bf16"]
    for row in rows:
        verdict = json.loads((folder / row["report"]).with_name("verdict.json").read_text())
        shown_right(verdict, row["exit_code"])
    assert (done.returncode, result["word"]) in ((0, "EQUIVALENT"), (3, "INCONCLUSIVE"))
    assert [(pair["first"], pair["second"]) for pair in result["pairs"]] == [(0, 1)]
    page = (folder / "report.html").read_text()
    for row in rows:
        assert row["report"] in page
        assert (folder / row["report"]).is_file()
