"""`enginediff verify` before anything is launched: what it refuses, and how it is gone on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import ConfigError
from harness.run import Terminal
from harness.verifying import how, owing, reference
from harness.verifying.how import How
from harness.verifying.verify import verify
from tests.building import answer, sequences, serving, write_trace

ASKS = How(
    names=("http://127.0.0.1:9",),
    changes=(),
    against=None,
    contract="kimi-k2.6",
    enforce=False,
    quick=False,
    trigger=None,
    numerics=None,
    max_tokens=None,
    seed=0,
)
QUIET = Terminal(announce=lambda _: None, show=lambda _: None)


def test_a_url_needs_a_contract_and_an_unknown_one_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"--contract is needed.*kimi-k2\.6"):
        owing.rules(replace(ASKS, contract=None), [None])
    with pytest.raises(ConfigError, match=r"no contract 'kimi'; known are kimi-k2"):
        owing.rules(replace(ASKS, contract="kimi"), [None])
    assert owing.rules(ASKS, [None]).family == "kimi-k2.6"


def test_a_server_that_does_not_answer_is_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9"):
        verify(ASKS, tmp_path / "run", QUIET)
    assert not (tmp_path / "run" / "verification.json").exists()


def test_other_options_or_another_pin_in_the_same_folder_are_refused_key_by_key(
    tmp_path: Path,
) -> None:
    facts = {"pins": {"a": "1"}, "servers": {}}
    assert how.begin(tmp_path, ASKS, facts, {"max_tokens": 1}) == {"max_tokens": 1}
    assert how.begin(tmp_path, ASKS, facts, {"max_tokens": 2}) == {"max_tokens": 1}
    with pytest.raises(ConfigError, match=r"  quick: False became True\n"):
        how.begin(tmp_path, replace(ASKS, quick=True), facts, {})
    with pytest.raises(ConfigError, match=r"  pins: {'a': '1'} became {'a': '2'}"):
        how.begin(tmp_path, ASKS, {**facts, "pins": {"a": "2"}}, {})
    with pytest.raises(ConfigError, match=r"  servers: {} became {'u': \[\['m', None\]\]}"):
        how.begin(tmp_path, ASKS, {**facts, "servers": {"u": [("m", None)]}}, {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"changes": ("args.dtype=half",)}, "--set: is of pins"),
        ({"enforce": True}, "--enforce: is of pins"),
        ({"numerics": "zz"}, "--numerics is 'zz'"),
        ({"names": ("http://127.0.0.1:9", "http://127.0.0.1:9/v1")}, "is named twice"),
        ({"names": ("tiny-moe/vllm-cpu",), "numerics": "fp32"}, "--numerics is 'fp32'"),
    ],
)
def test_options_that_do_nothing_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        how.refuse(replace(ASKS, **changes))


@pytest.mark.parametrize(("context", "most"), [(2048, 512), (131072, 4096), (None, 4096)])
def test_an_answer_is_as_long_as_the_context_allows(context: int | None, most: int) -> None:
    served = {"u": [("m", context)]}
    assert owing.choices(ASKS, [None], served)["max_tokens"] == most
    if context is not None:
        with pytest.raises(ConfigError, match=f"must be below the context, {context} tokens"):
            owing.choices(replace(ASKS, max_tokens=context), [None], served)


@pytest.mark.parametrize(
    ("said", "served"),
    [
        (b'{"data": [{"id": "m", "max_model_len": 64, "created": 5}]}', [("m", 64)]),
        (b'{"data": [{"id": "m", "max_model_len": "64"}]}', [("m", "64")]),
        (b'{"data": [3]}', []),
        (b"<html>", []),
    ],
)
def test_what_a_server_serves_tells_it_from_another(said: bytes, served: object) -> None:
    with serving(lambda handler: answer(handler, 200, said)) as url:
        asks = replace(ASKS, names=(url,))
        assert owing.servers(asks) == {url: served}
        assert owing.choices(asks, [None], owing.servers(asks))["max_tokens"] > 0


def test_a_folder_of_something_else_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no run, and is not empty"):
        verify(ASKS, tmp_path, QUIET)


def test_it_goes_on_against_the_trace_that_it_was_begun_with(tmp_path: Path) -> None:
    path, other = tmp_path / "a.trace", tmp_path / "b.trace"
    write_trace(path, sequences(2))
    write_trace(other, sequences(3))
    begun = replace(ASKS, against=str(path))
    first = reference.found(begun, [None], tmp_path, print)
    assert first.trace is not None
    again = reference.found(replace(ASKS, against=str(other)), [None], tmp_path, print)
    assert again.trace is not None and again.trace.sha256 == first.trace.sha256
    other.replace(path)
    with pytest.raises(ConfigError, match="another trace than"):
        reference.found(begun, [None], tmp_path, print)


def test_cases_that_cannot_be_read_are_refused_before_anything_is_begun(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text("{")
    for wrong, said in ((path, "line 1: is not JSON"), (tmp_path, "cannot be read")):
        with pytest.raises(ConfigError, match=said):
            verify(replace(ASKS, trigger=str(wrong)), tmp_path / "run", QUIET)
    assert not (tmp_path / "run").exists()


def test_a_secret_is_refused_rather_than_written_down(tmp_path: Path) -> None:
    asks = replace(ASKS, names=("tiny-moe/vllm-cpu",), changes=("env.API_TOKEN=xyz",))
    with pytest.raises(ConfigError, match=r"--set env\.API_TOKEN=\*\*\*: .* a pin of your own"):
        verify(asks, tmp_path / "run", QUIET)
    assert not (tmp_path / "run").exists()


def test_without_a_reference_it_says_so(tmp_path: Path) -> None:
    found = reference.found(ASKS, [None], tmp_path, print)
    assert (found.trace, found.why) == (
        None,
        "--against names no reference, and a URL has none of its own",
    )


def test_its_command_can_be_typed_again_and_shows_no_secret() -> None:
    asks = replace(ASKS, names=("a b", "c"), changes=("env.API_TOKEN=xyz",), enforce=True, seed=3)
    command = asks.command(None)
    assert command.startswith("enginediff verify 'a b' c --set")
    assert "xyz" not in command
    assert command.endswith("--contract kimi-k2.6 --enforce --seed 3")
    assert asks.command(Path("here")).endswith("--run here --enforce --seed 3")
    assert asks.hash != replace(asks, seed=4).hash
