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


def shown_right(verdict: dict[str, Any], code: int) -> None:
    """EQUIVALENT, or that but for the sampler: the tests' traces are short, and have few prefixes
    that tell one top-p from the next, so chance has a part in it. It must not be accused."""
    words = {level["level"]: level["word"] for level in verdict["levels"]}
    assert {words[name] for name in ("L0", "L2", "L1")} == {"EQUIVALENT"}, verdict["reasons"]
    word, exit_code = (
        ("INCONCLUSIVE", 3) if words["sampler"] == "INCONCLUSIVE" else ("EQUIVALENT", 0)
    )
    assert (verdict["verdict"], code) == (word, exit_code), verdict["reasons"]


def verdict_of(*arguments: str | Path) -> tuple[dict[str, Any], int]:
    """`enginediff check ... --json`: the object, and the exit code. Nothing is narrowed."""
    done = run("check", *arguments, "--no-narrow", "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode
