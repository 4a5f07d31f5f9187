"""What a journal comes to: what failed stays in the denominator, and nothing counts twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from typer.testing import CliRunner

from harness.base import scored
from harness.cli import app
from harness.runs import results
from harness.runs.plan import Cases
from harness.runs.results import EngineRow, gathered, wilson
from tests.harness.runs.made_up import answered, cases, failed, journalled, suite


def asked_of(name: str, journals: dict[str, Path], secret: str = "") -> results.Asked:
    """All that ended counts."""
    return results.Asked(
        name=name,
        engine="e",
        hash=None,
        journals=journals,
        counted=lambda _node, _n: True,
        secret=secret,
    )


def gather(folder: Path, lines: list[dict[str, Any]], made: Cases, name: str = "1-e") -> EngineRow:
    path = journalled(folder / "records" / name / "local.jsonl", lines)
    asked = asked_of(name, {"local": path})
    return gathered(asked, made, folder)


def fourteen_of_twenty() -> list[dict[str, Any]]:
    """14 right, 2 wrong, 4 failed."""
    lines: list[dict[str, Any]] = []
    for n in range(16):
        lines += answered(n, f"t{n}" if n < 14 else "wrong", late_s=0.25 * n)
    for n, outcome in zip(range(16, 20), ["stalled", "refused", "stalled", "engine"], strict=True):
        lines += failed(n, outcome)
    return lines


def test_fourteen_right_and_four_failed_of_twenty_are_seventy_per_cent(tmp_path: Path) -> None:
    row = gather(tmp_path, fourteen_of_twenty(), cases(suite(20)))
    (found,) = row.suites
    assert (found.points, found.over, found.score) == (14.0, 20, 0.70)
    assert found.failed == {"stalled": 2, "refused": 1, "engine": 1}
    assert (row.answered, row.over, row.complete, row.late_worst_s) == (16, 20, True, 3.75)


def test_what_is_not_over_is_no_result_and_nothing_over_is_no_score(tmp_path: Path) -> None:
    lines = [
        *answered(0, "t0"),
        *answered(1, "t1")[:2],  # whole, and its end not written
        *failed(2, "stalled")[:1],
        {"kind": "ended", "n": 2, "outcome": "stalled", "final": False},
    ]
    row = gather(tmp_path, lines, cases(suite(3), suite(2, name="later")))
    first, second = row.suites
    assert (first.over, first.score, first.failed) == (1, 1.0, {})
    assert (second.over, second.score, second.low, second.high) == (0, None, None, None)
    assert not row.complete
    nothing = gathered(
        asked_of("2-e", {"local": tmp_path / "absent.jsonl"}),
        cases(suite(3)),
        tmp_path,
    )
    assert (nothing.over, nothing.suites[0].score) == (0, None)
    assert scored.read(tmp_path / "scores" / "2-e.jsonl") == ()


def test_all_that_failed_is_no_point_and_not_no_data(tmp_path: Path) -> None:
    (found,) = gather(tmp_path, failed(0, "refused"), cases(suite(1))).suites
    assert (found.score, found.low) == (0.0, 0.0)
    assert found.high is not None and found.high > 0.7


def test_each_answer_stands_once_with_its_tokens_beside_it(tmp_path: Path) -> None:
    lines = [
        {"kind": "opened", "identity": {}},
        *answered(1, "t1", [4, 5, 6], usage={"prompt_tokens": 7, "completion_tokens": 3}),
        {"kind": "sent", "n": 0, "attempt": 1, "from": 0},
        {"kind": "parts", "parts": [[0, {"content": "t", "token_ids": [1]}]]},
        {"kind": "ended", "n": 0, "attempt": 1, "outcome": "truncated", "final": False},
        {"kind": "sent", "n": 0, "attempt": 2, "from": 1},
        {"kind": "parts", "parts": [[0, {"content": "0", "token_ids": [2]}]]},
        {"kind": "parts", "parts": [[0, {"finish_reason": "stop"}]]},
        {"kind": "ended", "n": 0, "attempt": 2, "outcome": "answered", "final": True},
    ]
    row = gather(tmp_path, lines, cases(suite(2, raw=True)))
    assert (row.attempts, row.continued, row.answered) == (3, 1, 2)
    assert (row.prompt_tokens, row.completion_tokens) == (7, 3)
    text = (tmp_path / "answers" / "1-e.jsonl").read_bytes()
    first, second = map(orjson.loads, text.splitlines())
    assert (first["n"], first["content"], first["tokens"], first["score"]) == (1, "t1", 3, 1.0)
    assert (second["n"], second["content"], second["tokens"]) == (0, "t0", 2)
    assert (second["attempts"], second["continued"]) == (2, [1])
    assert "token_ids" not in first
    table: Any = pq.read_table(tmp_path / "tokens" / "1-e.parquet")
    assert table.to_pydict() == {"n": [1, 0], "token_ids": [[4, 5, 6], [1, 2]]}


@pytest.mark.parametrize("count", [2**64 - 1, 2**32, -1, True, 2.0, "2", None])
def test_a_count_that_is_none_is_not_summed(tmp_path: Path, count: object) -> None:
    """Sums of 64 bits are what JSON's writer can write."""
    told = {"prompt_tokens": count, "completion_tokens": 3}
    most = {"prompt_tokens": 2**32 - 1, "completion_tokens": 2**32 - 1}
    lines = [*answered(0, "t0", usage=told), *answered(1, "t1", usage=most)]
    row = gather(tmp_path, lines, cases(suite(2)))
    assert (row.prompt_tokens, row.completion_tokens) == (2**32 - 1, 2**32 - 1)


def spelled(text: str, **more: Any) -> dict[str, Any]:
    """A token's logprob."""
    return {"token": text, "logprob": -1.0, "bytes": list(text.encode()), **more}


def test_a_key_is_hidden_in_what_is_put_together_of_pieces(tmp_path: Path) -> None:
    key = "sk-a/very/secret"
    pieces = ("the sk-a", "/very/", "secret is", " it")
    calls = [{"index": 0, "id": "1", "function": {"name": "f", "arguments": p}} for p in pieces]
    logprobs = [spelled(text, top_logprobs=[spelled(text)]) for text in pieces]
    alone = [{**spelled("x"), "bytes": list(key.encode())}, {"token": key}, 5, {"bytes": ["x"]}]
    lines = [
        {"kind": "sent", "n": 0, "attempt": 1, "from": 0},
        *({"kind": "parts", "parts": [[0, {"calls": [call]}]]} for call in calls),
        *({"kind": "parts", "parts": [[0, {"content": text}]]} for text in pieces),
        *({"kind": "parts", "parts": [[0, {"logprobs": [one]}]]} for one in [*logprobs, *alone]),
        {"kind": "parts", "parts": [[0, {"finish_reason": "tool_calls", "done": True}]]},
        {"kind": "ended", "n": 0, "attempt": 1, "outcome": "answered", "final": True},
    ]
    path = journalled(tmp_path / "records" / "1-e" / "local.jsonl", lines)
    gathered(asked_of("1-e", {"local": path}, key), cases(suite(1)), tmp_path)
    (line,) = map(orjson.loads, (tmp_path / "answers" / "1-e.jsonl").read_bytes().splitlines())
    assert line["content"] == line["calls"][0]["arguments"] == "the *** is it"
    *hidden, last = line["logprobs"][:4]
    for one in hidden:
        assert (one["token"], one["bytes"], one["logprob"]) == ("***", None, -1.0)
        assert one["top_logprobs"] == [{"token": "***", "logprob": -1.0, "bytes": None}]
    assert last == logprobs[3]
    assert line["logprobs"][4] == {**spelled("x"), "token": "***", "bytes": None}
    assert line["logprobs"][5:] == [{"token": "***", "bytes": None}, 5, {"bytes": ["x"]}]


def test_tokens_come_out_whole_where_they_make_several_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "GROUP_TOKENS", 5)
    lines = [line for n in range(7) for line in answered(n, "x", [n] * 3)]
    gather(tmp_path, lines, cases(suite(7, raw=True)))
    file: Any = pq.ParquetFile(tmp_path / "tokens" / "1-e.parquet")
    assert file.metadata.num_row_groups == 4
    assert file.read().to_pydict()["token_ids"] == [[n] * 3 for n in range(7)]
    assert not list(tmp_path.rglob("*.partial"))


def test_epochs_are_repeats_and_count_for_nothing_in_the_interval(tmp_path: Path) -> None:
    made = cases(suite(10), epochs=3)
    lines = [line for n in range(30) for line in answered(n, f"t{n % 10}" if n < 15 else "no")]
    (found,) = gather(tmp_path, lines, made).suites
    assert (found.cases, found.asked, found.score) == (10, 30, 0.5)
    assert (found.low, found.high) == wilson(0.5, 10)
    records = scored.read(tmp_path / "scores" / "1-e.jsonl")
    assert len({record.key for record in records}) == 30
    assert {record.repeat for record in records} == {0, 1, 2}


def test_the_scores_are_what_compare_reads(tmp_path: Path) -> None:
    """A failed request is a record with no score; one that failed here is not a 0 there."""
    made = cases(suite(20))
    gather(tmp_path, fourteen_of_twenty(), made, "1-a")
    gather(tmp_path, fourteen_of_twenty(), made, "2-b")
    files = [str(tmp_path / "scores" / f"{name}.jsonl") for name in ("1-a", "2-b")]
    records = scored.read(Path(files[0]))
    assert [record.outcome for record in records].count(scored.SCORED) == 16
    assert [record.score for record in records].count(None) == 4
    done = CliRunner().invoke(app, ["compare", *files, "--json"])
    found = orjson.loads(done.stdout)
    assert found["verdict"] == "INCONCLUSIVE"
    assert done.exit_code == 3, done.stdout


@given(st.integers(1, 500), st.data())
def test_the_interval_is_wilsons(count: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, count))
    expected: Any = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert wilson(right / count, count) == pytest.approx((expected.low, expected.high), abs=1e-6)
