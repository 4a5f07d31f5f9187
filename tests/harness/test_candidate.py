"""What was heard counts where the engine that was started is still there at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import candidate
from harness.base.errors import LaunchError
from harness.candidate import Launched
from harness.client import Endpoint
from launchers import pins
from launchers.command import Command
from launchers.process import RunningProcess, started


def test_an_engine_that_dies_while_another_answers_on_its_port_is_no_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    processes: list[RunningProcess] = []

    @contextmanager
    def launched(*_: Any, **__: Any) -> Generator[Launched]:
        dies = "import sys; print('address already in use'); sys.exit(1)"
        command = Command(argv=(sys.executable, "-c", dies), env={})
        with started(command, log=log) as process, Endpoint("http://127.0.0.1:1") as endpoint:
            processes.append(process)
            yield Launched(process=process, endpoint=endpoint, began=time.monotonic())

    def answered(*_: Any) -> str:
        return "all that the other said"

    monkeypatch.setattr(candidate, "launched", launched)
    monkeypatch.setattr(candidate, "_opened", answered)
    loaded = pins.read("tiny-moe/vllm-cpu")
    opened = candidate.opened("x", loaded, log=log, announce=lambda _: None)
    with pytest.raises(LaunchError, match="ended with exit code 1") as caught, opened as engine:
        assert engine == "all that the other said"
        assert processes[0].exit_code() == 1  # waits for it
    assert "address already in use" in str(caught.value)
