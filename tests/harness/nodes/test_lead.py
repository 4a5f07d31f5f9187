"""A run over nodes that are lost, silent, slow, away, or say things twice: it ends, with each
request once, and says what happened."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from harness.base.errors import ConfigError, EnginediffError, LaunchError
from harness.nodes import lead as leads
from harness.nodes.lead import Lead
from harness.nodes.node import LostError, SilentError
from harness.nodes.prepared import Prepared
from harness.nodes.stop import Stop
from harness.nodes.turn import Turn
from harness.nodes.worker import News, Orders
from harness.runs import journal, results
from harness.runs.expected import Expected
from harness.runs.ledger import NAME
from harness.runs.shard import Shard
from tests.harness.nodes.fake_node import FakeNode, turn
from tests.harness.runs.made_up import cases, kinds, suite

COUNT = 12
NEVER = 1 << 60  # is it back
UNTIL_S = 60.0  # a run of these tests takes a second or two


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("TICK_S", 0.003), ("SYNC_S", 0.01), ("LONGEST_BACKOFF_S", 0.01)):
        monkeypatch.setattr(leads, name, seconds)


class Led:
    """A run of some engines over fake nodes, and what it said."""

    def __init__(
        self,
        folder: Path,
        *nodes: FakeNode,
        engines: int = 1,
        restarts: int = 0,
        count: int = COUNT,
    ) -> None:
        self.folder, self.nodes, self.count = folder, nodes, count
        self.said = list[str]()
        self.stop = Stop(self.said.append)
        made = cases(suite(count))
        fetched = {node.name: node.fetched for node in nodes}
        self.turns = list[Turn]()
        for n in range(engines):
            first = self.turns[0] if n else None
            self.turns.append(
                turn(
                    folder,
                    made,
                    fetched,
                    n=n,
                    expected=first.expected if first else Expected(made),
                    homes=first.homes if first else {},
                )
            )
        self.lead = Lead(self.turns, nodes, restarts, self.stop, self.said.append)

    def run(self) -> bool:
        """Whether it was stopped; it ends in time, or is stopped, and the test fails."""
        late = threading.Timer(UNTIL_S, self.stop.set)
        late.start()
        try:
            return self.lead.run()
        finally:
            assert late.is_alive(), f"it did not end: {self.said}"
            late.cancel()
            for one in self.turns:
                one.close()

    def each_once(self) -> None:
        for one in self.turns:
            asked = results.Asked(
                name=one.engine.file,
                engine="e",
                hash=None,
                journals=one.journals(),
                counted=one.counted,
            )
            row = results.gathered(asked, cases(suite(self.count)), self.folder)
            assert (row.over, row.complete, one.left) == (self.count, True, 0)
            path = self.folder / "answers" / f"{one.engine.file}.jsonl"
            lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
            assert sorted(line["n"] for line in lines) == list(range(self.count))

    def ledger(self, n: int = 0) -> list[Any]:
        folder = self.folder / "records" / self.turns[n].engine.file
        return list(journal.read(folder / NAME))


def node(name: str, folder: Path, **more: Any) -> FakeNode:
    return FakeNode(name=name, folder=folder / "there", **more)


def test_several_engines_are_asked_on_several_nodes_and_each_request_counts_once(
    tmp_path: Path,
) -> None:
    nodes = [node(name, tmp_path) for name in "abc"]
    led = Led(tmp_path, *nodes, engines=3, count=24)
    assert led.lead.watches() == []
    assert not led.run()
    led.each_once()
    assert len([one for node in nodes for one in node.answered]) == 3 * 24  # none twice
    for one in nodes:
        assert one.closed >= len(one.begun)
    assert {file for one in nodes for file in one.begun} == {"1-e", "2-e", "3-e"}
    watches = led.lead.watches()
    assert [(watch.done, watch.state, watch.in_flight) for watch in watches] == [
        (24, "done", 0)
    ] * 3
    assert led.said == []


def test_this_machine_alone_is_a_node_too(tmp_path: Path) -> None:
    led = Led(tmp_path, node("local", tmp_path, fetched=False))
    assert not led.run()
    led.each_once()
    assert not (tmp_path / "there").exists()


def test_a_fast_node_asks_more_than_a_slow_one(tmp_path: Path) -> None:
    fast, slow = node("a", tmp_path, slots=4), node("b", tmp_path, slots=1, answer_s=0.03)
    led = Led(tmp_path, fast, slow, count=60)
    led.run()
    led.each_once()
    assert len(fast.answered) > 3 * len(slow.answered) > 0


def test_an_engine_after_the_first_is_asked_where_that_was(tmp_path: Path) -> None:
    """But for what a node takes that would idle: at most half of what another has left."""
    nodes = [node(name, tmp_path, answer_s=0.005) for name in "ab"]
    led = Led(tmp_path, *nodes, engines=2, count=40)
    led.run()
    led.each_once()
    first, second = led.turns
    assert sum(first.homes.get(n) == second.homes.get(n) for n in range(40)) > 25


def test_what_a_lost_node_was_to_ask_others_do(tmp_path: Path) -> None:
    lost = node("a", tmp_path, lost_at=(3,), away_for=NEVER)
    led = Led(tmp_path, lost, node("b", tmp_path), restarts=2)
    assert not led.run()
    led.each_once()
    assert led.said[:2] == [
        "a: lost: a: died; others ask what it was to",
        "a: is away; it is used again when it is back",
    ]
    (line,) = kinds(led.ledger(), "node")
    assert (line["node"], line["what"]) == ("a", "a: died")
    assert len(lost.answered) == 3


def test_a_node_that_comes_back_is_used_again_and_its_answers_count(tmp_path: Path) -> None:
    lost = node("a", tmp_path, lost_at=(3,), away_for=5)
    led = Led(tmp_path, lost, restarts=1)
    assert not led.run()
    led.each_once()
    assert lost.begun == ["1-e", "1-e"]
    assert led.said == [
        "a: lost: a: died; others ask what it was to",
        "a: is away; it is used again when it is back",
        "a: is back",
    ]


def test_a_node_is_lost_again_and_again_as_long_as_it_gets_something_done(tmp_path: Path) -> None:
    lost = node("a", tmp_path, lost_at=tuple(range(3, 3 * COUNT, 3)))
    led = Led(tmp_path, lost, restarts=1)
    assert not led.run()
    led.each_once()
    assert len(lost.begun) >= 3 and led.turns[0].given_up == {}


def test_a_node_that_is_lost_too_often_is_given_up_and_the_run_ends_without(
    tmp_path: Path,
) -> None:
    lost = node("a", tmp_path, refused=LostError("a: no actor"))
    led = Led(tmp_path, lost, engines=2, restarts=2)
    assert not led.run()
    assert [one.left for one in led.turns] == [COUNT, COUNT]
    assert [list(one.given_up) for one in led.turns] == [["a"], ["a"]]
    assert len([said for said in led.said if "lost" in said]) == 4
    assert len([said for said in led.said if said == "a: given up: a: no actor"]) == 2


def test_an_engine_that_does_not_start_on_a_node_is_asked_on_the_others(tmp_path: Path) -> None:
    bad = node("a", tmp_path, problems={"1-e": LaunchError("no memory")})
    led = Led(tmp_path, bad, node("b", tmp_path))
    assert not led.run()
    led.each_once()
    assert [str(error) for error in led.turns[0].given_up.values()] == ["no memory"]
    assert bad.begun == ["1-e"] and "e on a: no memory" in led.said[0].replace(
        led.turns[0].title, "e"
    )


@pytest.mark.parametrize("problem", [LaunchError("no memory"), ConfigError("another server")])
def test_an_engine_that_starts_nowhere_is_given_up_and_the_next_is_asked(
    tmp_path: Path, problem: EnginediffError
) -> None:
    led = Led(
        tmp_path, *(node(name, tmp_path, problems={"1-e": problem}) for name in "ab"), engines=2
    )
    assert not led.run()
    assert [one.left for one in led.turns] == [COUNT, 0]
    assert list(led.turns[0].given_up.values()) == [problem] * 2
    assert led.lead.watches()[0].state == "given up"


def test_a_node_whose_engine_is_another_is_given_up_and_nothing_of_it_counts(
    tmp_path: Path,
) -> None:
    other = node("b", tmp_path, identity={"version": "2"})
    led = Led(tmp_path, node("a", tmp_path, answer_s=0.01), other)
    led.run()
    led.each_once()
    (name,) = led.turns[0].given_up
    assert {led.turns[0].homes.get(n) for n in range(COUNT)} == {"a", "b"} - {name}


def test_a_silent_node_keeps_what_it_has_and_is_heard_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leads, "SILENT_S", 0.02)
    silent = node("a", tmp_path, silent_at=(2,), slots=3)
    led = Led(tmp_path, silent, node("b", tmp_path, answer_s=0.005), count=30)
    assert not led.run()
    led.each_once()
    silent_since, answers = led.said
    assert re.fullmatch(r"a: no word for \d s; it may be at work", silent_since)
    assert re.fullmatch(r"a: answers again, after \d s", answers)
    assert led.turns[0].given_up == {} and len(silent.begun) == 1


def test_a_run_that_is_stopped_does_not_wait_for_a_silent_node(tmp_path: Path) -> None:
    silent = node("a", tmp_path, silent_at=(1,), silent_for=NEVER)
    led = Led(tmp_path, silent)
    threading.Timer(0.15, led.stop.set).start()
    began = time.monotonic()
    assert led.run()
    assert time.monotonic() - began < 5.0
    assert 0 < led.turns[0].left <= COUNT and led.turns[0].given_up == {}


def test_a_node_that_is_silent_when_it_is_to_begin_is_not_given_up_by_who_stops(
    tmp_path: Path,
) -> None:
    class Unheard(FakeNode):
        def begin(self, engine: Prepared, n: int, shard: Shard) -> None:
            del engine, n, shard
            led.stop.set()  # or it would wait on
            raise SilentError("a: no word")

    led = Led(tmp_path, Unheard(name="a", folder=tmp_path), node("b", tmp_path))
    assert led.run()
    assert led.turns[0].given_up == {} and led.said == []


def test_orders_that_arrive_once_more_and_late_change_nothing(tmp_path: Path) -> None:
    nodes = [node(name, tmp_path, delivers_late=True, slots=1, answer_s=0.004) for name in "ab"]
    led = Led(tmp_path, *nodes, engines=2, count=30)
    assert not led.run()
    led.each_once()


def test_a_node_that_does_not_come_is_waited_for_only_while_others_are_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leads, "ABSENT_S", 0.5)
    away = node("b", tmp_path, away=True)
    led = Led(tmp_path, node("a", tmp_path, answer_s=0.05), away, count=20)
    assert not led.run()
    led.each_once()  # a second, all by a
    assert led.turns[0].given_up == {}
    alone = Led(tmp_path / "alone", node("b", tmp_path / "alone", away=True))
    assert not alone.run()
    assert alone.turns[0].left == COUNT
    assert [str(error) for error in alone.turns[0].given_up.values()] == ["away for 0 s"]


def test_what_idles_at_the_end_takes_what_a_slow_one_has_not_begun(tmp_path: Path) -> None:
    slow = node("b", tmp_path, slots=6, answer_s=0.6)  # and begins nothing until then
    led = Led(tmp_path, node("a", tmp_path), slow, count=14)
    led.run()
    led.each_once()
    assert any(line["node"] == "b" for line in kinds(led.ledger(), "back"))
    assert len(slow.answered) < 7  # as many as it was given


def test_a_bug_on_a_node_ends_the_run_and_is_shown(tmp_path: Path) -> None:
    class Odd(FakeNode):
        def exchange(self, orders: Orders) -> News:
            del orders
            raise ZeroDivisionError("a bug of ours")

    odd = Odd(name="a", folder=tmp_path / "there")
    other = node("b", tmp_path, answer_s=0.02)
    led = Led(tmp_path, odd, other, count=100)
    with pytest.raises(ZeroDivisionError, match="a bug of ours"):
        led.run()
    assert odd.closed == 1 and other.closed == len(other.begun)
    assert led.turns[0].left > 0  # the other was not waited for


def signalled(name: signal.Signals, working: FakeNode) -> None:
    """This process, when that node has got something done."""

    def later() -> None:
        while len(working.answered) < 3:
            time.sleep(0.001)
        os.kill(os.getpid(), name)

    threading.Thread(target=later, daemon=True).start()


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_so_and_goes_on_where_it_was(
    tmp_path: Path, name: signal.Signals
) -> None:
    before = signal.getsignal(name)
    nodes = [node(one, tmp_path, answer_s=0.02) for one in "ab"]
    led = Led(tmp_path, *nodes, engines=2, count=40)
    signalled(name, nodes[0])
    assert led.run()
    assert signal.getsignal(name) is before
    left = sum(one.left for one in led.turns)
    assert 0 < left < 80
    assert led.said == ["stopping; what is under way can be gone on with; again to stop at once"]
    assert all(one.worker is None for one in nodes)
    again = Led(tmp_path, *(node(one, tmp_path) for one in "ab"), engines=2, count=40)
    assert sum(one.left for one in again.turns) <= left
    assert not again.run()
    again.each_once()


def test_on_another_set_of_nodes_it_goes_on_too(tmp_path: Path) -> None:
    """Here by the same names, of which one never comes."""
    led = Led(tmp_path, node("a", tmp_path, lost_at=(4,), away_for=NEVER), restarts=1)
    threading.Timer(0.15, led.stop.set).start()
    assert led.run()
    away = node("a", tmp_path, away=True)
    again = Led(tmp_path, away, node("c", tmp_path))
    assert not again.run()
    again.each_once()
