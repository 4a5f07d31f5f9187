"""A directory belongs to one spec, and to one process at a time, whose death gives it back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from harness.runs import folder, spec
from harness.runs.folder import held, holder, require_same
from tests.harness.runs.made_up import TOML

HOLDER = """
import sys, time
from pathlib import Path
from harness.runs import folder, spec
path = Path(sys.argv[2])
with folder.held(Path(sys.argv[1]), path, spec.load(path)):
    print("held", flush=True)
    time.sleep(600)
"""
PROVENANCE = {
    "schema": folder.SCHEMA,
    "run": "r",
    "decides": {"suite tiny-tasks": "aa", "pin m/vllm": "bb"},
    "python": "3",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "run.toml"
    found.write_text(TOML, "utf-8")
    return found


def hold(run: Path, path: Path) -> None:
    with held(run, path, spec.load(path)):
        pass


@contextmanager
def holding(run: Path, path: Path) -> Generator[subprocess.Popen[bytes]]:
    """Another process that works there."""
    command = [sys.executable, "-c", HOLDER, str(run), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_a_run_has_its_spec_beside_it_and_is_gone_on_with(tmp_path: Path, path: Path) -> None:
    run = tmp_path / "runs" / "r"
    with held(run, path, spec.load(path)):
        assert (run / "spec.toml").read_bytes() == path.read_bytes()
        assert holder(run) == os.getpid()
    assert holder(run) is None
    hold(run, path)
    assert folder.place(tmp_path, path, spec.load(path)).name.startswith("run-")


def test_a_second_process_is_refused_with_the_first_ones_id_until_that_is_killed(
    tmp_path: Path, path: Path
) -> None:
    run = tmp_path / "r"
    with holding(run, path) as process:
        with pytest.raises(ConfigError, match=rf"under way there \(process {process.pid}\)"):
            hold(run, path)
        assert holder(run) == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert holder(run) is None
        hold(run, path)


def test_another_spec_is_refused_and_the_difference_shown(tmp_path: Path, path: Path) -> None:
    run = tmp_path / "r"
    hold(run, path)
    path.write_text(TOML.replace("max_tokens = 8", "max_tokens = 9"), "utf-8")
    with pytest.raises(ConfigError) as caught:
        hold(run, path)
    assert "another spec" in str(caught.value)
    assert "  sampling.max_tokens: 8 became 9\n" in str(caught.value)
    assert holder(run) is None  # it was given back
    path.write_text(TOML + "\n# a comment\n", "utf-8")
    hold(run, path)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("...", "utf-8")
    with pytest.raises(ConfigError, match="holds no run, and is not empty"):
        hold(other, path)
    assert [one.name for one in other.iterdir()] == ["thesis.tex"]
    with pytest.raises(ConfigError, match="is a file"):
        hold(other / "thesis.tex", path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="holds no run"):
        holder(empty)
    hold(empty, path)


def test_a_run_that_was_killed_or_without_room_before_its_spec_stood_can_begin(
    tmp_path: Path, path: Path
) -> None:
    """The lock is made first, and a full disk has no room for the spec."""
    run = tmp_path / "r"
    run.mkdir()
    (run / "lock").touch()
    hold(run, path)


def test_what_a_run_was_begun_with_is_what_it_goes_on_with(tmp_path: Path) -> None:
    require_same(tmp_path, PROVENANCE)
    require_same(tmp_path, {**PROVENANCE, "python": "4"})  # that decides nothing
    changed = {**PROVENANCE, "decides": {"suite tiny-tasks": "aa", "pin m/vllm": "cc"}}
    with pytest.raises(ConfigError, match="pin m/vllm: bb became cc") as caught:
        require_same(tmp_path, changed)
    assert "tiny-tasks" not in str(caught.value)
    with pytest.raises(ConfigError, match="suite tiny-tasks: aa became dd"):
        require_same(tmp_path, {**PROVENANCE, "decides": {"suite tiny-tasks": "dd"}})
    with pytest.raises(ConfigError, match="suite new: nothing became ee"):
        require_same(tmp_path, {**PROVENANCE, "decides": {"suite new": "ee"}})


def test_a_run_of_another_versions_making_is_not_gone_on_with(tmp_path: Path) -> None:
    require_same(tmp_path, {**PROVENANCE, "schema": folder.SCHEMA - 1})
    with pytest.raises(ConfigError, match=f"is a run of schema {folder.SCHEMA - 1}"):
        require_same(tmp_path, PROVENANCE)
