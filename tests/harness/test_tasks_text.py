"""`enginediff compare`: what a person and a program read, and the exit code."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import ConfigError
from harness.base.scored import Scored
from harness.cli import app
from tests.scored_records import once, repeated, write

Output = pytest.CaptureFixture[str]


def compare(
    folder: Path, reference: list[Scored], candidate: list[Scored], *options: str
) -> int | None:
    files = [
        str(write(folder / name, records))
        for name, records in (("reference.jsonl", reference), ("candidate.jsonl", candidate))
    ]
    return app(["compare", *files, *options], standalone_mode=False)


def test_worse_and_better_are_different_and_exit_1(tmp_path: Path, capsys: Output) -> None:
    good, bad = once([1.0] * 80), once([1.0] * 50 + [0.0] * 30)
    assert compare(tmp_path, good, bad) == 1
    assert capsys.readouterr().out.startswith("DIFFERENT  s, worse (-37.5 pt, 30 lost and 0 won")
    assert compare(tmp_path, bad, good, "--sequential") == 1
    assert capsys.readouterr().out.startswith("DIFFERENT  s, better (+37.5 pt, 0 lost and 30 won")


def test_no_difference_is_inconclusive_and_never_exits_0(tmp_path: Path, capsys: Output) -> None:
    same = once([1.0] * 900 + [0.0] * 100)
    assert compare(tmp_path, same, same, "--margin", "0.03") == 3
    shown = capsys.readouterr().out
    assert shown.startswith("INCONCLUSIVE  scores do not show a difference")
    assert "not worse by more than 3 pt in any suite" in shown
    assert "EQUIVALENT" not in shown
    assert compare(tmp_path, [], []) == 3
    assert capsys.readouterr().out.startswith("INCONCLUSIVE  no case is on both sides")


def test_a_table_stands_for_each_suite_with_its_name_as_it_is(
    tmp_path: Path, capsys: Output
) -> None:
    reference = [*once([1.0, 0.0, 1.0], "[bold]ocr[/]"), *repeated([[1.0, 0.0]] * 3, "aime")]
    candidate = [*once([1.0, 1.0, None], "[bold]ocr[/]"), *repeated([[1.0, 1.0]] * 3, "aime")]
    compare(tmp_path, reference, candidate)
    shown = capsys.readouterr().out
    assert "  [bold]ocr[/]\n" in shown and "  aime\n" in shown
    assert "p (exact McNemar)" in shown and "p (sign flips, cases whole)" in shown
    assert "66.7 .. 100.0" in shown  # what failed is worth anything from 0 to 1
    assert "+0.0 .. +33.3 pt" in shown
    assert "failed requests: reference 0, candidate 1, of 3" in shown


def test_json_is_one_strict_object_with_everything(tmp_path: Path, capsys: Output) -> None:
    good, bad = once([1.0] * 80), once([1.0] * 50 + [0.0] * 30)
    assert compare(tmp_path, good, bad, "--json", "--margin", "0.05", "--alpha", "0.01") == 1

    def refuse(name: str) -> float:
        raise AssertionError(name)

    found: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=refuse)
    (suite,) = found["suites"]
    assert (found["verdict"], found["different"], found["within_margin"]) == (
        "DIFFERENT",
        ["s"],
        False,
    )
    assert found["question"] == {"alpha": 0.01, "margin": 0.05, "sequential": False}
    assert (suite["cases"], suite["lost"], suite["direction"]) == (80, 30, "worse")
    assert suite["p"] == pytest.approx(2 * math.pow(2, -30))
    assert suite["difference"] == pytest.approx([-0.375, -0.375])
    assert compare(tmp_path, [], [], "--json") == 3
    json.loads(capsys.readouterr().out, parse_constant=refuse)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alpha", "0"], r"--alpha is 0\.0; it must lie between 0 and 1"),
        (["--margin", "1.5"], r"--margin is 1\.5"),
        (["--margin", "nan"], "--margin is nan"),
    ],
)
def test_a_bad_option_is_refused(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(tmp_path, once([1.0]), once([1.0]), *options)
    with pytest.raises(ConfigError, match=r"absent\.jsonl: cannot be read"):
        app(["compare", "absent.jsonl", "absent.jsonl"], standalone_mode=False)
