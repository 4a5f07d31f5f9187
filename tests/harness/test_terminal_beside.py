"""What must be seen beside the verdict: a weak pool, the error on the model's own scale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import terminal
from harness.verdict import caveats
from tests.harness.test_verdict import STRONG
from tests.test_report import built

WEAK = "its benign pool holds 1 implementation(s)"


def test_a_pool_that_cannot_support_equivalent_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show(built(0.5, 80, weak=WEAK), Path("run"))
    assert f"this trace cannot support EQUIVALENT: {WEAK}" in capsys.readouterr().out
    terminal.show(built(0.5, 80), Path("run"))
    assert "cannot support" not in capsys.readouterr().out


def test_the_error_over_the_references_own_is_said_in_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    verdict = built(0.5, 80)
    strata = [
        {"stratum": name, "ratio": ratio}
        for name, ratio in (("chat", 0.9), ("code", 3.14), ("text", None))
    ]
    levels = tuple(
        replace(level, findings={"strata": strata} if level.level == "L2" else {})
        for level in verdict.levels
    )
    terminal.show(replace(verdict, levels=levels), Path("run"))
    said = "against fp32 its error is 0.9 to 3.1 times (code) that of the reference itself in bf16"
    assert said in " ".join(capsys.readouterr().out.split())
    terminal.show(verdict, Path("run"))
    assert "reference itself" not in capsys.readouterr().out


def test_what_a_check_changed_is_a_caveat() -> None:
    changed = "alpha is 0.1 in this check; the trace says 0.005"
    lines = caveats(STRONG, "fp32", attached=False, rendered_by=None, further=(changed,))
    assert changed in lines
