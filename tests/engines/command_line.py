"""The command line as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CLI = Path(sys.executable).parent / "enginediff"


def run(*arguments: str | Path, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return subprocess.run(
        [CLI, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False
    )


def verdict_of(*arguments: str | Path) -> tuple[dict[str, Any], int]:
    """`enginediff check ... --json`: the object, and the exit code. Nothing is narrowed."""
    done = run("check", *arguments, "--no-narrow", "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode
