"""A trace: a reference recorded once, that a candidate can be checked against anywhere, any day.

One file: a zip of stored members, so that it is copied, renamed and published as one thing, and a
truncated copy is recognised (the directory of a zip stands at its end).

    trace.json          schema, reference, corpus, tolerances, benign bands, sha256 of the members
    sequences.parquet   a row per prompt: case, token ids, the reference's logprobs and top-k
    pool.parquet        a row per prompt and benign configuration: what the tolerances come from
    vocabulary.parquet  the text of each token id that occurs, so that a report can show it

Sequences are read a row group at a time, so memory does not grow with the trace.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.base import atomic
from harness.base.case import Case, Chat
from harness.base.errors import ConfigError
from harness.base.record import Distance, Floats, Scores

SCHEMA = 1
ROWS_IN_GROUP = 16
# What zipfile raises for damage: RuntimeError and NotImplementedError where a flag is flipped.
NOT_WHOLE = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, OSError, RuntimeError)
SEQUENCES, POOL, VOCABULARY = "sequences.parquet", "pool.parquet", "vocabulary.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One prompt with the reference's own continuation, and how the reference scores it."""

    case: Case
    token_ids: tuple[int, ...]  # T: the prompt, then what the reference sampled at T = 1
    prompt_tokens: int
    scores: Scores  # T - 1 positions, k alternatives


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUnit:
    """One sequence as one benign configuration computed it, against the reference."""

    numerics: str
    configuration: str
    implementation: str
    stratum: str
    case_id: str
    distance: Distance


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """How a token id reads."""

    text: str
    special: bool


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
    with atomic.replacing(path) as temporary, TemporaryDirectory(dir=path.parent) as folder:
        members = Path(folder)
        _write_rows(members / SEQUENCES, SEQUENCE_SCHEMA, map(_sequence_row, sequences))
        _write_rows(members / POOL, POOL_SCHEMA, map(_pool_row, pool))
        rows = ({"id": i, "text": t.text, "special": t.special} for i, t in vocabulary.items())
        _write_rows(members / VOCABULARY, VOCABULARY_SCHEMA, rows)
        for name, content in (more or {}).items():
            (members / name).write_bytes(content)
        names = (SEQUENCES, POOL, VOCABULARY, *(more or {}))
        hashes = {name: _sha256(members / name) for name in names}
        document = {"schema": SCHEMA, **manifest, "members": hashes}
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name in hashes:
                archive.write(members / name, name)
            archive.writestr("trace.json", json.dumps(document, indent=1))


class Trace:
    """A trace opened for reading. `manifest` is `trace.json`."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where `path` is not a whole trace that this version can read."""
        self.path = path
        self.manifest = _read_manifest(path)
        self.sha256 = _sha256(path)
        archive = zipfile.ZipFile(path)
        self._file = pq.ParquetFile(archive.open(SEQUENCES))
        index = self._file.read(columns=["case_id", "stratum", "tokens", "prompt_tokens"])
        self.case_ids: list[str] = index["case_id"].to_pylist()
        self.stratum_of: list[str] = index["stratum"].to_pylist()
        self.tokens_of: list[int] = index["tokens"].to_pylist()
        self.prompt_tokens_of: list[int] = index["prompt_tokens"].to_pylist()
        self._group = lru_cache(maxsize=64)(self._read_group)

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
        group, place = divmod(row, ROWS_IN_GROUP)
        return _recorded({name: column[place] for name, column in self._group(group).items()})

    def pool(self) -> Iterator[PoolUnit]:
        """All units of the benign pool, a row group at a time."""
        with zipfile.ZipFile(self.path) as archive, archive.open(POOL) as file:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=ROWS_IN_GROUP):
                yield from map(_pool_unit, batch.to_pylist())

    def benign_divergence(self, numerics: str) -> dict[str, Floats]:
        """case id -> (T - 1,) nats: the largest divergence of any benign configuration at each
        position."""
        worst: dict[str, Floats] = {}
        columns = ["numerics", "case_id", "divergence"]
        with zipfile.ZipFile(self.path) as archive, archive.open(POOL) as file:
            for batch in pq.ParquetFile(file).iter_batches(columns=columns):
                cases = batch.column("case_id").to_pylist()
                for place, name in enumerate(batch.column("numerics").to_pylist()):
                    if name == numerics:
                        found: Floats = _array(batch.column("divergence")[place], np.float64)
                        case: str = cases[place]
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

    def _read_group(self, group: int) -> dict[str, Any]:
        table = self._file.read_row_group(group)
        return {name: table.column(name) for name in table.column_names}


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
    if manifest["schema"] != SCHEMA:
        raise ConfigError(f"{path}: schema is {manifest['schema']}; this enginediff reads {SCHEMA}")
    return manifest


def _write_rows(path: Path, schema: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        batch: list[Mapping[str, Any]] = []
        for row in rows:
            batch.append(row)
            if len(batch) == ROWS_IN_GROUP:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


SEQUENCE_SCHEMA = pa.schema(
    [
        ("case_id", pa.string()),
        ("stratum", pa.string()),
        ("prompt", pa.string()),  # JSON: a string, or a chat
        ("tokens", pa.int32()),  # T
        ("prompt_tokens", pa.int32()),
        ("token_ids", pa.list_(pa.int32())),  # (T,)
        ("logprobs", pa.list_(pa.float64())),  # (T - 1,)
        ("top_ids", pa.list_(pa.int32())),  # (T - 1) * k
        ("top_logprobs", pa.list_(pa.float32())),  # (T - 1) * k
    ]
)
POOL_SCHEMA = pa.schema(
    [
        ("numerics", pa.string()),
        ("configuration", pa.string()),
        ("implementation", pa.string()),
        ("stratum", pa.string()),
        ("case_id", pa.string()),
        ("d", pa.list_(pa.float32())),  # (T - 1,) and so are the others
        ("divergence", pa.list_(pa.float32())),
        ("flip", pa.list_(pa.bool_())),
        ("margin", pa.list_(pa.float32())),
        ("margin_change", pa.list_(pa.float32())),
    ]
)
VOCABULARY_SCHEMA = pa.schema([("id", pa.int32()), ("text", pa.string()), ("special", pa.bool_())])


def _sequence_row(sequence: Recorded) -> dict[str, Any]:
    return {
        "case_id": sequence.case.id,
        "stratum": sequence.case.stratum,
        "prompt": _prompt_to_json(sequence.case.prompt),
        "tokens": len(sequence.token_ids),
        "prompt_tokens": sequence.prompt_tokens,
        "token_ids": sequence.token_ids,
        "logprobs": sequence.scores.logprobs,
        "top_ids": sequence.scores.top_ids.ravel(),
        "top_logprobs": sequence.scores.top_logprobs.ravel().astype(np.float32),
    }


def _recorded(row: Mapping[str, Any]) -> Recorded:
    """`row` holds arrow scalars: a list's values come out as one array, not as Python objects."""
    logprobs = _array(row["logprobs"], np.float64)
    positions = len(logprobs)
    scores = Scores(
        logprobs=logprobs,
        top_ids=_array(row["top_ids"], np.int32).reshape(positions, -1),
        top_logprobs=_array(row["top_logprobs"], np.float64).reshape(positions, -1),
    )
    prompt = _prompt_from_json(row["prompt"].as_py())
    return Recorded(
        case=Case(id=row["case_id"].as_py(), stratum=row["stratum"].as_py(), prompt=prompt),
        token_ids=tuple(row["token_ids"].as_py()),
        prompt_tokens=row["prompt_tokens"].as_py(),
        scores=scores,
    )


def _array(scalar: Any, kind: type[np.generic]) -> Any:
    return scalar.values.to_numpy(zero_copy_only=False).astype(kind)


def _pool_row(unit: PoolUnit) -> dict[str, Any]:
    return {
        "numerics": unit.numerics,
        "configuration": unit.configuration,
        "implementation": unit.implementation,
        "stratum": unit.stratum,
        "case_id": unit.case_id,
        "d": unit.distance.d.astype(np.float32),
        "divergence": unit.distance.divergence.astype(np.float32),
        "flip": unit.distance.flip,
        "margin": unit.distance.margin.astype(np.float32),
        "margin_change": unit.distance.margin_change.astype(np.float32),
    }


def _pool_unit(row: Mapping[str, Any]) -> PoolUnit:
    floats = {n: np.array(row[n]) for n in ("d", "divergence", "margin", "margin_change")}
    return PoolUnit(
        numerics=row["numerics"],
        configuration=row["configuration"],
        implementation=row["implementation"],
        stratum=row["stratum"],
        case_id=row["case_id"],
        distance=Distance(flip=np.array(row["flip"], dtype=np.bool_), **floats),
    )


def _prompt_to_json(prompt: Chat | str) -> str:
    if isinstance(prompt, str):
        return json.dumps(prompt, ensure_ascii=False)
    chat = {"messages": prompt.messages, "tools": prompt.tools, "thinking": prompt.thinking}
    return json.dumps(chat, ensure_ascii=False)


def _prompt_from_json(text: str) -> Chat | str:
    value = json.loads(text)
    if isinstance(value, str):
        return value
    tools = value["tools"]
    return Chat(
        messages=tuple(value["messages"]),
        tools=None if tools is None else tuple(tools),
        thinking=value["thinking"],
    )


def _member_sha256(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as member:
        while block := member.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
