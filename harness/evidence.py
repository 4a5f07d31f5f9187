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
from harness.base.record import Distance, Distances, Floats

TOKENS_IN_GROUP = (
    262_144  # about 8 MB; evidence in groups of 65,536 takes 1.4 times as long to judge
)
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
NAMES = ("level", "group", "case_id")
FLOATS = ("d", "divergence", "margin", "margin_change")
JUDGED = ("d", "divergence", "flip", "margin")
# Hardly two floats are equal: with a dictionary of them, a file is larger and slower to read.
ENCODING: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": list(NAMES),
    "use_byte_stream_split": [f"{name}.list.element" for name in FLOATS],
}


class Evidence:
    """An open evidence file."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._names: list[tuple[str, str, str]] = []
        self._distances: list[Distance] = []
        self._tokens = 0

    def add(self, level: str, group: str, case_id: str, distance: Distance) -> None:
        self._names.append((level, group, case_id))
        self._distances.append(distance)
        self._tokens += len(distance.d)
        if self._tokens >= TOKENS_IN_GROUP:
            self.flush()

    def flush(self) -> None:
        """Writes the rows at hand as one row group."""
        if self._names:
            columns = [pa.array(names) for names in zip(*self._names, strict=True)]
            columns += [self._lists(field) for field in SCHEMA if field.name not in NAMES]
            self._writer.write_table(pa.table(columns, schema=SCHEMA))
        self._names, self._distances, self._tokens = [], [], 0

    def _lists(self, field: Any) -> Any:
        values = [getattr(distance, field.name) for distance in self._distances]
        bounds = np.cumsum([0, *map(len, values)], dtype=np.int32)
        every = np.concatenate(values).astype(field.type.value_type.to_pandas_dtype())
        return pa.ListArray.from_arrays(bounds, every)


@contextmanager
def written(path: Path) -> Generator[Evidence]:
    """Evidence that becomes `path` when the block ends well."""
    with (
        atomic.replacing(path) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, **ENCODING) as writer,
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


def distances(path: Path, *, level: str) -> Iterator[tuple[str, Distances]]:
    """What a level found, a row group of the file at a time: each group with its prompts, in the
    order in which they were drawn.

    As they were written: all but d is rounded to float32.
    """
    columns = ["level", "group", *JUDGED]
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, columns=columns, use_threads=False)
            names = np.array(table.column("group").to_pylist())
            own = np.array(table.column("level").to_pylist()) == level
            every = _every(table)
            for name in dict.fromkeys(names[own].tolist()):
                yield name, every.picked(np.flatnonzero(own & (names == name)))


def _every(table: Any) -> Distances:
    d, divergence, flip, margin = (table.column(name).combine_chunks() for name in JUDGED)
    return Distances(
        d=d.flatten().to_numpy(),
        divergence=divergence.flatten().to_numpy().astype(np.float64),
        flip=flip.flatten().to_numpy(zero_copy_only=False),
        margin=margin.flatten().to_numpy().astype(np.float64),
        bounds=np.append(0, np.cumsum(d.value_lengths().to_numpy(), dtype=np.int64)),
    )


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
