"""A recording from an engine made up here: the whole trace, an engine beside it, and its memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest

from harness import evidence, recorder, session
from harness.base.case import Case
from harness.base.errors import ConfigError, RequestError
from harness.base.record import Distance
from harness.candidate import Opened
from harness.checker.calibration import AGREED, chosen
from harness.checker.tolerance import ClassTolerances
from harness.client import Asker, Endpoint
from harness.recorder import Known
from harness.recording import TOKENS_IN_GROUP, Trace
from launchers.dialect import Request
from launchers.reference import ReferenceDialect
from scripts import measure_memory
from tests import building

MIB_BAND = 24  # what 4 times the rows may cost; their noise is some 8, and all held they take 44
CASES = [Case(id=f"{s}-{i}", stratum=s, prompt="a" * 40) for s in ("chat", "code") for i in (1, 2)]


def quiet(_text: str) -> None:
    """Announces nothing."""


class FurtherOff(measure_memory.MadeUp):
    """Another engine, whose logprobs lie as many nats lower."""

    def __init__(self, nats: float) -> None:
        self._nats = nats

    def send(self, request: Request) -> bytes:
        with np.load(io.BytesIO(super().send(request))) as arrays:
            found = dict(arrays)
        found["logprobs"] = found["logprobs"] - self._nats
        file = io.BytesIO()
        np.savez(file, **found)
        return file.getvalue()


def another(endpoint: object) -> Opened:
    asker = Asker(cast("Endpoint", endpoint), ReferenceDialect(model="another"))
    return replace(measure_memory.opened(), title="another", asker=asker)


def known(endpoint: object, numerics: str = "fp32") -> Known:
    def open_it() -> AbstractContextManager[Opened]:
        return nullcontext(another(endpoint))

    return Known(title="another", numerics=numerics, open=open_it)


def recorded(path: Path, classes: Sequence[str] = ("fp32",), **more: Any) -> Trace:
    recorder.record(
        measure_memory.opened(),
        CASES,
        corpus="made up",
        path=path,
        announce=quiet,
        classes=classes,
        texts=False,
        **more,
    )
    return Trace(path)


def test_a_trace_holds_every_sequence_every_way_and_what_it_was_recorded_under(
    tmp_path: Path,
) -> None:
    spec = chosen(3.0, 0.01, None)
    trace = recorded(tmp_path / "x.trace", ("fp32", "bf16"), calibration=spec)
    assert [trace[i].case for i in range(len(trace))] == CASES
    assert {len(trace[i].token_ids) for i in range(len(trace))} == {40 + 48}
    for numerics in ("fp32", "bf16"):
        tolerances = session.tolerances_of(trace, numerics)
        units = list(trace.pool().only(numerics))
        assert len(units) == len(CASES) * len(tolerances.configurations)
        assert list(dict.fromkeys(u.configuration for u in units)) == list(
            tolerances.configurations
        )
        assert tolerances.gamma == 3.0
        counts = trace.manifest["benign"][numerics]["histogram"]["counts"]
        assert sum(counts) == sum(len(u.distance.d) for u in units)
    table = trace.manifest["calibration"]
    assert (table["gamma"], table["alpha"], table["beta"], table["q"]) == (3.0, 0.01, 0.005, 0.05)
    assert table["alpha_shares"] == dict(AGREED.alpha_shares)
    ids = {i for row in range(len(trace)) for i in trace[row].token_ids}
    assert ids <= set(trace.vocabulary())


def test_an_engine_known_to_be_right_widens_the_pool_of_its_class(tmp_path: Path) -> None:
    def tolerances(*further: Known) -> ClassTolerances:
        trace = recorded(tmp_path / "x.trace", ("fp32", "bf16"), further=further)
        assert "another" not in session.tolerances_of(trace, "bf16").configurations
        return session.tolerances_of(trace, "fp32")

    alone, widened = tolerances(), tolerances(known(FurtherOff(4e-3)))
    assert widened.configurations == (*alone.configurations, "another")
    assert widened.implementations == (*alone.implementations, "reference")
    assert widened.of("chat").benign_mean_d == pytest.approx(4e-3)
    assert widened.of("chat").tau_a > 2 * alone.of("chat").tau_a


def test_an_engine_that_is_evidently_not_right_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    words = r"the benign pool of fp32 is not calibrated .*another: mean \|d\| in chat is 1 nats"
    with pytest.raises(ConfigError, match=words):
        recorded(tmp_path / "x.trace", further=(known(FurtherOff(1.0)),))
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_fails_while_the_pool_is_recorded_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a finite number"):
        recorded(tmp_path / "x.trace", further=(known(FurtherOff(np.inf)),))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "classes", "words"),
    [
        ("http://127.0.0.1:1", ("fp32",), "name a pin"),
        ("tiny-k2/vllm-cpu", ("fp32",), "serves 'tiny-k2'; the trace is of 'tiny-moe'"),
        ("tiny-moe/vllm-cpu", ("bf16",), "promises fp32; the trace holds tolerances for bf16"),
    ],
)
def test_a_pool_of_another_model_or_class_is_refused_before_anything_starts(
    name: str, classes: tuple[str, ...], words: str
) -> None:
    reference = session.candidate.prepared("tiny-moe/reference", ())
    with pytest.raises(ConfigError, match=words):
        session.known_right(name, reference, classes, quiet)


def test_long_prompts_are_strata_of_their_own_and_counted_by_who_renders(tmp_path: Path) -> None:
    """A letter is a token here."""
    engine = measure_memory.opened(1)
    engine.identity["max_length"] = 2048
    recorder.record(
        engine,
        CASES,
        corpus="made up",
        path=tmp_path / "x.trace",
        announce=quiet,
        classes=("fp32",),
        longest=2048,
        texts=False,
    )
    trace = Trace(tmp_path / "x.trace")
    assert trace.strata == ("chat", "code", "long-2k")
    lengths = [trace.tokens_of[row] for row in trace.members("long-2k")]
    assert len(lengths) == 80
    assert min(lengths) > 1700 and max(lengths) < 2048
    assert trace.manifest["corpus"]["longest"] == 2048
    with pytest.raises(ConfigError, match="the model takes 2048 tokens"):
        recorder.record(
            engine,
            CASES,
            corpus="",
            path=tmp_path / "y.trace",
            announce=quiet,
            classes=("fp32",),
            longest=4096,
        )


def test_a_row_group_is_bounded_by_its_tokens_and_rows_are_found_in_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [
        replace(building.recorded(i, "chat", rng, "x"), token_ids=tuple(range(n)))
        for i, n in enumerate((TOKENS_IN_GROUP, 3, 5, TOKENS_IN_GROUP - 1, 8, 9))
    ]
    units = building.pool_of(building.sequences(2))
    building.recording.write(
        tmp_path / "x.trace", manifest={}, sequences=rows, pool=units, vocabulary={}
    )
    trace = Trace(tmp_path / "x.trace")
    for row in (5, 0, 3, 1, 4, 2):
        assert trace[row].token_ids == rows[row].token_ids
    assert [u.case_id for u in trace.pool().only("fp32", "b")] == [u.case_id for u in units[:4]]


def test_evidence_is_written_in_few_row_groups_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "evidence.parquet"
    tokens = evidence.TOKENS_IN_GROUP // 10
    distances: dict[str, Distance] = {
        f"case {i}": building.distance(np.full(tokens, float(i))) for i in range(25)
    }
    with evidence.written(path) as file:
        for name, distance in distances.items():
            file.add("L2", "chat", name, distance)
    assert pq.ParquetFile(path).num_row_groups == 3
    found = evidence.differences(path, level="L2")
    assert list(found) == list(distances)
    assert all(np.array_equal(found[name], distances[name].d) for name in found)
    rows = list(evidence.answered(path, level="L2"))
    assert [(row.group, row.case_id) for row in rows] == [("chat", name) for name in distances]
    for row in rows:
        for name in Distance.__dataclass_fields__:
            written = getattr(distances[row.case_id], name)
            assert np.array_equal(getattr(row.distance, name), written), name
    assert not list(evidence.answered(path, level="L1"))


def test_four_times_the_tokens_take_no_more_memory_to_record_and_to_judge() -> None:
    """Peak memory of a process each, two benign configurations, 16 k tokens held at a time."""
    few, many = (measure_memory.measured(tokens, 2, 16_384) for tokens in (60_000, 240_000))
    assert many[3] > 3.9 * few[3]  # all of it was judged
    assert many[4] - few[4] > 20
    assert many[1] - few[1] < MIB_BAND, (few, many)
    assert many[2] - few[2] < MIB_BAND, (few, many)
