"""Which reference runs beside a candidate, and what is refused before anything is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import live
from harness.base.errors import ConfigError
from harness.recording import Trace
from launchers import pins
from launchers.pins import DeploymentTable, LoadedPin
from tests.building import sequences, write_trace

NAME = "tiny-moe/reference"


def trace_of(path: Path, reference: dict[str, object]) -> Trace:
    write_trace(
        path / "t.trace", sequences(2), reference={"title": "x", "identity": {}} | reference
    )
    return Trace(path / "t.trace")


def recorded(**changes: object) -> dict[str, object]:
    pin: dict[str, object] = {"name": NAME, "changes": [], "hash": pins.load(NAME).hash}
    return {"pin": pin | changes}


def quiet(_line: str) -> None:
    """Announces nothing."""


def on_gpus(name: str) -> LoadedPin:
    loaded = pins.load(name)
    table = DeploymentTable(
        nodes=1, gpus_per_node=8, gpu_memory_gb=600, host_memory_gb=100, disk_gb=600
    )
    return replace(loaded, pin=replace(loaded.pin, deployment=table))


def test_a_trace_names_the_pin_that_it_was_recorded_of(tmp_path: Path) -> None:
    found = live.prepared("t.trace", trace_of(tmp_path, recorded()), None, quiet)
    assert found.loaded is not None
    assert found.name == found.loaded.name == NAME


def test_a_trace_of_a_url_is_opened_at_that_url(tmp_path: Path) -> None:
    trace = trace_of(tmp_path, {"pin": None, "title": "http://127.0.0.1:1#tiny-moe"})
    found = live.prepared("t.trace", trace, None, quiet)
    assert (found.name, found.loaded) == ("http://127.0.0.1:1#tiny-moe", None)


def test_a_trace_that_names_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name a reference pin or its URL in --against"):
        live.prepared("t.trace", trace_of(tmp_path, {"pin": None}), None, quiet)


def test_a_pin_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it is another now"):
        live.prepared("t.trace", trace_of(tmp_path, recorded(hash="0" * 64)), None, quiet)


def test_two_that_take_the_gpus_of_one_node_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = on_gpus(NAME)

    def prepared(*_: object) -> LoadedPin:
        return reference

    monkeypatch.setattr("harness.candidate.prepared", prepared)
    trace = trace_of(tmp_path, recorded(hash=reference.hash))
    with pytest.raises(ConfigError, match="each take the GPUs of this node"):
        live.prepared("t.trace", trace, on_gpus("tiny-moe/vllm-cpu"), quiet)
    cpu = pins.load("tiny-moe/vllm-cpu")
    assert live.prepared("t.trace", trace, cpu, quiet).loaded is reference
