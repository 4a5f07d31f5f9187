"""`enginediff verify` before anything is launched: what it refuses, and how it is gone on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from harness.run import Terminal
from harness.verifying import how, owing, reference
from harness.verifying.how import How
from harness.verifying.verify import verify
from tests.building import sequences, write_trace

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
    how.require_same(tmp_path, ASKS, {"a": "1"})
    how.require_same(tmp_path, ASKS, {"a": "1"})
    with pytest.raises(ConfigError, match=r"  quick: False became True\n"):
        how.require_same(tmp_path, replace(ASKS, quick=True), {"a": "1"})
    with pytest.raises(ConfigError, match=r"  pins: {'a': '1'} became {'a': '2'}"):
        how.require_same(tmp_path, ASKS, {"a": "2"})


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
    asks = replace(ASKS, changes=("env.API_TOKEN=xyz",))
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
    command = asks.command()
    assert command.startswith("enginediff verify 'a b' c --set")
    assert "xyz" not in command
    assert command.endswith("--contract kimi-k2.6 --enforce --seed 3")
    assert asks.hash != replace(asks, seed=4).hash
