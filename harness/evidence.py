"""What the candidate answered, a row per prompt and comparison: judging can be repeated from it.

Trade-off accepted: rows are written in the order in which they were drawn, and the file gets its
name when the check ends, so an interrupted check leaves no evidence rather than half of it.
A row group has many rows, and at most TOKENS_IN_GROUP tokens besides its last row: what is held
before it is written does not grow with the check.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.base import atomic
from harness.base.record import Distance, Floats

TOKENS_IN_GROUP = 65_536  # about 2 MB
FILE = Path("tokens") / "evidence.parquet"  # in a run directory
SCHEMA = pa.schema(
    [
        ("level", pa.string()),
        ("group", pa.string()),
        ("case_id", pa.string()),
        ("d", pa.list_(pa.float64())),  # (N,) and so are the others
        ("divergence", pa.list_(pa.float32())),
        ("flip", pa.list_(pa.bool_())),
        ("margin", pa.list_(pa.float32())),
        ("margin_change", pa.list_(pa.float32())),
    ],
    metadata={"schema": "1"},
)


class Evidence:
    """An open evidence file."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._rows: list[dict[str, Any]] = []
        self._tokens = 0

    def add(self, level: str, group: str, case_id: str, distance: Distance) -> None:
        self._rows.append(
            {
                "level": level,
                "group": group,
                "case_id": case_id,
                "d": distance.d,
                "divergence": distance.divergence.astype(np.float32),
                "flip": distance.flip,
                "margin": distance.margin.astype(np.float32),
                "margin_change": distance.margin_change.astype(np.float32),
            }
        )
        self._tokens += len(distance.d)
        if self._tokens >= TOKENS_IN_GROUP:
            self.flush()

    def flush(self) -> None:
        """Writes the rows at hand as one row group."""
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._rows, self._tokens = [], 0


@contextmanager
def written(path: Path) -> Generator[Evidence]:
    """Evidence that becomes `path` when the block ends well."""
    with (
        atomic.replacing(path) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer,
    ):
        evidence = Evidence(writer)
        yield evidence
        evidence.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One row: how far the answer to one case lay off."""

    group: str
    case_id: str
    distance: Distance


def answered(path: Path, *, level: str) -> Iterator[Answered]:
    """What a level compared, in the order in which it did, a row group at a time."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            parts = {name: table.column(name) for name in table.column_names}
            for row, name in enumerate(parts["level"].to_pylist()):
                if name == level:
                    yield _answered({n: column[row] for n, column in parts.items()})


def differences(path: Path, *, level: str) -> dict[str, Floats]:
    """d (N,) of each case that a level asked, by case id; the columns that are not asked stay."""
    table = pq.read_table(path, columns=["case_id", "d"], filters=[("level", "=", level)])
    rows = zip(table.column("case_id").to_pylist(), table.column("d"), strict=True)
    return {case: _floats(d) for case, d in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Furthest:
    """The case of a level, and the group, in which a token lies furthest off."""

    group: str
    case_id: str
    size: float  # nats: the largest |d|


def furthest(path: Path, *, level: str) -> Furthest | None:
    """None where the level compared nothing."""
    columns = ["group", "case_id", "d"]
    table = pq.read_table(path, columns=columns, filters=[("level", "=", level)])
    cases = zip(*(table.column(name) for name in columns), strict=True)
    found = [
        Furthest(group=str(group), case_id=str(case), size=float(np.abs(_floats(d)).max()))
        for group, case, d in cases
        if len(d.values)
    ]
    return max(found, key=lambda one: one.size, default=None)


def _answered(row: dict[str, Any]) -> Answered:
    """`row` holds arrow scalars."""
    names = ("d", "divergence", "margin", "margin_change")
    floats = {name: _floats(row[name]).astype(np.float64) for name in names}
    flip = row["flip"].values.to_numpy(zero_copy_only=False)
    return Answered(
        group=row["group"].as_py(),
        case_id=row["case_id"].as_py(),
        distance=Distance(flip=flip.astype(np.bool_), **floats),
    )


def _floats(d: Any) -> Floats:
    return d.values.to_numpy(zero_copy_only=False)
