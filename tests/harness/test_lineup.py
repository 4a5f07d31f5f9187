"""Every candidate has a check of its own, and its failure is its own."""

from __future__ import annotations

import json
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from harness import lineup
from harness.base.errors import ConfigError
from harness.checker.outcome import Word
from harness.comparison import exit_code
from harness.levels.state import Settings
from harness.lineup import Entry
from harness.recording import Trace
from harness.together import How, check_against
from tests.building import answer, sequences, serving, write_trace

ENTRY = Entry(name="a-pin", title="a-pin", numerics="fp32")


def broken(handler: BaseHTTPRequestHandler) -> None:
    """A server that says it is vLLM, and fails at the first question."""
    known = {"/version": b'{"version": "0.32.0"}', "/v1/models": b'{"data": [{"id": "tiny"}]}'}
    answer(handler, 200 if handler.path in known else 500, known.get(handler.path, b"no"))


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_candidate_that_fails_has_its_own_reason_and_takes_no_other_with_it(
    tmp_path: Path, at_once: int
) -> None:
    write_trace(tmp_path / "x.trace", sequences(2))
    said: list[str] = []
    with serving(broken) as one, serving(broken) as other:
        rows = lineup.check_all(
            [Entry(name=url, title=url, numerics="fp32") for url in (one, other)],
            ["--against", str(tmp_path / "x.trace")],
            run=tmp_path / "run",
            at_once=at_once,
            announce=said.append,
        )
    assert [row.exit_code for row in rows] == [4, 4]
    for url, row in zip((one, other), rows, strict=True):
        assert row.word is None and row.tokens is None
        assert row.error is not None and row.error.startswith(url)
        assert "answered 500" in row.error
    assert lineup.pairs(tmp_path / "run", rows) == ()


@pytest.mark.parametrize(
    ("code", "meant"), [(0, 70), (1, 70), (3, 70), (-9, 70), (120, 70), (130, 4), (4, 4), (2, 2)]
)
def test_no_exit_code_is_a_verdict_where_none_was_written(
    tmp_path: Path, code: int, meant: int
) -> None:
    (tmp_path / "log").write_text("enginediff: it went wrong\n")
    row = lineup.row_of(ENTRY, code, tmp_path, tmp_path / "log")
    assert (row.word, row.exit_code, row.error) == (None, meant, "it went wrong")
    assert exit_code([replace(row, exit_code=0, word=Word.EQUIVALENT), row]) == meant


def test_what_goes_on_keeps_a_verdict_and_begins_a_check_that_was_stopped_anew(
    tmp_path: Path,
) -> None:
    write_trace(tmp_path / "x.trace", sequences(2))
    ended, stopped = (tmp_path / "run" / "candidates" / str(n) for n in (0, 1))
    for folder in (ended, stopped):
        folder.mkdir(parents=True)
        (folder / "engine.log").write_text("of an earlier day")
    verdict: dict[str, object] = {"verdict": "DIFFERENT", "level": "L2", "reasons": ["so"]}
    verdict |= {"numerics": "fp32", "tokens": 1, "seconds": 1.0, "launch_seconds": None}
    (ended / "verdict.json").write_text(json.dumps(verdict))
    with serving(broken) as url:
        rows = lineup.check_all(
            [Entry(name=url, title=url, numerics="fp32", options=("--seed", "3"))] * 2,
            ["--against", str(tmp_path / "x.trace")],
            run=tmp_path / "run",
            at_once=1,
            announce=print,
            go_on=True,
        )
    assert [row.word for row in rows] == [Word.DIFFERENT, None]
    assert rows[1].error is not None and "answered 500" in rows[1].error
    assert not (stopped / "engine.log").exists()


@pytest.mark.parametrize("code", [-15, 70, 130, 1, 3])
def test_a_check_that_dies_after_its_verdict_has_failed(tmp_path: Path, code: int) -> None:
    (tmp_path / "verdict.json").write_text('{"verdict": "EQUIVALENT"}')
    (tmp_path / "log").write_text("its last words\n")
    row = lineup.row_of(ENTRY, code, tmp_path, tmp_path / "log")
    assert row.word is None and row.error == "its last words"
    assert exit_code([row]) != 0


def test_a_folder_named_like_ours_where_the_user_stands_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("raise SystemExit(0)")
    monkeypatch.chdir(tmp_path)
    write_trace(tmp_path / "x.trace", sequences(2))
    with serving(broken) as url:
        (row,) = lineup.check_all(
            [Entry(name=url, title=url, numerics="fp32")],
            ["--against", str(tmp_path / "x.trace")],
            run=tmp_path / "run",
            at_once=1,
            announce=print,
        )
    assert row.error is not None and "answered 500" in row.error


def test_two_pins_that_take_the_gpus_do_not_run_side_by_side(tmp_path: Path) -> None:
    write_trace(tmp_path / "x.trace", sequences(2))
    pins = ("kimi-k2.6/vllm-h20-8x141gb", "kimi-k2.6/sglang-h20-8x141gb")
    how = How(
        changes=(),
        numerics=None,
        settings=Settings(seed=0, alpha=0.005, beta=0.005),
        live=None,
        narrow=None,
        at_once=2,
        run=tmp_path / "run",
        announce=print,
    )
    with pytest.raises(ConfigError, match=r"--at-once 2: .* one after another"):
        check_against(pins, Trace(tmp_path / "x.trace"), how)
    assert not (tmp_path / "run").exists()
