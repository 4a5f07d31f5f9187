"""A ledger counts a request once, and what it knows is what a new one over its file knows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import ConfigError
from harness.runs import journal
from harness.runs.journal import NoRoomError
from harness.runs.ledger import NAME, Ledger
from tests.harness.runs.full_disk import limited

NODES: tuple[str, ...] = ("a", "b", "c")


def no_room(error: NoRoomError) -> None:
    raise error


def opened(folder: Path, spec: str = "s") -> Ledger:
    return Ledger(folder / NAME, spec, no_room)


def known(ledger: Ledger) -> tuple[Any, ...]:
    """All that it tells; `upto` of what was written."""
    asked = {node: ledger.of(node) for node in NODES}
    return ledger.over, ledger.by, ledger.has, ledger.tokens, asked


def again(folder: Path, ledger: Ledger) -> Ledger:
    """A new one over the same file, which knows the same."""
    before = known(ledger)
    ledger.close()
    found = opened(folder)
    assert known(found) == before
    return found


def test_what_is_given_is_the_nodes_in_that_order_until_it_gives_it_back(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.given("a", [3, 1, 2])
    ledger.given("b", [7])
    ledger.given("a", [0])
    assert (ledger.of("a"), ledger.of("b"), ledger.of("c")) == ([3, 1, 2, 0], [7], [])
    ledger.back("a", [1, 7, 9])  # of these, one is its own
    assert (ledger.of("a"), ledger.of("b")) == ([3, 2, 0], [7])
    again(tmp_path, ledger).close()


def test_a_request_counts_with_what_was_told_of_it_first(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.given("a", [1, 2])
    assert ledger.ended("a", 100, [(1, "answered", 5)]) == [1]
    assert ledger.ended("b", 70, [(1, "stalled", 0), (2, "refused", 0)]) == [2]
    assert ledger.ended("a", 200, [(2, "answered", 9)]) == []
    assert (ledger.over, ledger.by) == ({1: "answered", 2: "refused"}, {1: "a", 2: "b"})
    assert (ledger.tokens, ledger.has, ledger.upto) == ({1: 5}, {}, {"a": 200, "b": 70})
    ledger.back("a", [1, 2])  # over: nobody's any more
    lines = list(journal.read(tmp_path / NAME))
    assert [line["kind"] for line in lines] == ["opened", "given", "ended", "ended", "ended"]
    assert [line.get("again") for line in lines[2:]] == [[], [1], [2]]
    again(tmp_path, ledger).close()


def test_what_brings_no_end_is_not_written_and_a_place_never_goes_back(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    assert ledger.ended("a", 50, []) == []
    assert ledger.ended("a", 90, [(4, "answered", 1)]) == [4]
    size = (tmp_path / NAME).stat().st_size
    assert ledger.ended("a", 90, [(4, "answered", 1)]) == []
    ledger.ended("a", 60, [])
    assert ledger.upto["a"] == 90
    assert (tmp_path / NAME).stat().st_size == size
    ledger.given("a", [])
    ledger.back("a", [])
    assert (tmp_path / NAME).stat().st_size == size
    ledger.close()


def test_of_a_node_whose_journal_lost_its_end_all_is_counted_anew_and_of_others_nothing(
    tmp_path: Path,
) -> None:
    ledger = opened(tmp_path)
    ledger.ended("a", 100, [(1, "answered", 5), (2, "answered", 6)])
    ledger.ended("b", 100, [(3, "answered", 7)])
    ledger.forgotten("a")
    assert (ledger.over, ledger.has, ledger.tokens) == (
        {3: "answered"},
        {1: "a", 2: "a"},
        {3: 7},
    )
    assert ledger.upto == {"a": 0, "b": 100}
    assert ledger.ended("a", 50, [(1, "answered", 5)]) == [1]
    ledger = again(tmp_path, ledger)
    assert ledger.upto == {"a": 50, "b": 100}
    ledger.close()


def test_a_ledger_of_another_spec_or_schema_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(ConfigError, match=r"ledger\.jsonl: is of schema 1, spec s"):
        opened(tmp_path, "other")


def test_what_people_are_told_changes_nothing(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.given("a", [1])
    before = known(ledger)
    ledger.became("a", "was lost")
    assert known(ledger) == before
    ledger.sync()
    again(tmp_path, ledger).close()
    assert list(journal.read(tmp_path / NAME))[-1] == {
        "kind": "node",
        "node": "a",
        "what": "was lost",
    }


def test_where_there_is_no_room_it_is_tried_again_and_nothing_is_known_before(
    tmp_path: Path,
) -> None:
    tries = list[str]()

    def full(error: NoRoomError) -> None:
        tries.append(str(error))
        if len(tries) == 3:
            raise error

    ledger = Ledger(tmp_path / NAME, "s", full)
    with limited((tmp_path / NAME).stat().st_size + 10), pytest.raises(NoRoomError):
        ledger.given("a", [1])
    assert len(tries) == 3 and ledger.has == {}
    ledger.given("a", [1])
    again(tmp_path, ledger).close()


Ends = st.tuples(st.integers(0, 9), st.sampled_from(["answered", "stalled"]), st.integers(0, 3))
Steps = st.lists(
    st.tuples(
        st.sampled_from(["given", "back", "ended", "forgotten", "became"]),
        st.sampled_from(NODES),
        st.lists(Ends, max_size=4, unique_by=lambda end: end[0]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=Steps, torn=st.integers(0, 200))
def test_a_ledger_that_is_read_again_knows_the_same_and_one_with_a_torn_end_what_it_knew_once(
    steps: list[tuple[str, str, list[tuple[int, str, int]]]], torn: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger, upto = opened(folder), dict.fromkeys(NODES, 0)
        knew = [known(ledger)]
        knew = {(folder / NAME).stat().st_size: _copied(ledger)}
        for kind, node, ends in steps:
            numbers = [n for n, _, _ in ends]
            if kind == "given":
                ledger.given(node, [n for n in numbers if n not in ledger.over])
            elif kind == "back":
                ledger.back(node, numbers)
            elif kind == "ended":
                upto[node] += 10
                over = set(ledger.over)
                counted = ledger.ended(node, upto[node], ends)
                assert counted == [n for n in numbers if n not in over]
                assert all(ledger.by[n] == node for n in counted)
            elif kind == "forgotten":
                ledger.forgotten(node)
                upto[node] = 0
            else:
                ledger.became(node, "...")
            assert not set(ledger.over) & set(ledger.has)
            assert set(ledger.over) == set(ledger.by) >= set(ledger.tokens)
            knew[(folder / NAME).stat().st_size] = _copied(ledger)
        again(folder, ledger).close()
        path = folder / NAME
        kept = max(0, path.stat().st_size - torn)
        path.write_bytes(path.read_bytes()[:kept])
        whole = max((size for size in knew if size <= kept), default=None)
        found = opened(folder)
        assert known(found) == (
            ({}, {}, {}, {}, {node: [] for node in NODES}) if whole is None else knew[whole]
        )
        found.close()


def _copied(ledger: Ledger) -> tuple[Any, ...]:
    over, by, has, tokens, asked = known(ledger)
    return dict(over), dict(by), dict(has), dict(tokens), asked
