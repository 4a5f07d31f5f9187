"""A trace: a reference recorded once, that a candidate can be checked against anywhere, any day.

One file: a zip of stored members, so that it is copied, renamed and published as one thing, and a
truncated copy is recognised (the directory of a zip stands at its end).

    trace.json          schema, reference, corpus, tolerances, benign bands, sha256 of the members
    sequences.parquet   a row per prompt: case, token ids, the reference's logprobs and top-k
    pool.parquet        a row per prompt and benign configuration: what the tolerances come from
    vocabulary.parquet  the text of each token id that occurs, so that a report can show it

It is written and read a row group at a time: of what grows with a trace, id, stratum and length of
each sequence are held in memory, and nothing of its tokens. A row group is a row at least.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness import columns
from harness.base import atomic
from harness.base.errors import ConfigError
from harness.base.record import Floats
from harness.columns import PoolUnit, Recorded, Token
from harness.row_groups import Pool, Sequences

__all__ = ["PoolUnit", "Recorded", "Token", "Trace", "Writer", "write", "writing"]

SCHEMA = 2  # 1: every row group but the last had 16 rows
READABLE = (1, 2)
ROWS_IN_GROUP = 16
TOKENS_IN_GROUP = 8_192  # about 1.4 MB of sequences
# What zipfile raises for damage: RuntimeError and NotImplementedError where a flag is flipped.
NOT_WHOLE = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, OSError, RuntimeError)
SEQUENCES, POOL, VOCABULARY = "sequences.parquet", "pool.parquet", "vocabulary.parquet"


class Writer:
    """A trace being written: its sequences, then its pool, then all the rest."""

    def __init__(self, folder: Path, archive: Path, reading: ExitStack) -> None:
        """`reading` closes what was opened to be read back."""
        self._folder = folder
        self._archive = archive
        self._reading = reading

    def sequences(self, rows: Iterable[Recorded]) -> Sequences:
        """Writes them as they come; what is returned reads them back."""
        path = self._folder / SEQUENCES
        _write_rows(path, columns.SEQUENCE_SCHEMA, map(columns.sequence_row, rows))
        return Sequences(self._reading.enter_context(path.open("rb")))

    def pool(self, units: Iterable[PoolUnit]) -> Pool:
        """Writes them as they come; what is returned reads them back, as often as is asked."""
        path = self._folder / POOL
        _write_rows(path, columns.POOL_SCHEMA, map(columns.pool_row, units))
        return Pool(partial(path.open, "rb"))

    def finish(
        self,
        *,
        manifest: Mapping[str, Any],
        vocabulary: Mapping[int, Token],
        more: Mapping[str, bytes] | None = None,
    ) -> None:
        """Packs the members; the manifest is written last. `more`: see `write`."""
        rows = ({"id": i, "text": t.text, "special": t.special} for i, t in vocabulary.items())
        _write_rows(self._folder / VOCABULARY, columns.VOCABULARY_SCHEMA, rows)
        for name, content in (more or {}).items():
            (self._folder / name).write_bytes(content)
        names = (SEQUENCES, POOL, VOCABULARY, *(more or {}))
        hashes = {name: _sha256(self._folder / name) for name in names}
        document = {"schema": SCHEMA, **manifest, "members": hashes}
        with zipfile.ZipFile(self._archive, "w", zipfile.ZIP_STORED) as archive:
            for name in hashes:
                archive.write(self._folder / name, name)
            archive.writestr("trace.json", json.dumps(document, indent=1))


@contextmanager
def writing(path: Path) -> Generator[Writer]:
    """A trace that becomes `path` when the block ends well; else what was there stays."""
    with (
        atomic.replacing(path) as temporary,
        TemporaryDirectory(dir=path.parent) as folder,
        ExitStack() as reading,
    ):
        yield Writer(Path(folder), temporary, reading)


def write(
    path: Path,
    *,
    manifest: Mapping[str, Any],
    sequences: Iterable[Recorded],
    pool: Iterable[PoolUnit],
    vocabulary: Mapping[int, Token],
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Writes a trace whole, or leaves what was at `path` as it was.

    `more`: further members, name -> content, read again by `Trace.member`.
    """
    with writing(path) as trace:
        trace.sequences(sequences)
        trace.pool(pool)
        trace.finish(manifest=manifest, vocabulary=vocabulary, more=more)


class Trace:
    """A trace opened for reading. `manifest` is `trace.json`."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where `path` is not a whole trace that this version can read."""
        self.path = path
        self.manifest = _read_manifest(path)
        self.sha256 = _sha256(path)
        self._sequences = Sequences(self._open(SEQUENCES))
        self.case_ids = self._sequences.case_ids
        self.stratum_of = self._sequences.stratum_of
        self.tokens_of = self._sequences.tokens_of
        self.prompt_tokens_of = self._sequences.prompt_tokens_of

    def __len__(self) -> int:
        return len(self.case_ids)

    @property
    def strata(self) -> tuple[str, ...]:
        """In the order of the corpus."""
        return tuple(dict.fromkeys(self.stratum_of))

    @property
    def rendered_by(self) -> str | None:
        """The engine that rendered the prompts; None: the reference itself did."""
        party = self.manifest.get("rendered_by")
        return None if party is None else party["title"]

    def members(self, stratum: str) -> list[int]:
        """The rows of a stratum."""
        return [i for i, name in enumerate(self.stratum_of) if name == stratum]

    def __getitem__(self, row: int) -> Recorded:
        return self._sequences[row]

    def pool(self) -> Pool:
        """The benign pool, read a row group at a time."""
        return Pool(partial(self._open, POOL))

    def benign_divergence(self, numerics: str) -> dict[str, Floats]:
        """case id -> (T - 1,) nats: the largest divergence of any benign configuration at each
        position."""
        worst: dict[str, Floats] = {}
        for unit in self.pool().only(numerics):
            found, case = unit.distance.divergence.astype(np.float64), unit.case_id
            worst[case] = np.maximum(worst[case], found) if case in worst else found
        return worst

    def member(self, name: str) -> bytes | None:
        """A further member; None where this trace has none of that name."""
        if name not in self.manifest["members"]:
            return None
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(name)

    def vocabulary(self) -> dict[int, Token]:
        """How each token id that occurs in the trace reads."""
        with zipfile.ZipFile(self.path) as archive, archive.open(VOCABULARY) as file:
            rows = pq.read_table(file).to_pylist()
        return {r["id"]: Token(text=r["text"], special=r["special"]) for r in rows}

    def _open(self, name: str) -> IO[bytes]:
        return zipfile.ZipFile(self.path).open(name)


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such trace")
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("trace.json"))
            for name, pinned in manifest["members"].items():
                found = _member_sha256(archive, name)
                if found != pinned:
                    raise ConfigError(f"{path}: {name} is damaged (sha256 {found}, not {pinned})")
    except NOT_WHOLE as error:
        raise ConfigError(
            f"{path}: is not a whole trace ({error}); it may be truncated: copy it again, "
            "or record it again with `enginediff record`"
        ) from error
    if manifest["schema"] not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise ConfigError(f"{path}: schema is {manifest['schema']}; this enginediff reads {known}")
    return manifest


def _write_rows(path: Path, schema: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    """A row group whenever there are enough rows, or enough tokens in them."""
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        batch: list[Mapping[str, Any]] = []
        tokens = 0
        for row in rows:
            batch.append(row)
            tokens += columns.tokens(row)
            if len(batch) == ROWS_IN_GROUP or tokens >= TOKENS_IN_GROUP:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch, tokens = [], 0
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _member_sha256(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as member:
        while block := member.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
