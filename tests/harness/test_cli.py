"""The command line is frozen, and what a user gets wrong costs one line and exit code 2."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import typer.main

from harness.cli import app
from tests.building import answer, sequences, serving, write_trace

PROGRAM = Path(sys.executable).with_name("enginediff")
PIN = "tiny-moe/vllm-cpu"
FROZEN = {
    "": ["--version"],
    "check": [
        "CANDIDATE...",
        "--against",
        "--alpha",
        "--beta",
        "--json",
        "--numerics",
        "--seed",
        "--set",
    ],
    "demo": [],
    "env build": ["PIN"],
    "env list": [],
    "env remove": ["NAME"],
    "record": ["REFERENCE", "--output", "--set", "--tokens-from", "-o"],
}

Run = Callable[..., subprocess.CompletedProcess[str]]


def described(command: Any, name: str) -> dict[str, list[str]]:
    """Command -> its arguments and options, for it and all below it."""
    words: list[str] = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            words.append(str(parameter.name).upper() + ("..." if parameter.nargs == -1 else ""))
        else:
            words += [*parameter.opts, *parameter.secondary_opts]
    found = {name: [w for w in words if w[0] != "-"] + sorted(w for w in words if w[0] == "-")}
    below = getattr(command, "commands", {})
    if name and below:
        found = {}
    for inner, sub in below.items():
        found |= described(sub, f"{name} {inner}".strip())
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Run:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAM), *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "ENGINEDIFF_HOME": str(home)},
            timeout=60,
            check=False,
        )

    return call


@pytest.fixture
def trace(tmp_path: Path) -> str:
    write_trace(tmp_path / "good.trace", sequences(2))
    return "good.trace"


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit 2, nothing on stdout, one line that says what is wrong."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("enginediff: ")
    for word in words:
        assert word in lines[0]


def test_the_command_line_is_frozen() -> None:
    assert described(typer.main.get_command(app), "") == FROZEN


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such"], ["no/such", PIN]),
        (["absent.toml"], ["absent.toml", "no such file"]),
        ([PIN, "--set", "args.dtpe"], ["--set args.dtpe", "KEY=VALUE"]),
        ([PIN, "--set", "numrics=bf16"], ["unknown key 'numrics'"]),
        ([PIN, "--set", "engine.version=1"], ["engine: version is 1", "a string"]),
        ([PIN, "--alpha", "0"], ["--alpha is 0.0", "between 0 and 1"]),
        ([PIN, "--beta", "1.5"], ["--beta is 1.5"]),
        ([PIN, "--alpha", "small"], ["valid number"]),
        ([PIN, "--seed", "-1"], ["greater than or equal to 0"]),
        ([PIN, "--numerics", "int4"], ["--numerics", "int4", "fp32 or bf16"]),
        ([PIN, "--frobnicate"], ["--frobnicate"]),
        ([], ["candidate"]),
        (["ftp://host"], ["ftp://host", "http://"]),
        (["http://127.0.0.1:1", "--set", "args.x=1"], ["--set args.x=1", "running server"]),
    ],
)
def test_a_bad_candidate_or_option_is_refused(
    run: Run, trace: str, home: Path, arguments: list[str], words: list[str]
) -> None:
    refused(run("check", *arguments, "--against", trace), *words)
    assert not home.exists()


def test_a_trace_that_is_missing_or_cut_short_is_refused(
    run: Run, trace: str, home: Path, tmp_path: Path
) -> None:
    refused(run("check", PIN, "--against", "absent.trace"), "absent.trace", "no such trace")
    whole = (tmp_path / trace).read_bytes()
    (tmp_path / "cut.trace").write_bytes(whole[: len(whole) // 2])
    refused(run("check", PIN, "--against", "cut.trace"), "cut.trace", "not a whole trace")
    refused(run("check", PIN), "against")
    assert not home.exists()


def test_a_url_where_nothing_listens_is_refused(run: Run, trace: str, home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        refused(run("check", url, "--against", trace), url, "no HTTP server answers")
        refused(run("record", url, "-o", "x.trace"), url, "no HTTP server answers")
    assert not home.exists()


def test_a_server_that_is_no_engine_is_refused(
    run: Run, trace: str, home: Path, tmp_path: Path
) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, 200, b"<html>hello</html>")

    with serving(page) as url:
        refused(run("check", url, "--against", trace), url, "no engine")
        refused(run("record", url, "-o", "x.trace"), url, "no engine")
    assert not home.exists()
    assert not (tmp_path / "x.trace").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["record", PIN, "-o", "x.zip"], ["x.zip", ".trace"]),
        (["record", PIN, "-o", "absent/x.trace"], ["absent", "no folder"]),
        (["record", PIN], ["output"]),
        (["record", "no/such", "-o", "x.trace"], ["no/such"]),
        (["record", PIN, "-o", "x.trace", "--tokens-from", "no/other"], ["no/other"]),
        (["env", "build", "no/such"], ["no/such"]),
        (["env", "remove", "no-such"], ["no-such"]),
        (["frobnicate"], ["frobnicate"]),
    ],
)
def test_the_other_commands_refuse_in_the_same_way(
    run: Run, home: Path, arguments: list[str], words: list[str]
) -> None:
    refused(run(*arguments), *words)
    assert not home.exists()


def test_help_and_version_are_answered_on_stdout(run: Run) -> None:
    for arguments in (["--help"], ["check", "--help"], ["env", "build", "--help"]):
        result = run(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        assert "Usage" in result.stdout
    assert run("--version").stdout.startswith("enginediff ")
    assert run("env", "list").stdout == ""


HELP = """
import sys
sys.argv = ["enginediff", "check", "--help"]
from harness.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = {"numpy", "pyarrow", "httpx", "orjson", "torch"} & set(sys.modules)
print("heavy:", sorted(heavy))
"""


def test_help_imports_nothing_heavy() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", HELP], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout.splitlines()[-1] == "heavy: []"


def test_a_usage_error_names_the_option() -> None:
    done = subprocess.run(
        [PROGRAM, "check", PIN, "--against", "x.trace", "--alpha", "small"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--alpha" in done.stderr and "a valid number" in done.stderr


def test_a_bad_candidate_is_refused_before_a_reference_is_recorded(tmp_path: Path) -> None:
    done = subprocess.run(
        [PROGRAM, "check", "no/such", "--against", "tiny-moe/reference"],
        env={**os.environ, "ENGINEDIFF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no/such" in done.stderr
    assert not (tmp_path / "home").exists()
