"""Fills a folder with a virtual environment and exactly the packages of a lock.

Packages are installed with `--no-deps`, for a lock leaves some out on purpose, so pip cannot check
the result: instead each locked package must be there in its exact version.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import BuildError
from launchers.process import Command, started

# "Collecting torch==2.13.0+cpu (from -r lock.txt (line 9))"; "Processing FILE (from ..." for a
# wheel in a folder, which pip finds through find-links or a file:// index.
PACKAGE = re.compile(r"(Collecting|Processing) .*\(from -r .*\(line (\d+)\)\)")
NOT_FOUND = re.compile(r"No matching distribution found for (\S+)")
LIST_INSTALLED = """
import importlib.metadata, json
print(json.dumps([[d.name, d.version] for d in importlib.metadata.distributions()]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What is installed, and where. `name` opens every message."""

    name: str
    lock_text: str  # lines `package==version`; a comment line begins with #
    folder: Path  # must not exist
    log: Path  # appended to
    held: int  # a descriptor that stays open until nothing of venv and pip runs any more

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def pinned(self) -> dict[str, str]:
        """Package to exact version."""
        lines = (li for li in self.lock_text.splitlines() if li and not li.startswith("#"))
        return {package: version for package, _, version in (li.partition("==") for li in lines)}


def install(plan: Installation, announce: Callable[[str], None]) -> None:
    """Raises BuildError; whatever it raises, the caller removes the folder."""
    announce(f"{plan.name}: making a virtual environment")
    _run(plan, [sys.executable, "-I", "-m", "venv", str(plan.folder)], lambda _line: None)
    lock = plan.folder / "lock.txt"
    lock.write_text(plan.lock_text, "utf-8")
    pip = [str(plan.python), "-I", "-u", "-m", "pip", "--disable-pip-version-check", "install"]
    options = ["--no-input", "--no-deps", "--progress-bar", "off", "-r", str(lock)]
    _run(plan, [*pip, *options], _progress(plan, announce))
    _verify(plan)


def explain(output: str) -> str:
    """Why a build failed, and what to do, by the end of what venv and pip wrote."""
    missing = NOT_FOUND.search(output)
    if "No space left on device" in output:
        return "there is not enough disk space"
    if "ensurepip" in output or "No module named venv" in output:
        return "this Python cannot make virtual environments; install python3-venv"
    if missing is None:
        return "pip failed"
    if re.fullmatch(r"torch==\S+\+cpu", missing[1]):
        return (
            f"pip's configured indexes hold no {missing[1]}, a CPU build of PyTorch; add PyTorch's "
            'index of CPU wheels, named on pytorch.org under "Get started", with '
            "`pip config set global.extra-index-url URL` or the variable PIP_EXTRA_INDEX_URL"
        )
    return f"pip's configured indexes hold no {missing[1]} for this Python"


def _progress(plan: Installation, announce: Callable[[str], None]) -> Callable[[str], None]:
    """Takes pip's lines, and announces those that show how far it is."""
    lines = plan.lock_text.splitlines()
    total = len(plan.pinned())
    count = 0

    def take(line: str) -> None:
        nonlocal count
        found = PACKAGE.match(line)
        if found:
            count += 1
            package = lines[int(found[2]) - 1].replace("==", " ")
            announce(f"{plan.name}: {count} of {total} packages ({package})")
        elif line.startswith("Installing collected packages"):
            announce(f"{plan.name}: unpacking {total} packages")

    return take


def _run(plan: Installation, argv: list[str], take: Callable[[str], None]) -> None:
    """Runs a program, which dies with us, and hands over the lines that it writes."""
    command = Command(argv=tuple(argv), env=os.environ, inherited=True)
    with started(command, log=plan.log, held=(plan.held,)) as program:
        for line in program.lines():
            take(line)
        if program.exit_code() != 0:
            lines = program.end_of_log()
            shown = "\n".join(f"  {line}" for line in lines)
            reason = explain("\n".join(lines))
            raise BuildError(f"{plan.name}: {reason}.\nlog: {plan.log}, which ends:\n{shown}")


def _verify(plan: Installation) -> None:
    listing = subprocess.run(
        [plan.python, "-I", "-c", LIST_INSTALLED], capture_output=True, check=True
    )
    installed = {_normalised(name): version for name, version in json.loads(listing.stdout)}
    for package, version in plan.pinned().items():
        found = installed.get(_normalised(package), "missing")
        if found != version:
            raise BuildError(f"{plan.name}: {package} is {found}, not {version} as locked")


def _normalised(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()
