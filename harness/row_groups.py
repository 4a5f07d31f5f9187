"""Reads a trace's rows a row group at a time, in order or at random."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from threading import Lock
from typing import IO, Any

import numpy as np
import pyarrow.parquet as pq

from harness import columns
from harness.columns import PoolUnit, Recorded

KEPT_TOKENS = 131_072  # of the row groups read last: about 23 MB
Open = Callable[[], IO[bytes]]


class Sequences:
    """The sequences of a trace, by their number. Thread-safe: levels ask in many threads."""

    def __init__(self, file: IO[bytes], *, kept_tokens: int | None = None) -> None:
        """`kept_tokens`: held of what was read last; None: KEPT_TOKENS."""
        self._most = KEPT_TOKENS if kept_tokens is None else kept_tokens
        self._file = pq.ParquetFile(file)
        index = self._file.read(columns=["case_id", "stratum", "tokens", "prompt_tokens"])
        self.case_ids: list[str] = index["case_id"].to_pylist()
        self.stratum_of: list[str] = index["stratum"].to_pylist()
        self.tokens_of: list[int] = index["tokens"].to_pylist()
        self.prompt_tokens_of: list[int] = index["prompt_tokens"].to_pylist()
        self._starts = np.array([0, *accumulate(_rows(self._file))])
        self._kept: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.case_ids)

    def __getitem__(self, row: int) -> Recorded:
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        place = row - int(self._starts[group])
        with self._lock:
            table = self._group(group)
        return columns.recorded({n: column[place] for n, column in table.items()})

    def __iter__(self) -> Iterator[Recorded]:
        return (self[row] for row in range(len(self)))

    def _group(self, group: int) -> dict[str, Any]:
        """Read, unless it is one of the last; the oldest of these go."""
        if group not in self._kept:
            table = self._file.read_row_group(group)
            self._kept[group] = {name: table.column(name) for name in table.column_names}
        self._kept.move_to_end(group)
        while len(self._kept) > 1 and sum(map(self._tokens, self._kept)) > self._most:
            self._kept.popitem(last=False)
        return self._kept[group]

    def _tokens(self, group: int) -> int:
        return sum(self.tokens_of[int(self._starts[group]) : int(self._starts[group + 1])])


class Pool:
    """The benign pool of a trace, or a part of it: iterated as often as one likes, from its start.

    Of units that are not of the part, two columns are read.
    """

    def __init__(
        self, open_file: Open, *, numerics: str | None = None, configuration: str | None = None
    ) -> None:
        self._open = open_file
        self._numerics = numerics
        self._configuration = configuration

    def only(self, numerics: str, configuration: str | None = None) -> Pool:
        """The units of a class, or of one configuration of it."""
        return Pool(self._open, numerics=numerics, configuration=configuration)

    def __iter__(self) -> Iterator[PoolUnit]:
        with self._open() as opened:
            file = pq.ParquetFile(opened)
            for group in range(file.num_row_groups):
                names = file.read_row_group(group, columns=["numerics", "configuration"])
                wanted = [row for row, name in enumerate(names.to_pylist()) if self._holds(name)]
                if wanted:
                    table = file.read_row_group(group)
                    parts = {name: table.column(name) for name in table.column_names}
                    for row in wanted:
                        yield columns.pool_unit({n: column[row] for n, column in parts.items()})

    def _holds(self, unit: Mapping[str, str]) -> bool:
        return self._numerics in (None, unit["numerics"]) and self._configuration in (
            None,
            unit["configuration"],
        )


def _rows(file: pq.ParquetFile) -> list[int]:
    return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
