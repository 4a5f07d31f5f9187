"""The folders are the architecture, and no file names the machine that it was written on."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "harness",
    "hw_profiles",
    "launchers",
    "suites",
    "scripts",
    "tests",
    "docs",
    ".ci",
    ".github",
}
FILES = {
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "requirements.lock",
}
LOCAL = re.compile(
    rb"(?<![\w.])/" + rb"(work|root|home/[a-z]+|Users/[A-Za-z]+)/"
)  # an absolute local path
HOSTS = re.compile(rb"(pypi|pythonhosted|download\.pytorch)\." + rb"org", re.IGNORECASE)


def tracked() -> list[Path]:
    """Files that git keeps and that are there; all of them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(paths) > 50
    return [path for path in paths if path.is_file()]


def matching(pattern: re.Pattern[bytes]) -> list[str]:
    found: list[str] = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content[:4096] and (match := pattern.search(content)):
            found.append(f"{path.relative_to(ROOT)}: {match.group().decode()}")
    return found


@pytest.mark.parametrize("package", ["harness", "hw_profiles", "launchers", "suites"])
def test_each_package_is_imported_from_this_repository(package: str) -> None:
    where = importlib.import_module(package).__file__
    assert where is not None
    assert Path(where) == ROOT / package / "__init__.py"


def test_the_top_level_is_what_it_is_meant_to_be() -> None:
    top = {path.relative_to(ROOT).parts for path in tracked()}
    assert {parts[0] for parts in top if len(parts) > 1} <= FOLDERS
    assert {parts[0] for parts in top if len(parts) == 1} <= FILES


def test_no_file_holds_a_path_of_one_machine() -> None:
    assert matching(LOCAL) == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Where packages come from is the choice of pip's own settings."""
    assert matching(HOSTS) == []


def test_the_patterns_find_what_they_look_for() -> None:
    assert LOCAL.search(b"see /" + b"root/x")
    assert HOSTS.search(b"https://pypi." + b"org/simple")
