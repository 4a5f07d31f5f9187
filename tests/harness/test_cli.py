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

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("enginediff")
PIN = "tiny-moe/vllm-cpu"
FROZEN = {
    "": ["--version"],
    "check": [
        "CANDIDATE...",
        "--against",
        "--alpha",
        "--at-once",
        "--beta",
        "--consensus",
        "--every-level",
        "--json",
        "--live",
        "--narrow",
        "--no-narrow",
        "--numerics",
        "--run",
        "--seed",
        "--set",
    ],
    "compare": [
        "REFERENCE",
        "CANDIDATE",
        "--alpha",
        "--json",
        "--margin",
        "--seed",
        "--sequential",
    ],
    "demo": [],
    "detect": ["FOLDER", "--json"],
    "doctor": ["PIN...", "--cluster", "--json", "--profile", "--set"],
    "env build": ["PIN", "--set"],
    "env list": [],
    "env remove": ["NAME"],
    "record": [
        "REFERENCE",
        "--alpha",
        "--beta",
        "--gamma",
        "--longest",
        "--output",
        "--pool",
        "--set",
        "--tokens-from",
        "-o",
    ],
    "run": ["SPEC", "--json", "--metrics", "--run"],
    "serve": ["PIN", "--enforce", "--host", "--port", "--set"],
    "status": ["FOLDER", "--json"],
    "verify": [
        "DEPLOYMENT...",
        "--against",
        "--contract",
        "--enforce",
        "--json",
        "--max-tokens",
        "--numerics",
        "--quick",
        "--run",
        "--seed",
        "--set",
        "--trigger",
    ],
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
        ([PIN, PIN, "--at-once", "0"], ["--at-once", "1"]),
        ([PIN, "--consensus"], ["either --against", "--consensus"]),
        ([PIN, "--run", "."], ["--run .", "new"]),
        ([PIN, "--run", "/dev/null/a/b"], ["--run /dev/null/a/b", "/dev/null is a file"]),
        ([PIN, "no/such"], ["no/such"]),
        ([PIN, "tiny-k2/vllm-cpu", "--numerics", "bf16"], ["promises fp32"]),
        (["ftp://host"], ["ftp://host", "http://"]),
        (["http://127.0.0.1:1", "--set", "args.x=1"], ["--set args.x=1", "running server"]),
    ],
)
def test_a_bad_candidate_or_option_is_refused(
    run: Run, trace: str, home: Path, arguments: list[str], words: list[str]
) -> None:
    refused(run("check", *arguments, "--against", trace), *words)
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such"], ["no/such", PIN]),
        (["absent.toml"], ["absent.toml", "no such file"]),
        ([PIN, "--set", "args.dtpe"], ["--set args.dtpe", "KEY=VALUE"]),
        (["--set", "args.dtype=x"], ["--set args.dtype=x", "none is named"]),
        (["--profile", "h20"], ["no hardware profile 'h20'", "h20-8x96gb"]),
        ([PIN, "--profile", "absent.toml"], ["absent.toml", "cannot be read"]),
    ],
)
def test_a_bad_pin_or_profile_is_refused_by_the_doctor(
    run: Run, home: Path, arguments: list[str], words: list[str]
) -> None:
    refused(run("doctor", *arguments), *words)
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
        ([PIN, PIN], ["2 candidates", "3 to 8"]),
        ([PIN] * 9, ["9 candidates", "3 to 8"]),
        ([PIN, PIN, "tiny-k2/vllm-cpu"], ["tiny-k2", "tiny-moe"]),
        ([PIN, PIN, PIN, "--at-once", "2"], ["--at-once", "one engine"]),
    ],
)
def test_a_consensus_that_cannot_be_had_is_refused(
    run: Run, home: Path, arguments: list[str], words: list[str]
) -> None:
    refused(run("check", *arguments, "--consensus"), *words)
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["record", PIN, "-o", "x.zip"], ["x.zip", ".trace"]),
        (["record", PIN, "-o", "absent/x.trace"], ["absent", "no folder"]),
        (["record", PIN], ["output"]),
        (["record", "no/such", "-o", "x.trace"], ["no/such"]),
        (["record", PIN, "-o", "x.trace", "--tokens-from", "no/other"], ["no/other"]),
        (["compare", "absent.jsonl", "x.jsonl"], ["absent.jsonl", "cannot be read"]),
        (["compare", "x.jsonl"], ["candidate"]),
        (["env", "build", "no/such"], ["no/such"]),
        (["env", "build", "tiny-moe/vllm-cpu", "--set", "engine.environment=none"], ["none"]),
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
heavy = {"numpy", "pyarrow", "httpx", "orjson", "scipy", "torch"} & set(sys.modules)
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such"], ["no/such", PIN]),
        (["http://127.0.0.1:1"], ["http://127.0.0.1:1", "running server"]),
        ([PIN, "--port", "0"], ["--port"]),
        ([PIN, "--host", "no.such.host.invalid"], ["--host no.such.host.invalid"]),
        ([PIN, "--host", "192.0.2.1"], ["--host 192.0.2.1", "cannot be listened on"]),
        ([PIN, "--enforce", "--set", "serving.contract=k9"], ["'k9'", "kimi-k2.6"]),
        ([PIN, "--set", "serving.enforced=true", "--set", "serving.contract=k9"], ["'k9'"]),
        ([PIN, "--set", "serving.enforced=1"], ["enforced", "true or false"]),
    ],
)
def test_what_cannot_be_served_is_refused(
    run: Run, home: Path, arguments: list[str], words: list[str]
) -> None:
    refused(run("serve", *arguments), *words)
    assert not home.exists()


@pytest.mark.parametrize("more", [[], ["--enforce"]])
def test_a_port_that_is_taken_is_refused_before_a_launch(
    run: Run, home: Path, more: list[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        who = f"(process {os.getpid()})"
        refused(run("serve", PIN, "--port", port, *more), f"--port {port}", "taken", who)
    assert not home.exists()


def test_a_contract_is_not_enforced_where_the_pin_names_none(run: Run, tmp_path: Path) -> None:
    text = (ROOT / "launchers" / "pins" / f"{PIN}.toml").read_text()
    (tmp_path / "own.toml").write_text(text.replace('contract = "tiny"\n', ""))
    refused(run("serve", "own.toml", "--enforce"), "own.toml", "--set serving.contract=")


def test_a_reader_that_leaves_early_is_no_bug_of_ours() -> None:
    done = subprocess.Popen(
        [PROGRAM, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert done.stdout is not None and done.stderr is not None
    done.stdout.close()
    errors = done.stderr.read()
    done.stderr.close()
    assert (done.wait(60), "Traceback" in errors) == (4, False), errors
