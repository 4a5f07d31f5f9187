"""What a trace fixes is what a check uses, unless it is told otherwise, and then it says so."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from harness import session
from harness.base.errors import ConfigError
from harness.checker.calibration import AGREED, changed, chosen, few_prompts, of_trace
from harness.recording import Trace
from tests import building

OWN = replace(AGREED, gamma=1.25, alpha=0.01, beta=0.02)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ((None, 0.0, None), "--alpha is 0.0"),
        ((None, 1.0, None), "--alpha is 1.0"),
        ((None, float("nan"), None), "--alpha is nan"),
        ((None, None, -1.0), "--beta is -1.0"),
        ((0.99, None, None), "--gamma is 0.99"),
        ((float("nan"), None, None), "--gamma is nan"),
        ((101.0, None, None), "--gamma is 101.0"),
    ],
)
def test_what_lies_out_of_bounds_is_refused_by_its_name(
    said: tuple[float | None, float | None, float | None], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        chosen(*said)


def test_what_is_not_said_stays_as_it_is() -> None:
    assert chosen(None, None, None) == AGREED
    assert chosen(1.25, 0.01, 0.02) == OWN
    assert chosen(None, None, 0.5, OWN) == replace(OWN, beta=0.5)


def test_the_table_survives_json_and_an_older_trace_has_none() -> None:
    table = json.loads(json.dumps(asdict(OWN)))
    assert of_trace({"calibration": table}, "x.trace") == OWN
    assert of_trace({}, "x.trace") == AGREED
    with pytest.raises(ConfigError, match=r"x\.trace: calibration"):
        of_trace({"calibration": {**table, "alpha": "small"}}, "x.trace")


def test_what_a_check_changes_is_said_and_nothing_else() -> None:
    assert changed(OWN, alpha=0.01, beta=0.02) == []
    assert changed(OWN, alpha=0.1, beta=0.02) == ["alpha is 0.1 in this check; the trace says 0.01"]
    other = replace(OWN, q=0.1)
    (said,) = changed(other, alpha=0.01, beta=0.02)
    assert said.startswith("the trace was recorded for q 0.1")


def test_few_prompts_are_said() -> None:
    assert few_prompts({"chat": 80, "code": 200}) == []
    assert "(code 79)" in few_prompts({"chat": 80, "code": 79})[0]


def test_a_check_takes_alpha_and_beta_from_its_trace_unless_told(tmp_path: Path) -> None:
    rows = building.sequences(3)
    building.write_trace(tmp_path / "own.trace", rows, calibration=asdict(OWN))
    building.write_trace(tmp_path / "old.trace", rows)
    own, old = Trace(tmp_path / "own.trace"), Trace(tmp_path / "old.trace")

    def agreed(trace: Trace | None, alpha: float | None = None) -> tuple[float, float]:
        settings = session.settings(trace, seed=3, alpha=alpha, beta=None)
        assert settings.seed == 3
        return settings.alpha, settings.beta

    assert agreed(own) == (0.01, 0.02)
    assert agreed(own, 0.1) == (0.1, 0.02)
    assert agreed(old) == agreed(None) == (0.005, 0.005)


def test_a_trace_says_what_it_cannot_support(tmp_path: Path) -> None:
    rows = building.sequences(80)
    building.write_trace(tmp_path / "strong.trace", rows)
    assert session.weaknesses(Trace(tmp_path / "strong.trace")) == []
    table = {"numerics": "bf16", "weakness": "its benign pool holds 1 implementation(s)"}
    building.write_trace(tmp_path / "weak.trace", rows[:3], tolerances=[table])
    pool, few = session.weaknesses(Trace(tmp_path / "weak.trace"))
    assert pool == f"weak.trace cannot support EQUIVALENT for bf16: {table['weakness']}"
    assert "chat 3" in few
