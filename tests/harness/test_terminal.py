"""What others wrote does nothing to a terminal: no escape sequence, no markup, no second line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import terminal
from harness.base.errors import RequestError
from harness.cli import complain
from tests.test_report import HOSTILE, VERDICTS

EVIL = f"{HOSTILE}\x1b]0;title\x07\x9b2J [red]red[/red] [link=x]"


def shown(capsys: pytest.CaptureFixture[str], name: str) -> str:
    terminal.show(VERDICTS[name], Path("runs/x"))
    return capsys.readouterr().out


def test_hostile_texts_are_named_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = replace(VERDICTS["hostile"], reasons=(EVIL,), reference={"title": EVIL})
    terminal.show(verdict, Path("runs/x"))
    out = capsys.readouterr().out
    assert not set(out) & set("\x00\x07\x1b\x7f\x9b\u202e")
    assert "[red]red[/red] [link=x]" in out


def test_an_error_that_quotes_a_server_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    complain(RequestError(f"answered {EVIL}\nsecond line"))
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert err.splitlines()[-1] == "second line"


def test_progress_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.announcing() as announce:
        announce(EVIL)
    assert "\x1b" not in capsys.readouterr().err


def test_causes_and_what_narrowing_showed_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "different-L2")
    assert len([line for line in out.splitlines() if line.lstrip().startswith("may be")]) <= 3
    assert "may be" in out or "points to" in out
    assert "without part 0: the difference goes away" in out
    assert "without part 1: the difference is smaller, by 3.2" in out
    assert "to paste into an issue: runs/x/issue.md" in out


def test_every_level_has_a_line_asked_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "different-L2")
    for level in ("pin", "L0", "L2", "L1", "L2b", "sampler", "black box", "L3"):
        assert any(line.split("  ")[1:2] == [level] for line in out.splitlines()), level
    assert "to paste" not in shown(capsys, "equivalent")
