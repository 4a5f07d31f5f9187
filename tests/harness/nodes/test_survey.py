"""What of nodes is refused, and what is only said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import BuildError, ConfigError, EnginediffError, LaunchError
from harness.nodes import survey
from harness.nodes.prepared import Prepared
from harness.nodes.survey import EngineThere, Facts, Problem, Survey
from harness.runs.spec import EngineTable
from launchers import pins
from launchers.pins import LoadedPin
from tests.harness.runs.made_up import SPEC

FACTS = Facts(
    enginediff="1.0",
    source="ab" * 32,
    python="3.11.0",
    home="/home/e",
    free_gb=500.0,
    cpu="2 x x86",
    gpus="8 x NVIDIA H20",
)
NAME = "tiny-moe/vllm-cpu"
MOST_GB = 100.0


def there(
    loaded: LoadedPin | None = None, *, name: str = NAME, error: EnginediffError | None = None
) -> EngineThere:
    if error is not None:
        return EngineThere(name=name, prepared=None, error=error)
    table = EngineTable(name=name)
    prepared = Prepared(table=table, loaded=loaded, file="1-e", breaches=())
    return EngineThere(name=name, prepared=prepared)


def node(name: str, *engines: EngineThere, ahead_s: float = 0.0, facts: Facts = FACTS) -> Survey:
    return Survey(node=name, facts=facts, engines=engines or (there(),), clock_ahead_s=ahead_s)


def problems(*surveys: Survey) -> list[Problem]:
    return survey.problems(surveys, MOST_GB)


def test_nodes_that_are_alike_have_no_problems_however_many() -> None:
    loaded = pins.load(NAME)
    assert problems(*(node(name, there(loaded)) for name in "abc")) == []
    elsewhere = replace(FACTS, home="/other", python="3.12.1", cpu="96 x arm", free_gb=101.0)
    assert problems(node("a"), node("b", facts=elsewhere)) == []


@pytest.mark.parametrize(
    ("error", "severity"),
    [
        (ConfigError("the model is not there"), "wrong"),
        (BuildError("pip failed"), "blocking"),
        (LaunchError("no disk"), "blocking"),
    ],
)
def test_an_engine_that_cannot_be_prepared_is_the_nodes_problem(
    error: EnginediffError, severity: str
) -> None:
    found = problems(node("a"), node("b", there(error=error)))
    assert [(one.node, one.severity, one.what) for one in found] == [
        ("b", severity, f"{NAME}: {error}")
    ]


def test_an_engine_is_not_named_twice() -> None:
    (found,) = problems(node("a", there(error=ConfigError(f"{NAME}: is no pin"))))
    assert found.what == f"{NAME}: is no pin"


@pytest.mark.parametrize(
    ("free_gb", "severity", "words"),
    [
        (0.5, "blocking", "/home/e: 0.50 GB are free; at least 1 must be"),
        (99.0, "warning", "/home/e: 99 GB are free; answers as long as can be take 100"),
    ],
)
def test_a_disk_that_is_full_blocks_and_one_that_may_be_is_told(
    free_gb: float, severity: str, words: str
) -> None:
    (found,) = problems(node("a"), node("b", facts=replace(FACTS, free_gb=free_gb)))
    assert (found.node, found.severity, found.what) == ("b", severity, words)


@pytest.mark.parametrize(("ahead_s", "word"), [(2.5, "2.5 s ahead of"), (-40.0, "40.0 s behind")])
def test_a_clock_that_is_another_is_told(ahead_s: float, word: str) -> None:
    (found,) = problems(node("a"), node("b", ahead_s=ahead_s))
    assert (found.node, found.severity) == ("b", "warning")
    assert word in found.what
    assert problems(node("a", ahead_s=0.4), node("b", ahead_s=-0.4)) == []


@pytest.mark.parametrize(
    "facts", [replace(FACTS, enginediff="1.1"), replace(FACTS, source="cd" * 32)]
)
def test_another_enginediff_is_wrong_whether_its_version_says_so_or_not(facts: Facts) -> None:
    (found,) = problems(node("a"), node("b", facts=facts))
    assert (found.node, found.severity) == ("b", "wrong")
    assert f"is {facts.enginediff} (source {facts.source[:12]})" in found.what
    assert f"1.0 (source {FACTS.source[:12]}) on a" in found.what


def test_a_pin_that_is_another_there_is_wrong_and_what_differs_is_named(tmp_path: Path) -> None:
    loaded = pins.load(NAME)
    other = pins.load(NAME, ["engine.ready_deadline_s=77.0"])
    (found,) = problems(node("a", there(loaded)), node("b", there(other)), node("c", there(loaded)))
    assert (found.node, found.severity) == ("b", "wrong")
    assert f"{NAME} is another pin than on a" in found.what
    assert "engine.ready_deadline_s is 77.0, and " in found.what
    moved = replace(loaded, model_path=tmp_path)  # as it may be on each node
    assert problems(node("a", there(loaded)), node("b", there(moved))) == []


def test_what_is_refused_names_every_node_and_what_is_wrong_before_what_blocks() -> None:
    said = list[str]()
    late = node("late", ahead_s=9.0)
    survey.require_agreed([node("a"), late], MOST_GB, said.append)
    assert len(said) == 1 and said[0].startswith("late: its clock is 9.0 s ahead")
    full = node("full", facts=replace(FACTS, free_gb=0.1))
    with pytest.raises(LaunchError, match="nothing was begun:\n  full: /home/e") as caught:
        survey.require_agreed([node("a"), full, late], MOST_GB, said.append)
    assert "late" not in str(caught.value) and len(said) == 2
    old = node("old", facts=replace(FACTS, enginediff="0.9"))
    bad = node("bad", there(error=ConfigError("no model")))
    with pytest.raises(ConfigError) as refused:
        survey.require_agreed([node("a"), full, old, bad], MOST_GB, said.append)
    assert [line.split(":")[0].strip() for line in str(refused.value).splitlines()[1:]] == [
        "bad",
        "old",
    ]


def test_the_disk_that_is_needed_is_that_of_the_longest_answers_over_the_nodes() -> None:
    spec = replace(SPEC, sampling=replace(SPEC.sampling, max_tokens=100_000))
    one = survey.needed_gb(spec, 1000, 1)
    assert one == pytest.approx(6.0)  # 1e8 tokens of 60 bytes
    assert survey.needed_gb(spec, 1000, 4) == pytest.approx(one / 4)
    two = replace(spec, engines=spec.engines * 2)
    assert survey.needed_gb(two, 1000, 1) == pytest.approx(2 * one)


def test_this_machine_has_facts_and_the_same_source_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINEDIFF_HOME", str(tmp_path / "home"))
    found = survey.facts()
    assert found.home == str(tmp_path / "home") and found.free_gb > 0
    assert found.source == survey.source() and len(found.source) == 64
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENGINEDIFF_HOME", str(tmp_path / "file"))
    with pytest.raises(LaunchError, match="cannot be written"):
        survey.facts()
