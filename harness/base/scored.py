"""Scored records: one case of a suite, answered once and scored. JSON, one record a line:

    {"schema": 1, "suite": "aime", "case": "2025-i-7", "repeat": 0, "score": 1, "outcome": "scored"}

A request that failed has no score (null), and an outcome that says what failed. It is a record
like any other: it stays in the denominator, and it is not a 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.errors import ConfigError
from harness.base.strict_toml import convert

SCHEMA = 1
SCORED = "scored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What one request of one engine was worth."""

    schema: int
    suite: str
    case: str
    repeat: int  # 0, 1, ... where a case is asked several times
    score: float | None  # in [0, 1]; None: the request failed
    outcome: str  # SCORED, or in words what failed

    @property
    def key(self) -> tuple[str, str, int]:
        """What no two records of one engine share."""
        return self.suite, self.case, self.repeat


def read(path: Path) -> tuple[Scored, ...]:
    """All records of a file, in its order; ConfigError names file, line and key."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: {error.reason}") from error
    lines = text.split("\n")
    records: list[Scored] = []
    seen: dict[tuple[str, str, int], int] = {}
    for number, line in enumerate(lines, 1):
        if number == len(lines) and not line:  # after the last newline
            break
        where = f"{path}: line {number}"
        record = _record(_table(line, where, torn=number == len(lines)), where)
        if (before := seen.setdefault(record.key, number)) != number:
            raise ConfigError(
                f"{where}: suite {record.suite!r}, case {record.case!r}, repeat {record.repeat} "
                f"stands on line {before} already"
            )
        records.append(record)
    return tuple(records)


def _table(line: str, where: str, *, torn: bool) -> object:
    try:
        return json.loads(line, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        if torn:
            raise ConfigError(
                f"{where}: the last line is torn (no newline ends it); is the run still going on?"
            ) from error
        raise ConfigError(f"{where}: is not a JSON object: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a key stand twice, and the last one win."""
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key stands twice")
    return table


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _record(table: object, where: str) -> Scored:
    record = convert(Scored, table, where)
    if record.schema != SCHEMA:
        raise ConfigError(f"{where}: schema is {record.schema}; this version reads {SCHEMA}")
    for key, name in (("suite", record.suite), ("case", record.case), ("outcome", record.outcome)):
        if not name or not name.isprintable():
            raise ConfigError(f"{where}: {key} is {name!r}; it must be a printable name")
    if record.repeat < 0:
        raise ConfigError(f"{where}: repeat is {record.repeat}; it must be 0 or more")
    if record.score is not None and not 0 <= record.score <= 1:
        raise ConfigError(f"{where}: score is {record.score}; it must lie in [0, 1]")
    if (record.score is None) == (record.outcome == SCORED):
        raise ConfigError(
            f"{where}: score is {record.score} and outcome {record.outcome!r}; a request that "
            f"failed has no score, and an outcome other than {SCORED!r}"
        )
    return record
