"""One engine over several nodes: whatever is lost, late or said twice, each request counts once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.base.errors import ConfigError, RequestError
from harness.nodes.node import LostError
from harness.nodes.turn import FAILED, Turn
from harness.nodes.worker import News, Orders
from harness.runs import journal, results
from harness.runs.expected import Expected
from harness.runs.ledger import NAME
from harness.runs.life import End
from harness.runs.results import EngineRow
from tests.harness.nodes.fake_node import FakeWorker, engine, restored, turn
from tests.harness.runs.made_up import answered, cases, journalled, kinds, suite

FETCHED: Mapping[str, bool] = {"a": True, "b": True, "c": False}  # c: this machine
RECORDS = Path("records") / engine().file


def gathered(made: Turn, folder: Path, count: int) -> EngineRow:
    asked = results.Asked(
        name=made.engine.file,
        engine="e",
        hash=None,
        journals=made.journals(),
        counted=made.counted,
    )
    return results.gathered(asked, cases(suite(count)), folder)


class Nodes:
    """Workers of a turn, each with its node's disk, driven step by step."""

    def __init__(self, folder: Path, count: int, fetched: Mapping[str, bool] = FETCHED) -> None:
        self.folder, self.count, self.fetched = folder, count, fetched
        self.made = turn(folder, cases(suite(count)), fetched)
        self.workers: dict[str, FakeWorker] = {}
        self.pending: dict[str, News] = {}  # an answer that did not come in time
        self.orders: dict[str, Orders] = {}  # the last that were delivered

    def path(self, name: str) -> Path:
        """Of the journal that a node writes."""
        if self.fetched[name]:
            return self.folder / "there" / f"{name}.jsonl"
        return self.folder / RECORDS / f"{name}.jsonl"

    def join(self, name: str, slots: int = 2, identity: Any = None) -> FakeWorker:
        shard = self.made.join(name)
        if self.fetched[name]:
            restored(self.path(name), shard)
        more = {} if identity is None else {"identity": identity}
        self.workers[name] = FakeWorker(
            self.path(name), fetched=self.fetched[name], slots=slots, **more
        )
        return self.workers[name]

    def exchange(self, name: str) -> bool:
        """As `remote.Remote` has it: orders that were not answered in time are not sent again."""
        orders = self.made.orders(name, last=True)
        assert not self.over() & {*orders.keep, *orders.recalled}
        news = self.pending.pop(name, None) or self.workers[name].exchange(orders)
        self.orders[name] = orders
        return self.made.heard(name, news, 0.0)

    def over(self) -> set[int]:
        counted = self.made.counted
        return {n for n in range(self.count) if any(counted(node, n) for node in self.fetched)}

    def unanswered(self, name: str) -> None:
        """Orders that arrive, and news that do not come in time, but the next time."""
        orders = self.made.orders(name, last=True)
        self.pending[name] = self.pending.get(name) or self.workers[name].exchange(orders)
        self.made.silent(name, 3.0)

    def gone(self, name: str) -> None:
        """Its process is."""
        self.workers.pop(name).journal.close()
        self.pending.pop(name, None)
        self.orders.pop(name, None)

    def step(self, name: str) -> None:
        """Begins what it can, and ends one."""
        worker = self.workers[name]
        while worker.begin() is not None:
            pass
        if begun := worker.held()[1]:
            worker.over(begun[0])

    def resume(self) -> None:
        """Whoever leads was killed, and its workers with it; the same command is said again."""
        for name in list(self.workers):
            self.gone(name)
        self.made.close()
        self.made = turn(self.folder, cases(suite(self.count)), self.fetched)

    def until_over(self) -> None:
        """Nothing goes wrong any more."""
        for _ in range(20 + 20 * self.count):
            for name in sorted(self.workers):
                self.step(name)
                if self.workers[name].finish():
                    self.pending.pop(name, None)
                if self.exchange(name):
                    self.gone(name)
                    self.made.leave(name)
            if not self.made.left:
                return
            for name in sorted(set(self.fetched) - set(self.workers)):
                if self.made.has_work(name):
                    self.join(name)
        raise AssertionError(f"{self.made.left} are left, and nothing goes on")

    def close(self) -> None:
        for worker in self.workers.values():
            worker.journal.close()
        self.made.close()

    def require_each_once(self) -> None:
        """In the results, and by all that a turn tells."""
        row = gathered(self.made, self.folder, self.count)
        assert (row.over, row.complete) == (self.count, True)
        answers = self.folder / "answers" / f"{self.made.engine.file}.jsonl"
        lines = [orjson.loads(line) for line in answers.read_bytes().splitlines()]
        assert sorted(line["n"] for line in lines) == list(range(self.count))
        assert all(self.made.homes.get(line["n"]) == line["node"] for line in lines)
        assert row.answered == self.made.outcomes["answered"]


def test_two_nodes_answer_all_and_each_counts_once(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 9)
    assert (nodes.made.left, nodes.made.found, nodes.made.begun) == (9, 0, False)
    nodes.join("a")
    nodes.join("c")
    assert nodes.made.begun and set(nodes.made.watch().nodes) == {"a", "c"}
    nodes.until_over()
    nodes.require_each_once()
    watch = nodes.made.watch()
    assert (watch.done, watch.total, watch.state) == (9, 9, "done")
    assert nodes.made.finished(["a", "b", "c"]) and not nodes.made.has_work("b")
    copied = (tmp_path / RECORDS / "a.jsonl").read_bytes()
    assert copied == nodes.path("a").read_bytes() and copied
    assert {nodes.made.homes.get(n) for n in range(9)} >= {"a", "c"}
    nodes.close()


def test_what_a_lost_node_was_to_ask_others_do_and_its_answers_stay(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 8)
    for name in "ab":
        nodes.join(name)
        nodes.exchange(name)
    nodes.exchange("a")
    nodes.step("a")
    nodes.exchange("a")
    over = 8 - nodes.made.left
    assert over == 1
    had = nodes.made.orders("a", last=True).keep
    assert had and all(nodes.made.homes.get(n) == "a" for n in had)
    nodes.gone("a")
    nodes.made.lost("a", "it burnt")
    assert all(nodes.made.homes.get(n) is None for n in had)
    nodes.join("c")
    nodes.until_over()
    nodes.require_each_once()
    assert [nodes.made.counted("a", n) for n in range(8)].count(True) >= 1
    (line,) = kinds(list(journal.read(tmp_path / RECORDS / NAME)), "node")
    assert (line["node"], line["what"]) == ("a", "it burnt")
    nodes.close()


def test_a_node_that_comes_back_goes_on_with_what_it_had_where_nobody_took_it(
    tmp_path: Path,
) -> None:
    nodes = Nodes(tmp_path, 4, {"a": True})
    nodes.join("a")
    nodes.exchange("a")
    nodes.exchange("a")
    first = nodes.workers["a"].begin()
    nodes.exchange("a")
    nodes.resume()
    assert nodes.made.has_work("a")
    nodes.join("a")
    nodes.exchange("a")
    assert nodes.workers["a"].begin() == first
    nodes.until_over()
    nodes.require_each_once()
    nodes.close()


def test_what_two_nodes_answered_counts_where_it_was_told_first(tmp_path: Path) -> None:
    """Orders of before reach a node behind newer ones, after what they said was taken back."""
    nodes = Nodes(tmp_path, 1)
    nodes.join("a", slots=1)
    nodes.exchange("a")
    given = nodes.made.orders("a", last=True)
    assert given.keep == (0,)
    nodes.join("b")
    nodes.exchange("b")
    nodes.exchange("b")  # it has room, and nothing is free
    nodes.exchange("a")
    nodes.exchange("b")
    nodes.workers["a"].exchange(replace(given, number=99))  # late, and taken for new
    assert (nodes.workers["a"].begin(), nodes.workers["b"].begin()) == (0, 0)
    nodes.workers["b"].over(0, "stalled")
    nodes.workers["a"].over(0)
    nodes.exchange("b")
    nodes.exchange("a")
    assert (nodes.made.counted("a", 0), nodes.made.counted("b", 0)) == (False, True)
    assert (nodes.made.left, nodes.made.outcomes) == (0, {"stalled": 1})
    nodes.require_each_once()
    nodes.resume()
    assert (nodes.made.left, nodes.made.outcomes, nodes.made.found) == (0, {"stalled": 1}, 1)
    nodes.require_each_once()
    nodes.close()


def test_what_is_begun_before_it_is_taken_back_stays_where_it_is(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 2)
    worker = nodes.join("a", slots=2)
    for _ in range(4):
        nodes.exchange("a")
    assert len(nodes.made.orders("a", last=True).keep) == 2
    nodes.join("b")
    nodes.exchange("b")
    assert nodes.made.orders("b", last=True).keep == ()
    assert len(nodes.made.orders("a", last=True).recalled) == 2
    kept = worker.begin()
    nodes.exchange("a")
    nodes.exchange("b")
    assert kept is not None and worker.held() == ([], [kept])
    assert nodes.workers["b"].held() == ([1 - kept], [])
    assert nodes.made.homes.get(kept) == "a" and nodes.made.homes.get(1 - kept) == "b"
    nodes.until_over()
    nodes.require_each_once()
    nodes.close()


def test_a_worker_has_ended_when_all_that_it_wrote_is_here(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 6, {"a": True})
    worker = nodes.join("a", slots=6)
    for _ in range(4):
        nodes.exchange("a")
    while (n := worker.begin()) is not None:
        worker.over(n)
    assert len(worker.asked) == 6
    worker.ended(End.DONE)
    assert not nodes.exchange("a") and nodes.made.left > 0
    while not nodes.exchange("a"):
        pass
    assert nodes.made.left == 0
    nodes.close()


def test_a_ledger_that_is_gone_is_made_again_from_the_journals(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 6)
    nodes.join("a")
    nodes.join("c")
    nodes.until_over()
    (tmp_path / RECORDS / NAME).unlink()
    nodes.resume()
    assert nodes.made.left == 0
    nodes.require_each_once()
    nodes.close()


def test_a_journal_that_lost_its_end_is_counted_anew_and_what_is_missing_asked_again(
    tmp_path: Path,
) -> None:
    nodes = Nodes(tmp_path, 6, {"a": True, "c": False})
    nodes.join("a")
    nodes.join("c")
    nodes.until_over()
    path = tmp_path / RECORDS / "a.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    shutil.rmtree(tmp_path / "there")
    nodes.resume()
    assert 0 < nodes.made.left < 6
    nodes.until_over()
    nodes.require_each_once()
    nodes.close()


def test_a_node_is_silent_and_answers_again_with_all_that_it_did(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 6)
    worker = nodes.join("a")
    nodes.exchange("a")
    nodes.exchange("a")
    nodes.unanswered("a")
    assert nodes.made.watch().state == "no word for 3 s"
    for _ in range(3):
        nodes.step("a")
        nodes.unanswered("a")
    assert nodes.made.left == 6
    for _ in range(8):  # in pieces
        nodes.exchange("a")
    assert nodes.made.left == 6 - len(worker.asked) < 6
    assert nodes.made.watch().state == "running"
    nodes.until_over()
    nodes.require_each_once()
    nodes.close()


def test_a_silent_node_is_given_no_more_and_keeps_what_it_has(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 6)
    for name in "ab":
        nodes.join(name)
        nodes.exchange(name)
        nodes.exchange(name)
    had = nodes.made.orders("a", last=True).keep
    assert had and nodes.made.orders("b", last=True).keep
    nodes.step("a")
    nodes.exchange("a")  # it has room for one more, and the others are b's
    nodes.unanswered("a")
    had = nodes.made.orders("a", last=True).keep
    nodes.gone("b")
    nodes.made.lost("b", "it died")
    for _ in range(3):
        nodes.unanswered("a")
        assert nodes.made.orders("a", last=True).keep == had
    nodes.exchange("a")
    nodes.exchange("a")
    assert len(nodes.made.orders("a", last=True).keep) > len(had)
    nodes.until_over()
    nodes.require_each_once()
    nodes.close()


def test_an_engine_that_is_another_there_is_refused_and_nothing_of_it_counts(
    tmp_path: Path,
) -> None:
    nodes = Nodes(tmp_path, 4)
    nodes.join("a")
    nodes.join("b", identity={"version": "2"})
    nodes.exchange("a")
    with pytest.raises(
        ConfigError, match=r"is \{'version': '2'\} on b, and was \{'version': '1'\}"
    ):
        nodes.exchange("b")
    counted = nodes.made.outcomes.total()
    nodes.resume()
    assert nodes.made.outcomes.total() == counted  # though its answers are in the run's directory
    nodes.join("b", identity={"version": "2"})
    with pytest.raises(ConfigError, match=r"was \{'version': '1'\} elsewhere"):
        nodes.exchange("b")  # nor is it the first one that is heard of now
    nodes.close()


def test_lines_that_do_not_follow_are_refused(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 4)
    worker = nodes.join("a")
    content = worker.path.read_bytes()
    worker.path.write_bytes(content.replace(b"opened", b"opcned"))
    with pytest.raises(ConfigError, match="chain is broken"):
        nodes.exchange("a")
    nodes.close()


def test_a_node_that_is_given_up_has_nothing_and_is_asked_for_nothing(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 3, {"a": True, "b": True})
    nodes.join("a")
    nodes.exchange("a")
    nodes.exchange("a")
    nodes.gone("a")
    nodes.made.give_up("a", LostError("too often"))
    assert not nodes.made.has_work("a") and nodes.made.has_work("b")
    assert not nodes.made.finished(["a", "b"]) and nodes.made.finished(["a"])
    assert nodes.made.watch().state == "given up"
    nodes.made.give_up("b", LostError("never came"))
    assert nodes.made.finished(["a", "b"]) and nodes.made.left == 3
    nodes.resume()
    assert nodes.made.has_work("a")  # the same command tries again
    nodes.join("a")
    nodes.until_over()
    nodes.require_each_once()
    nodes.close()


def test_a_worker_is_told_that_no_more_comes_where_another_engine_waits(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 2)
    nodes.join("a", slots=2)
    assert not nodes.made.orders("a", last=False).closed  # there is something for it
    for _ in range(4):
        nodes.exchange("a")
        nodes.workers["a"].begin()
    assert len(nodes.workers["a"].asked) == 2
    nodes.exchange("a")
    nodes.join("b")
    for _ in range(3):
        nodes.exchange("b")
    assert not nodes.made.orders("b", last=True).closed  # a node may be lost
    assert nodes.made.orders("b", last=False).closed
    assert not nodes.made.has_work("b")
    nodes.gone("a")
    nodes.made.lost("a", "...")
    assert nodes.made.has_work("b")
    assert nodes.made.orders("b", last=False).closed  # it may have heard that, and be at its end
    nodes.gone("b")
    nodes.made.leave("b")
    nodes.join("b")
    assert not nodes.made.orders("b", last=False).closed
    nodes.until_over()
    nodes.close()


def test_what_a_worker_that_is_no_more_had_under_way_is_not_under_way(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 40)
    for _ in range(3):
        worker = nodes.join("a")
        for place in range(12):
            worker.watch.asked(place)
            worker.watch.ended("answered", place, place + 1.0)
        worker.watch.asked(0.0)
        worker.watch.in_flight, worker.watch.paused = 2, True
        nodes.exchange("a")
        nodes.gone("a")
        nodes.made.lost("a", "...")
    watch = nodes.made.watch()
    assert (watch.in_flight, watch.allowed, watch.paused) == (0, 0, False)
    assert sum(watch.whole_s.counts) == 36
    watch.outcomes["answered"] = 36
    estimates = [watch.left_s(watch.began + 1e6 + more) for more in (0.0, 1e6)]
    assert all(estimates)
    before, after = (one[1] for one in estimates if one is not None)
    assert after < 3 * before  # what is under way for ever grows with the square
    nodes.close()


def test_times_of_a_node_are_told_by_the_clock_here(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, 4)
    worker = nodes.join("a")
    worker.watch.began = 100.0
    news = worker.exchange(nodes.made.orders("a", last=True))
    nodes.made.heard("a", replace(news, now=150.0), 1050.0)
    assert nodes.made.watch().began == pytest.approx(1000.0)
    nodes.close()


def test_what_was_answered_is_expected_and_tells_the_next_engine(tmp_path: Path) -> None:
    made = cases(suite(3), epochs=2)
    journalled(
        tmp_path / RECORDS / "a.jsonl",
        [{"kind": "opened", "identity": {}}, *answered(1, "t1", tokens=500)],
    )
    expected = Expected(made)
    first = turn(tmp_path, made, {"a": True, "b": True}, expected=expected)
    assert (first.left, first.found, first.homes.get(1)) == (5, 1, "a")
    assert expected.tokens(1) == expected.tokens(4) > expected.tokens(0)
    second = turn(
        tmp_path, made, {"a": True, "b": True}, n=1, expected=first.expected, homes=first.homes
    )
    second.join("a")
    second.join("b")
    second.orders("b", last=True)
    assert expected.tokens(4) > 10.0  # not learnt twice, or forgotten
    for one in (first, second):
        one.close()


class Turns(RuleBasedStateMachine):
    """Three nodes, one of them this machine; anything may be lost, late, or said again, whoever
    leads may be killed, and a power cut may take the end of what was written."""

    @initialize(count=st.integers(1, 9))
    def begin_run(self, count: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.nodes = Nodes(self.folder, count)
        self.told: dict[int, str] = {}  # what counts is never another's, unless it was torn off

    def _some(self, data: st.DataObject, where: Callable[[FakeWorker], Any] = bool) -> str:
        names = [name for name, worker in sorted(self.nodes.workers.items()) if where(worker)]
        return data.draw(st.sampled_from(names))

    @rule(name=st.sampled_from(sorted(FETCHED)), slots=st.integers(1, 3))
    def join(self, name: str, slots: int) -> None:
        if name not in self.nodes.workers and self.nodes.made.has_work(name):
            self.nodes.join(name, slots)

    @precondition(lambda self: self.nodes.workers)
    @rule(data=st.data(), times=st.integers(1, 3))
    def exchange(self, data: st.DataObject, times: int) -> None:
        name = self._some(data)
        for _ in range(times):
            if self.nodes.exchange(name):
                self.nodes.gone(name)
                self.nodes.made.leave(name)
                return

    @precondition(lambda self: self.nodes.workers)
    @rule(data=st.data())
    def unanswered(self, data: st.DataObject) -> None:
        self.nodes.unanswered(self._some(data))

    @precondition(lambda self: self.nodes.workers)
    @rule(data=st.data())
    def news_are_lost(self, data: st.DataObject) -> None:
        """What the node said of it, too; it is said again."""
        name = self._some(data)
        self.nodes.pending.pop(name, None)
        self.nodes.workers[name].exchange(self.nodes.made.orders(name, last=True))
        self.nodes.made.silent(name, 3.0)

    @precondition(lambda self: self.nodes.orders)
    @rule(data=st.data())
    def orders_come_again(self, data: st.DataObject) -> None:
        """Those of before, behind newer ones."""
        name = data.draw(st.sampled_from(sorted(self.nodes.orders)))
        self.nodes.workers[name].exchange(self.nodes.orders[name])

    @precondition(lambda self: self.nodes.workers)
    @rule(data=st.data(), outcome=st.sampled_from(["answered", "stalled"]))
    def work(self, data: st.DataObject, outcome: str) -> None:
        worker = self.nodes.workers[self._some(data)]
        if worker.end is not None:
            return
        while worker.begin() is not None:
            pass
        begun = worker.held()[1]
        if begun and data.draw(st.booleans()):
            worker.over(data.draw(st.sampled_from(begun)), outcome)
        worker.finish()

    @precondition(lambda self: self.nodes.workers)
    @rule(data=st.data(), torn=st.integers(0, 400))
    def lost(self, data: st.DataObject, torn: int) -> None:
        """The node died, and with it the end of what it had written."""
        name = self._some(data)
        self.nodes.gone(name)
        self.nodes.made.lost(name, "it died")
        if self.nodes.fetched[name]:
            _tear(self.nodes.path(name), torn)

    @precondition(lambda self: self.nodes.workers)
    @rule(data=st.data())
    def left(self, data: st.DataObject) -> None:
        """Its engine was stopped; nothing is lost."""
        name = self._some(data)
        self.nodes.gone(name)
        self.nodes.made.leave(name)

    @rule()
    def resume(self) -> None:
        before = self.nodes.made.left
        self.nodes.resume()
        assert self.nodes.made.left <= before  # what had ended and was not fetched

    @rule(torn=st.lists(st.integers(0, 500), min_size=4, max_size=4))
    def power_cut(self, torn: list[int]) -> None:
        """Where it is led, and so of the node that is there."""
        for name in list(self.nodes.workers):
            self.nodes.gone(name)
        self.nodes.made.close()
        folder = self.folder / RECORDS
        for bytes_, name in zip(torn, (NAME, *(f"{one}.jsonl" for one in "abc")), strict=True):
            _tear(folder / name, bytes_)
        self.told = {}
        self.nodes.resume()

    @invariant()
    def each_is_over_or_left(self) -> None:
        made, count = self.nodes.made, self.nodes.count
        over = {n: node for n in range(count) for node in FETCHED if made.counted(node, n)}
        assert len(over) == count - made.left == made.outcomes.total()
        assert self.told.items() <= over.items()
        self.told = over
        assert made.watch().done == len(over)

    def teardown(self) -> None:
        if not hasattr(self, "nodes"):
            return
        try:
            self.nodes.pending.clear()
            if not self.nodes.workers and self.nodes.made.left:
                self.nodes.join("a")
            self.nodes.until_over()
            self.nodes.require_each_once()
            self.nodes.resume()
            assert self.nodes.made.left == 0
            self.nodes.require_each_once()
        finally:
            self.nodes.close()
            shutil.rmtree(self.folder)


def _tear(path: Path, count: int) -> None:
    if path.exists():
        path.write_bytes(path.read_bytes()[: max(0, path.stat().st_size - count)])


TestTurns = Turns.TestCase
TestTurns.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize(
    ("outcome", "nodes", "given_up"),
    [
        ("server", ("a", "b"), True),
        ("server", ("a",), False),  # there is no other that could be asked
        ("refused", ("a", "b"), False),  # it would be there too
    ],
)
def test_a_node_where_everything_fails_is_asked_for_no_more_where_another_can_be(
    tmp_path: Path, outcome: str, nodes: tuple[str, ...], given_up: bool
) -> None:
    made = Nodes(tmp_path, 60, dict.fromkeys(nodes, True))
    worker = made.join("a", slots=30)

    def fail() -> None:
        while made.made.outcomes.total() < FAILED + 5:
            made.exchange("a")
            while (n := worker.begin()) is not None:
                worker.over(n, outcome)

    if given_up:
        with pytest.raises(RequestError, match=r"the last \d+ requests failed there"):
            fail()
    else:
        fail()
    assert made.made.outcomes.total() >= FAILED
    made.close()
