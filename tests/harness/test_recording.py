"""A trace is read as it was written, or refused; a writer that fails leaves nothing."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import recording
from harness.base.case import Chat
from harness.base.errors import ConfigError
from harness.recording import ROWS_IN_GROUP, PoolUnit, Recorded, Token, Trace
from harness.row_groups import Sequences
from tests.building import pool_of, recorded, sequences, write_trace

TEXT = st.text(max_size=20)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.just("user"), "content": TEXT | st.lists(TEXT, max_size=2)}),
    max_size=2,
).map(tuple)
TOOLS = st.none() | st.lists(st.dictionaries(TEXT, TEXT, max_size=2), max_size=2).map(tuple)
PROMPTS = TEXT | st.builds(Chat, messages=MESSAGES, tools=TOOLS, thinking=st.none() | st.booleans())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A whole trace of 20 sequences: two row groups."""
    write_trace(tmp_path / "good.trace", sequences(10))
    return tmp_path / "good.trace"


def assert_same(found: Recorded, written: Recorded) -> None:
    assert found.case == written.case
    assert found.token_ids == written.token_ids
    assert found.prompt_tokens == written.prompt_tokens
    assert np.array_equal(found.scores.logprobs, written.scores.logprobs)
    assert np.array_equal(found.scores.top_ids, written.scores.top_ids)
    assert np.array_equal(found.scores.top_logprobs, written.scores.top_logprobs)
    assert found.scores.top_ids.dtype == np.int32


@settings(max_examples=15, deadline=None)
@given(st.lists(PROMPTS, min_size=1, max_size=3), st.integers(0, 9), st.dictionaries(TEXT, TEXT))
def test_what_was_written_is_read_back_the_same(
    prompts: Sequence[Chat | str], seed: int, texts: dict[str, str]
) -> None:
    rng = np.random.default_rng(seed)
    rows = [recorded(i, "chat", rng, prompt) for i, prompt in enumerate(prompts)]
    words = {i: Token(text=t, special=i % 2 == 0) for i, t in enumerate(texts.values())}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.trace"
        recording.write(
            path, manifest={"note": texts}, sequences=rows, pool=pool_of(rows), vocabulary=words
        )
        trace = Trace(path)
        assert len(trace) == len(rows)
        for row, written in enumerate(rows):
            assert_same(trace[row], written)
        assert trace.vocabulary() == words
        assert trace.manifest["note"] == texts
        units = list(trace.pool())
        assert [u.case_id for u in units] == [u.case_id for u in pool_of(rows)]
        for unit, expected in zip(units, pool_of(rows), strict=True):
            assert unit.configuration == expected.configuration
            assert unit.distance.d == pytest.approx(expected.distance.d, rel=1e-6)
            assert unit.distance.flip.dtype == np.bool_


def test_rows_read_at_random_are_those_read_in_order(tmp_path: Path) -> None:
    rows = sequences(2 * ROWS_IN_GROUP)  # 64 rows of two strata
    rows = [row for pair in zip(rows[:32], rows[32:], strict=True) for row in pair]
    write_trace(tmp_path / "x.trace", rows)
    trace = Trace(tmp_path / "x.trace")
    for row in np.random.default_rng(1).permutation(len(rows)).tolist() * 2:
        assert_same(trace[row], rows[row])
    assert trace.strata == ("chat", "text")
    assert trace.members("text") == list(range(1, 64, 2))
    assert trace.tokens_of == [len(row.token_ids) for row in rows]


def test_rows_are_read_by_many_threads_at_once(tmp_path: Path) -> None:
    """Levels ask in threads; row groups come and go meanwhile."""
    rows = sequences(6 * ROWS_IN_GROUP)
    write_trace(tmp_path / "t.trace", rows)
    with zipfile.ZipFile(tmp_path / "t.trace") as archive:
        (tmp_path / "rows.parquet").write_bytes(archive.read(recording.SEQUENCES))
    order: list[int] = np.random.default_rng(1).integers(len(rows), size=600).tolist()
    with (tmp_path / "rows.parquet").open("rb") as file, ThreadPoolExecutor(16) as threads:
        read = Sequences(file, kept_tokens=1)
        found = list(threads.map(read.__getitem__, order))
    assert [one.case.id for one in found] == [rows[row].case.id for row in order]


def test_a_trace_cut_short_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    ends = [0, 1, *range(22, len(whole), len(whole) // 18), len(whole) - 22, len(whole) - 1]
    for end in ends:
        path.write_bytes(whole[:end])
        with pytest.raises(ConfigError, match="not a whole trace") as caught:
            Trace(path)
        assert str(path) in str(caught.value)


def test_a_flipped_byte_in_any_member_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    assert len(members) == 4
    for member in members:
        start = member.header_offset + 30 + len(member.filename)
        for place in (start, start + member.file_size // 2, start + member.file_size - 1):
            damaged = bytearray(whole)
            damaged[place] ^= 0x10
            path.write_bytes(damaged)
            with pytest.raises(ConfigError):
                Trace(path)


def test_a_flipped_byte_in_the_zips_own_tables_never_is_a_bug_of_ours(path: Path) -> None:
    """It is refused, or it is in a field that nothing reads (a date, an attribute)."""
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        places = range(archive.start_dir, len(whole))
    opened = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 0x01
        path.write_bytes(damaged)
        with suppress(ConfigError):
            assert len(Trace(path)) == 20
            opened += 1
    assert opened < len(places) / 2


def rewritten(path: Path, **changes: Any) -> None:
    """The same trace with other keys in `trace.json`, its checksums right."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["trace.json"] = json.dumps({**json.loads(members["trace.json"]), **changes}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_another_schema_is_refused(path: Path) -> None:
    rewritten(path)
    assert len(Trace(path)) == 20
    rewritten(path, schema=3)
    with pytest.raises(ConfigError, match="schema is 3; this enginediff reads 1 and 2"):
        Trace(path)


def test_a_member_that_is_not_the_one_recorded_is_refused(path: Path) -> None:
    members = {**Trace(path).manifest["members"], "pool.parquet": "0" * 64}
    rewritten(path, members=members)
    with pytest.raises(ConfigError, match=r"pool\.parquet is damaged"):
        Trace(path)


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    text, other = tmp_path / "text.trace", tmp_path / "zip.trace"
    text.write_text("schema = 1")
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme", "hello")
    for path in (text, other):
        with pytest.raises(ConfigError, match="not a whole trace"):
            Trace(path)
    for path in (tmp_path, tmp_path / "absent.trace"):
        with pytest.raises(ConfigError, match="no such trace"):
            Trace(path)


def test_a_writer_that_fails_leaves_the_old_trace_and_nothing_else(path: Path) -> None:
    before = path.read_bytes()
    rows = sequences(3)

    def breaks() -> Iterator[PoolUnit]:
        yield from pool_of(rows)[:20]
        raise RuntimeError("the engine died")

    with pytest.raises(RuntimeError, match="the engine died"):
        recording.write(path, manifest={}, sequences=rows, pool=breaks(), vocabulary={})
    late: dict[str, Any] = {"not JSON": object()}  # seen when the members are already packed
    with pytest.raises(TypeError, match="not JSON serializable"):
        recording.write(path, manifest=late, sequences=rows, pool=pool_of(rows), vocabulary={})
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
