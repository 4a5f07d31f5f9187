"""What an engine's journals come to: each answer once, with its score; and per suite a number and
its failures. Read from the journals alone, in bounded memory, and so made again at any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from harness.base import atomic, scored
from harness.base.reply import token_count
from harness.base.scored import SCORED, Scored
from harness.runs import journal, power
from harness.runs.hiding import unspelled, without
from harness.runs.plan import Cases
from harness.runs.replies import reply
from harness.runs.story import ANSWERED, Ended, told

SCHEMA = 1
GROUP_TOKENS = 1 << 20  # of a group of Parquet's rows, which is held in memory
UNSCORED = "not scored"  # it was answered, and its suite has no score for such an answer
NORMAL_95 = 1.959964  # the 97.5 % point of the normal distribution


@dataclass(slots=True, kw_only=True)
class SuiteRow:
    """One suite of one engine. A request that failed stays in the denominator, and has no score."""

    suite: str
    cases: int
    asked: int = 0  # requests: cases x epochs
    over: int = 0
    failed: dict[str, int] = field(default_factory=dict[str, int])  # outcome -> requests
    points: float = 0.0
    score: float | None = None  # points / over; None: nothing is over
    low: float | None = None  # a 95 % interval (Wilson) by cases, epochs counting for nothing
    high: float | None = None


@dataclass(slots=True, kw_only=True)
class EngineRow:
    """One engine of a run."""

    engine: str
    hash: str | None  # of the pin; None: a URL
    asked: int
    over: int = 0
    answered: int = 0
    attempts: int = 0
    continued: int = 0  # requests of which some answer was gone on with
    prompt_tokens: int = 0  # as the engine counts them, of answers
    completion_tokens: int = 0
    late_worst_s: float = 0.0  # of ours, while any request was under way
    nodes: dict[str, int] = field(default_factory=dict[str, int])  # requests that are over, by node
    again: int = 0  # answers that do not count, for the request had one
    paired: int | None = None  # of these, as many as the first engine was asked on the same node
    suites: list[SuiteRow] = field(default_factory=list[SuiteRow])

    @property
    def complete(self) -> bool:
        return self.over == self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An engine whose journals are read."""

    name: str  # of its files
    engine: str  # as a reader knows it
    hash: str | None
    journals: Mapping[str, Path]  # by node
    counted: Callable[[str, int], bool]  # whether a node's answer to a request is the one
    secret: str = ""  # the key: an answer may spell it, token by token


def gathered(asked: Asked, cases: Cases, folder: Path) -> EngineRow:
    """Reads an engine's journals; writes answers, scores and tokens under `folder`, whole each."""
    total = EngineRow(engine=asked.engine, hash=asked.hash, asked=len(cases))
    rows = {one.suite.name: SuiteRow(suite=one.suite.name, cases=len(one.tasks)) for one in cases}
    for row in rows.values():
        row.asked = row.cases * cases.epochs
    with ExitStack() as files:
        answers = files.enter_context(_opened(folder / "answers" / f"{asked.name}.jsonl"))
        scores = files.enter_context(_opened(folder / "scores" / f"{asked.name}.jsonl"))
        path = folder / "tokens" / f"{asked.name}.parquet"
        raw = any(one.suite.raw for one in cases)
        tokens = files.enter_context(_tokens(path)) if raw else None
        for node, ended in _ends(asked, folder / "power" / asked.name):
            suite, task, epoch = cases.at(ended.n)
            score = suite.suite.score(task, reply({**ended.end, **ended.answer}))
            record = Scored(
                schema=scored.SCHEMA,
                suite=suite.suite.name,
                case=task.id,
                repeat=epoch,
                score=score,
                outcome=_outcome(ended, score),
            )
            scores.write(orjson.dumps(record) + b"\n")
            answers.write(orjson.dumps(_answer(ended, record, node, asked.secret)) + b"\n")
            if tokens is not None and "token_ids" in ended.answer:
                tokens(ended.n, ended.answer["token_ids"])
            _count(total, rows[suite.suite.name], ended, record)
            total.nodes[node] = total.nodes.get(node, 0) + 1
    total.suites = [_judged(row) for row in rows.values() if row.asked]
    return total


def _outcome(ended: Ended, score: float | None) -> str:
    if score is not None:
        return SCORED
    return UNSCORED if ended.outcome == ANSWERED else ended.outcome


def _ends(asked: Asked, powers: Path) -> Generator[tuple[str, Ended]]:
    """Every request that is over, once, node by node; what a node's GPUs drew, under `powers`."""
    for node, path in asked.journals.items():
        if path.exists():
            with ExitStack() as files:
                lines = _without_power(journal.read(path), powers / f"{node}.jsonl", files)
                for ended in told(lines):
                    if asked.counted(node, ended.n):
                        yield node, ended


def _without_power(
    lines: Iterable[dict[str, Any]], path: Path, files: ExitStack
) -> Generator[dict[str, Any]]:
    """The other lines; those of power are written, where there is one."""
    file = None
    for line in lines:
        if line["kind"] != power.KIND:
            yield line
            continue
        file = file or files.enter_context(_opened(path))
        file.write(orjson.dumps({"schema": SCHEMA, "at": line["at"], "watts": line["watts"]}))
        file.write(b"\n")


def _answer(ended: Ended, record: Scored, node: str, secret: str) -> dict[str, Any]:
    """Of the token ids the count alone: they stand in Parquet."""
    answer = {name: value for name, value in ended.answer.items() if name != "token_ids"}
    if secret:
        if "logprobs" in answer:
            answer["logprobs"] = unspelled(answer["logprobs"], secret)
        answer = without(answer, secret)
    told = {
        name: ended.end[name]
        for name in (
            "why",
            "status",
            "usage",
            "first_token_s",
            "longest_gap_s",
            "whole_s",
            "late_s",
        )
        if name in ended.end
    }
    return {
        "schema": SCHEMA,
        "n": ended.n,
        "suite": record.suite,
        "case": record.case,
        "repeat": record.repeat,
        "node": node,
        "outcome": ended.outcome,
        "score": record.score,
        "attempts": ended.attempts,
        "continued": ended.continued,
        "tokens": len(ended.answer.get("token_ids", ())),
        **told,
        **answer,
    }


def _count(total: EngineRow, row: SuiteRow, ended: Ended, record: Scored) -> None:
    total.over += 1
    row.over += 1
    total.attempts += ended.attempts
    total.continued += bool(ended.continued)
    total.late_worst_s = max(total.late_worst_s, ended.end.get("late_s", 0.0))
    if record.score is None:
        row.failed[record.outcome] = row.failed.get(record.outcome, 0) + 1
    if record.score is None and ended.outcome != ANSWERED:
        return
    total.answered += 1
    row.points += record.score or 0.0
    prompt, completion = _tokens_of(ended)
    total.prompt_tokens += prompt
    total.completion_tokens += completion


def _tokens_of(ended: Ended) -> tuple[int, int]:
    """Of prompt and answer, as the engine counts them: what an answer was gone on with behind
    counted as its prompt then."""
    usage, behind = ended.end.get("usage"), (ended.continued or (0,))[-1]
    prompt, completion = (token_count(usage, f"{of}_tokens") for of in ("prompt", "completion"))
    if prompt is None or completion is None:
        return 0, 0  # it does not count
    return prompt - behind, completion + behind


def _judged(row: SuiteRow) -> SuiteRow:
    if row.over:
        row.score = row.points / row.over
        row.low, row.high = wilson(row.score, min(row.cases, row.over))
    return row


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` (E. B. Wilson, 1927)."""
    z = NORMAL_95
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


@contextmanager
def _opened(path: Path) -> Generator[BinaryIO]:
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        yield file


@contextmanager
def _tokens(path: Path) -> Generator[Callable[[int, list[int]], None]]:
    """Adds a row a request; a group of rows is held in memory."""
    import pyarrow as pa  # 40 MB, of which a run that streams has no use
    import pyarrow.parquet as pq

    schema = pa.schema([("n", pa.int64()), ("token_ids", pa.list_(pa.int32()))])
    rows: list[dict[str, Any]] = []
    held = 0
    with atomic.replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:

        def write() -> None:
            nonlocal held
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            rows.clear()
            held = 0

        def add(n: int, token_ids: list[int]) -> None:
            nonlocal held
            rows.append({"n": n, "token_ids": token_ids})
            held += len(token_ids)
            if held >= GROUP_TOKENS:
                write()

        yield add
        write()
