"""Runs a script of ours in an engine's environment: JSON goes in by a file, and comes out so."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.base.errors import BuildError, LaunchError
from launchers.environments import Environment
from launchers.process import Command, started

DEADLINE_S = 600.0  # an engine is imported in 5 to 10 s, and in minutes on a loaded machine
POLL_S = 0.1


def answer(
    script: Path, request: Any, built: Environment, env: Mapping[str, str], *, what: str
) -> bytes:
    """What the script wrote, JSON. `env` is put over what every script is given.

    Raises LaunchError where it takes too long, BuildError where it fails: with its last words.
    """
    with tempfile.TemporaryDirectory(prefix="enginediff-") as folder:
        asked, answered, log = (
            Path(folder) / name for name in ("request.json", "answer.json", "log")
        )
        asked.write_text(json.dumps(request), "utf-8")
        argv = (str(built.python), str(script), str(asked), str(answered))
        variables = {
            "PATH": f"{built.python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(built.path / "home"),
            "HF_HUB_OFFLINE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **env,
        }
        _run(Command(argv=argv, env=variables), log, built, what)
        return answered.read_bytes()


def _run(command: Command, log: Path, built: Environment, what: str) -> None:
    begun = time.monotonic()
    with started(command, log=log) as program:
        while program.alive():
            if time.monotonic() - begun > DEADLINE_S:
                raise LaunchError(f"{built.name}: {what} took more than {DEADLINE_S:g} s")
            time.sleep(POLL_S)
        if program.exit_code() != 0:
            end = "\n".join(f"  {line}" for line in program.end_of_log())
            raise BuildError(
                f"{built.name}: {what} could not be run; if the environment was damaged, "
                f"say: enginediff env remove {built.name}\nIts last words:\n{end}"
            )
