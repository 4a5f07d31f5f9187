"""L2 against a candidate that answers from the trace itself: healthy, at fault, or not able.

Whatever it gets wrong or cannot do has a name, and none of it is EQUIVALENT.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness import evidence, recording, session
from harness.base.errors import RequestError
from harness.base.record import Scores
from harness.candidate import Opened
from harness.checker.judge import Judge
from harness.checker.outcome import LevelResult, Word
from harness.checker.tolerance import calibrate
from harness.client import Asker, Endpoint
from harness.levels import askable, forced
from harness.levels.state import Check, Settings
from harness.recording import PoolUnit, Recorded, Token, Trace
from harness.report import sections
from launchers.capabilities import Able, Capabilities, Capability
from launchers.dialect import Reply, Request
from launchers.reference import ReferenceDialect
from tests import building

Change = Callable[[Scores], Scores]
PROMPTS = 24  # of a stratum: more than the 20 that can show EQUIVALENT
ERROR = 0.003  # nats: of the reference in bf16


@dataclass(slots=True, kw_only=True)
class Answering:
    """Stands for the endpoint of a candidate: the trace's own scores, changed."""

    rows: dict[tuple[int, ...], Scores]
    change: Change
    limit: int = 10_000  # tokens that it takes
    dies_after: int = 10_000  # requests
    url: str = "http://answering"
    asked: int = 0

    def send(self, request: Request) -> bytes:
        reply = self.ask(request)
        if reply.status != 200:
            raise RequestError(f"{self.url}{request.path}: {reply.problem or reply.body}")
        return reply.body

    def ask(self, request: Request, *, timeout_s: float | None = None) -> Reply:
        del timeout_s
        assert request.body is not None
        self.asked += 1
        sequences = [tuple(tokens) for tokens in request.body["sequences"]]
        if self.asked > self.dies_after:
            return Reply(status=None, body=b"", problem="connection refused")
        if max(map(len, sequences)) > self.limit:
            said = f"maximum context length is {self.limit}"
            return Reply(status=400, body=said.encode(), problem=None)
        scores = [self.change(self.rows[tokens]) for tokens in sequences]
        return Reply(status=200, body=_packed(sequences, scores), problem=None)


def _packed(sequences: Sequence[tuple[int, ...]], scores: Sequence[Scores]) -> bytes:
    file = io.BytesIO()
    np.savez(
        file,
        lengths=np.array([len(tokens) for tokens in sequences]),
        logprobs=np.concatenate([s.logprobs for s in scores]),
        top_ids=np.concatenate([s.top_ids for s in scores]),
        top_logprobs=np.concatenate([s.top_logprobs for s in scores]),
    )
    return file.getvalue()


def healthy(scores: Scores) -> Scores:
    return scores


def off_by(nats: float) -> Change:
    """Every logprob as much lower: about as the pool's own error, or far more."""

    def change(scores: Scores) -> Scores:
        return replace(
            scores, logprobs=scores.logprobs - nats, top_logprobs=scores.top_logprobs - nats
        )

    return change


def with_first(value: float) -> Change:
    """The first logprob is no number that a logprob can be."""

    def change(scores: Scores) -> Scores:
        return replace(scores, logprobs=np.array([value, *scores.logprobs[1:]]))

    return change


def another_vocabulary(scores: Scores) -> Scores:
    return replace(scores, top_ids=scores.top_ids + np.int32(1000))


def write_trace(path: Path, rows: Sequence[Recorded]) -> Trace:
    """Of a reference in fp32, that judges bf16; its own error there is about ERROR."""
    rng = np.random.default_rng(8)
    pool = [
        PoolUnit(
            numerics="bf16",
            configuration=configuration,
            implementation=implementation,
            stratum=row.case.stratum,
            case_id=row.case.id,
            distance=building.distance(
                rng.normal(scale=ERROR, size=len(row.token_ids) - 1), divergence=1e-4
            ),
        )
        for configuration, implementation in building.CONFIGURATIONS
        for row in rows
    ]
    strata = list(dict.fromkeys(row.case.stratum for row in rows))
    manifest = {
        "top_k": 4,
        "model": {"name": "tiny", "revision": "1", "tokenizer": None},
        "reference": {"title": "a reference", "pin": None, "identity": {"dtype": "float32"}},
        "tolerances": [asdict(calibrate("bf16", pool, strata))],
    }
    words = {i: Token(text=f"w{i}", special=False) for i in range(30)}
    recording.write(path, manifest=manifest, sequences=rows, pool=pool, vocabulary=words)
    return Trace(path)


def judged(
    folder: Path, change: Change = healthy, rows: Sequence[Recorded] | None = None, **how: Any
) -> tuple[Check, Word, list[str]]:
    """L2 of a candidate that changes the reference's scores so."""
    rows = building.sequences(PROMPTS) if rows is None else rows
    trace = write_trace(folder / "x.trace", rows)
    answering = Answering(
        rows={trace[i].token_ids: trace[i].scores for i in range(len(trace))}, change=change, **how
    )
    opened = Opened(
        asker=Asker(cast("Endpoint", answering), ReferenceDialect(model="tiny")),
        title="a candidate",
        url=answering.url,
        pin=None,
        identity={},
        launch_seconds=None,
        running=None,
    )
    with evidence.written(folder / "evidence.parquet") as file:
        check = Check(
            opened=opened,
            trace=trace,
            tolerances=session.tolerances_of(trace, "bf16"),
            settings=Settings(seed=0, alpha=0.005, beta=0.005),
            evidence=file,
            announce=lambda _: None,
            classes=np.zeros(30, dtype=np.int64),
            texts={i: token.text for i, token in trace.vocabulary().items()},
        )
        word, reasons = forced.run(check)
    return check, word, reasons


def test_the_reference_itself_is_equivalent(tmp_path: Path) -> None:
    _, word, reasons = judged(tmp_path)
    assert word is Word.EQUIVALENT, reasons


def test_one_stratum_only_is_never_equivalent(tmp_path: Path) -> None:
    rows = building.sequences(PROMPTS, ("chat",))
    _, word, reasons = judged(tmp_path, rows=rows)
    assert word is Word.INCONCLUSIVE
    assert reasons[0] == "the trace has one stratum only (chat); EQUIVALENT needs two at least"
    (tmp_path / "far").mkdir()
    assert judged(tmp_path / "far", off_by(1.0), rows)[1] is Word.DIFFERENT


def test_too_few_prompts_are_undecided_and_say_so(tmp_path: Path) -> None:
    _, word, reasons = judged(tmp_path, off_by(ERROR), building.sequences(4))
    assert word is Word.INCONCLUSIVE
    assert "undecided after 4 of 4 prompts" in reasons[0]


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_a_logprob_that_is_no_number_is_a_failed_request(tmp_path: Path, value: float) -> None:
    with pytest.raises(RequestError, match="logprob at position 1 is not a finite number"):
        judged(tmp_path, with_first(value))
    assert not (tmp_path / "evidence.parquet").exists()


def test_fewer_alternatives_than_asked_are_a_failed_request(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="scored other sequences"):
        judged(tmp_path, lambda scores: scores.best(3))


def test_an_engine_that_dies_in_the_middle_leaves_no_evidence(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="connection refused"):
        judged(tmp_path, dies_after=2)
    assert not (tmp_path / "evidence.parquet").exists()


def test_another_vocabulary_is_different(tmp_path: Path) -> None:
    check, word, _ = judged(tmp_path, another_vocabulary)
    assert word is Word.DIFFERENT
    table = forced.worst_segment_table(check)
    assert table is not None
    assert table["tokens"][0]["candidate_top"].startswith("<id 1")


def long_row(stratum: str, tokens: int) -> list[Recorded]:
    """24 sequences of one stratum, as long as that."""
    rows = building.sequences(PROMPTS, (stratum,))
    rng = np.random.default_rng(3)
    logprobs = building.log_softmax(rng.normal(size=(tokens - 1, 30)))
    ids = rng.integers(0, 30, tokens).tolist()
    scores = building.top(logprobs, ids[1:], 4)
    return [
        replace(r, token_ids=(*ids[:-1], i), prompt_tokens=tokens // 2, scores=scores)
        for i, r in enumerate(rows)
    ]


def test_a_stratum_longer_than_the_candidates_context_is_named_and_not_asked(
    tmp_path: Path,
) -> None:
    rows = [*building.sequences(PROMPTS), *long_row("long-2k", 1600)]
    check, word, reasons = judged(tmp_path, rows=rows, limit=1599)
    assert word is Word.INCONCLUSIVE
    assert reasons[0].startswith("long-2k: cannot be asked, its sequences have up to 1,600 tokens")
    assert "maximum context length is 1599" in reasons[0]
    assert {row.group for judge in check.judges for row in judge.rows()} == {"chat", "text"}
    assert askable.rows(check) == list(range(2 * PROMPTS))


def test_a_fault_in_the_shorter_strata_is_different_although_a_stratum_is_too_long(
    tmp_path: Path,
) -> None:
    rows = [*building.sequences(PROMPTS), *long_row("long-2k", 1600)]
    _, word, _ = judged(tmp_path, off_by(1.0), rows, limit=1599)
    assert word is Word.DIFFERENT


def test_all_strata_too_long_is_inconclusive(tmp_path: Path) -> None:
    check, word, reasons = judged(tmp_path, rows=long_row("long-2k", 1600), limit=1599)
    assert (word, len(reasons), check.judges) == (Word.INCONCLUSIVE, 1, [])


def test_who_cannot_score_is_not_asked_what_is_too_long(tmp_path: Path) -> None:
    check, _, _ = judged(tmp_path, rows=long_row("long-2k", 1600), limit=1599)
    cannot = Capability(able=Able.NO, evidence="404", most=None)
    able = cast("Capabilities", SimpleNamespace(score=cannot))
    check.opened = replace(check.opened, capabilities=able)
    check.too_long = None
    assert askable.too_long(check) == {}


def test_a_server_that_fails_on_a_long_sequence_has_failed(tmp_path: Path) -> None:
    rows = [*building.sequences(PROMPTS), *long_row("long-2k", 1600)]
    with pytest.raises(RequestError, match="scoring 1,600 tokens: connection refused"):
        judged(tmp_path, rows=rows, dies_after=0)


def own_error(trace: Trace, stratum: str, cases: set[str]) -> float:
    """Mean |d| of the reference in bf16 over those prompts, by its first configuration."""
    units = [u for u in trace.pool() if u.configuration == "a" and u.stratum == stratum]
    return float(np.abs(np.concatenate([u.distance.d for u in units if u.case_id in cases])).mean())


def test_the_error_against_fp32_is_shown_over_the_references_own(tmp_path: Path) -> None:
    check, _, _ = judged(tmp_path, off_by(2 * ERROR))
    rows = check.findings["L2"]["strata"]
    assert [row["stratum"] for row in rows] == ["chat", "text"]
    for row in rows:
        stratum = row["stratum"]
        drawn = set(evidence.differences(tmp_path / "evidence.parquet", level="L2"))
        expected = own_error(check.trace, stratum, drawn)
        assert row["mean_absolute_d"] == pytest.approx(2 * ERROR)
        assert row["reference_mean_absolute_d"] == pytest.approx(expected)
        assert row["ratio"] == pytest.approx(2 * ERROR / expected)
        assert 1.5 < row["ratio"] < 4  # mean |d| of a normal is 0.8 of its deviation


def test_where_the_reference_is_no_more_precise_there_is_no_ratio(tmp_path: Path) -> None:
    check, _, _ = judged(tmp_path)
    check.trace.manifest["reference"]["identity"]["dtype"] = "bfloat16"
    asked = {"chat": forced.Asked()}
    first = check.trace[0]
    distance = building.distance([0.01] * (len(first.token_ids) - 1))
    asked["chat"].add(first, distance, np.zeros(len(distance.d), dtype=np.int64))
    (row,) = forced.strata_table(check, asked)
    assert (row["ratio"], row["reference_mean_absolute_d"]) == (None, None)


def test_the_slope_is_that_of_each_stratum(tmp_path: Path) -> None:
    def growing(scores: Scores) -> Scores:
        steps = np.log2(np.arange(1, len(scores.logprobs) + 1)).astype(int)
        if len(steps) < 100:
            return scores
        return replace(scores, logprobs=scores.logprobs - 1e-4 * steps)

    rows = [*building.sequences(PROMPTS), *long_row("long", 400)]
    check, _, _ = judged(tmp_path, growing, rows)
    slopes = {row["stratum"]: row["slope_per_doubling"] for row in check.findings["L2"]["strata"]}
    assert (slopes["chat"], slopes["text"]) == (0, 0)
    assert slopes["long"] == pytest.approx(1e-4)


def test_the_section_of_the_report_is_inert_and_shows_the_ratio(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    rows = [*building.sequences(PROMPTS, ("chat", hostile))]
    check, word, reasons = judged(tmp_path, off_by(2 * ERROR), rows)
    level = LevelResult(
        level="L2",
        title=forced.TITLE,
        word=word,
        reasons=tuple(reasons),
        tokens=1,
        seconds=1.0,
        findings=check.findings["L2"],
    )
    html = sections.of(level)
    assert "<script" not in html
    assert "ratio" in html and "slope per doubling" in html
    for row in check.findings["L2"]["strata"]:
        row["ratio"] = None
    assert "ratio" not in sections.of(level)


@pytest.mark.parametrize("error", [0.1 * ERROR, 2 * ERROR, 20 * ERROR])
def test_a_check_is_judged_again_from_its_evidence(tmp_path: Path, error: float) -> None:
    """Row by row and point by point. K is written as float32, whose last digit is 6e-8 of it."""
    rows = [*building.sequences(PROMPTS), *building.sequences(PROMPTS, ("code",))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "TOKENS_IN_GROUP", 10)
        check, _, _ = judged(tmp_path, off_by(error), rows)
    path = tmp_path / "evidence.parquet"
    assert pq.ParquetFile(path).num_row_groups > 1
    (during,) = check.judges
    again = Judge(
        level="L2",
        groups={
            s: (len(check.trace.members(s)), check.tolerances.of(s)) for s in check.trace.strata
        },
        alpha=during.alpha,
        beta=during.beta,
        together=True,
    )
    forced.rejudge(again, path)
    assert again.word() is during.word()
    assert again.paths().keys() == during.paths().keys()
    for name, points in again.paths().items():
        np.testing.assert_allclose(points, during.paths()[name], rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(again.rows(), during.rows(), strict=True):
        assert (ours.group, ours.statistic) == (theirs.group, theirs.statistic)
        assert ours.units == theirs.units
        assert ours.raw == pytest.approx(theirs.raw, rel=1e-7)


def test_other_levels_have_no_part_in_it(tmp_path: Path) -> None:
    path = tmp_path / "evidence.parquet"
    with evidence.written(path) as file:
        for number, level in enumerate(("L1", "L2", "L1", "L2b", "L2")):
            file.add(level, "chat", "a", building.distance([0.1 * number] * 3))
    ((group, found),) = evidence.distances(path, level="L2")
    assert group == "chat"
    assert found.d.tolist() == pytest.approx([0.1] * 3 + [0.4] * 3)
    assert found.bounds.tolist() == [0, 3, 6]
    assert list(evidence.distances(path, level="L3")) == []


def test_evidence_of_an_interrupted_check_is_none(tmp_path: Path) -> None:
    path = tmp_path / "evidence.parquet"
    with suppress(KeyboardInterrupt), evidence.written(path) as file:
        file.add("L2", "chat", "a", building.distance([0.1]))
        raise KeyboardInterrupt
    assert not path.exists()
