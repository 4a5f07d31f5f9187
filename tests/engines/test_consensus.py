"""Three real engines without a reference: who stands alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engines.command_line import run

BROKEN, RIGHT = "tiny-k2/vllm-cpu", "tiny-k2/sglang-cpu"


@pytest.mark.timeout(900)
def test_without_a_reference_the_odd_one_of_three_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    names = (RIGHT, BROKEN, "tiny-k2/reference")
    done = run("check", *names, "--consensus", "--run", folder, "--json", timeout=600)
    result = json.loads(done.stdout)
    assert result["headline"] == f"{BROKEN} stands alone.", done.stderr
    assert done.returncode == 1
    assert [row["word"] for row in result["rows"]] == ["INCONCLUSIVE", "DIFFERENT", "INCONCLUSIVE"]
