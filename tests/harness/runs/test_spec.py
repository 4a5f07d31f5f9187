"""A spec is read strictly, its hash names the run, and two specs are told apart by key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from harness.runs import spec

RIGHT = """\
schema = 1
seed = 0
epochs = 2
transport = "aiohttp"
nodes = ["local"]

[[suites]]
name = "tiny-tasks"
cases = 40

[[engines]]
name = "tiny-moe/vllm-cpu"
changes = ["args.seed=7"]

[sampling]
max_tokens = 64
seeded = false
thinking = { temperature = 1.0, top_p = 0.95 }
instant = { temperature = 0.6, top_p = 0.9 }

[limits]
in_flight = 16
attempts = 5
retries = 100
idle_s = 60.0
total_s = 600
restarts = 3
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "run.toml"
    found.write_text(RIGHT, "utf-8")
    return found


def test_a_spec_says_what_to_ask_of_whom_and_its_hash_is_its_contents(path: Path) -> None:
    read = spec.load(path)
    assert (read.suites[0].cases, read.engines[0].changes) == (40, ("args.seed=7",))
    path.write_text(RIGHT.replace("\n\n", "\n\n# a comment\n"), "utf-8")
    assert spec.load(path).hash == read.hash
    assert replace(read, seed=1).hash != read.hash


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("seed = 0", "seed = 0\nsead = 1", ["unknown key 'sead'"]),
        ("seed = 0\n", "", ["'seed' is missing"]),
        ("epochs = 2", "epochs = 0", ["epochs is 0", "1 or more"]),
        ("epochs = 2", 'epochs = "2"', ["epochs is '2'", "an integer"]),
        ('"aiohttp"', '"requests"', ["transport is 'requests'", "aiohttp, openai"]),
        ('["local"]', '["local", "other"]', ["nodes is", "this machine, without others"]),
        ('["local"]', "[]", ["nodes: there is none", '["local"]']),
        ('["local"]', '["a", "b", "a"]', ["nodes: 'a' stands twice"]),
        ('["local"]', '["a", "../b"]', ["nodes: '../b' is no name of a node"]),
        ('["local"]', '["a", ""]', ["nodes: '' is no name of a node"]),
        ('["local"]', '["a", ".b"]', ["nodes: '.b' is no name of a node"]),
        ('["local"]', '["a", "b\\n"]', ["is no name of a node"]),
        ('["local"]', '["a", "ledger"]', ["nodes: 'ledger' is no name of a node"]),
        ("cases = 40", "cases = 0", ["tiny-tasks: cases is 0"]),
        ("top_p = 0.95", "top_p = 0.0", ["sampling.thinking.top_p is 0.0", "above 0"]),
        ("temperature = 0.6", "temperature = nan", ["sampling.instant.temperature is nan"]),
        ("idle_s = 60.0", "idle_s = 0", ["limits.idle_s is 0"]),
        ("attempts = 5", "attempts = 0", ["limits.attempts is 0"]),
        ("seed = 0", 'seed = 0\noverride_reason = " "', ["override_reason is empty"]),
        (
            "[sampling]",
            '[[engines]]\nname = "tiny-moe/vllm-cpu"\nchanges = ["args.seed=7"]\n\n[sampling]',
            ["engines: 'tiny-moe/vllm-cpu' stands twice"],
        ),
        ("schema = 1", "schema = 2", ["schema is 2", "must be 1"]),
    ],
)
def test_what_is_wrong_is_named_with_its_value_and_what_would_be_right(
    path: Path, before: str, after: str, words: list[str]
) -> None:
    assert before in RIGHT
    path.write_text(RIGHT.replace(before, after), "utf-8")
    with pytest.raises(ConfigError, match=r"run\.toml") as caught:
        spec.load(path)
    for word in words:
        assert word in str(caught.value)


def test_names_of_servers_are_read_and_are_part_of_what_a_run_is(path: Path) -> None:
    local = spec.load(path)
    path.write_text(RIGHT.replace('["local"]', '["server-a", "10.0.0.7", "gpu_2.rack"]'), "utf-8")
    read = spec.load(path)
    assert read.nodes == ("server-a", "10.0.0.7", "gpu_2.rack")
    assert read.hash != local.hash


def test_a_folder_and_a_missing_file_are_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        spec.load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        spec.load(tmp_path / "absent.toml")


def test_the_difference_of_two_specs_is_told_key_by_key(path: Path) -> None:
    read = spec.load(path)
    assert spec.differences(read, read) == []
    other = replace(
        read,
        sampling=replace(read.sampling, max_tokens=32),
        engines=(*read.engines, spec.EngineTable(name="http://127.0.0.1:8000")),
    )
    assert spec.differences(read, other) == [
        "sampling.max_tokens: 64 became 32",
        'engines[1].name: nothing became "http://127.0.0.1:8000"',
        "engines[1].enforce: nothing became false",
    ]
