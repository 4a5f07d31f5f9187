"""Whatever nodes do, each request is at one of them at a time, and all are over at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.runs.schedule import Schedule

NODES: tuple[str, ...] = ("a", "b", "c")
NAMES = st.sampled_from(NODES)
ROOM = 1000  # more than there is


def schedule(
    tokens: list[float],
    nodes: Iterable[str] = (),
    homes: Mapping[int, str] | None = None,
    expected: Callable[[int], float] | None = None,
) -> Schedule:
    """Of as many requests as there are `tokens`; the nodes have joined."""
    made = Schedule(
        range(len(tokens)),
        tokens=expected or tokens.__getitem__,
        rank=float,
        homes=homes or {},
    )
    for node in nodes:
        made.join(node)
    return made


def unbegun(made: Schedule, node: str, numbers: Iterable[int]) -> list[int]:
    """The node says that it holds these, and has begun none; what it gave back."""
    return made.heard(node, list(numbers), list(numbers))


Lengths = st.lists(st.integers(1, 9).map(float), min_size=1, max_size=40)


@settings(deadline=None)
@given(Lengths, st.lists(st.integers(0, 5), max_size=20))
def test_one_node_is_given_all_the_longest_first_each_once(
    tokens: list[float], rooms: list[int]
) -> None:
    made, given = schedule(tokens, "a"), list[int]()
    for room in [*rooms, ROOM]:
        more = made.give("a", room)
        assert len(more) <= room
        given += more
    assert sorted(given) == list(range(len(tokens)))
    assert [tokens[n] for n in given] == sorted(tokens, reverse=True)
    assert (made.has("a"), made.free, made.left) == (given, 0, len(tokens))


@settings(deadline=None)
@given(Lengths, st.integers(1, 3), st.data())
def test_no_node_takes_more_than_its_share_of_what_is_free(
    tokens: list[float], nodes: int, data: st.DataObject
) -> None:
    made = schedule(tokens, NODES[:nodes])
    while made.free:
        share = -(-made.free // nodes)
        given = made.give(data.draw(st.sampled_from(NODES[:nodes])), ROOM)
        assert 1 <= len(given) <= share
        lengths = [tokens[n] for n in given]
        assert lengths == sorted(lengths, reverse=True)


def test_what_is_long_is_spread_over_the_nodes() -> None:
    """The three longest of twelve do not come together at the one that asks first."""
    made = schedule([9.0, 9.0, 9.0, *[1.0] * 9], NODES)
    given = {node: made.give(node, ROOM) for node in NODES}
    assert [sum(n < 3 for n in numbers) for numbers in given.values()] == [1, 1, 1]


def test_a_node_that_asks_more_often_takes_more() -> None:
    made, fast, slow = schedule([1.0] * 30, "ab"), 0, 0
    while made.free:
        for _ in range(4):
            fast += len(made.give("a", 1))
        slow += len(made.give("b", 1))
    assert (fast, slow) == (24, 6)


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=40), st.lists(NAMES, max_size=60))
def test_a_request_is_given_where_it_has_its_home_as_long_as_nobody_idles(
    homes: list[str], turns: list[str]
) -> None:
    made = schedule([1.0] * len(homes), NODES, dict(enumerate(homes)))
    left = {node: homes.count(node) for node in NODES}
    for node in turns:
        if left[node]:
            (n,) = made.give(node, 1)
            assert homes[n] == node
            left[node] -= 1


def test_what_is_at_home_elsewhere_is_taken_last_and_not_all_of_it() -> None:
    homes = dict.fromkeys(range(8), "a")
    made = schedule([1.0] * 12, "ab", homes)
    given = made.give("b", 2)
    assert given and not set(given) & set(homes)  # what has no home comes first
    while not set(given) & set(homes):
        given += made.give("b", 1)
    given += made.give("b", ROOM)
    own = made.give("a", ROOM)
    assert len(set(own) & set(homes)) >= 3  # of eight, half at a time
    assert not set(own) & set(given)


def test_what_is_at_home_at_a_node_that_never_comes_is_asked_all_the_same() -> None:
    made = schedule([1.0, 2.0, 3.0, 4.0, 5.0], "b", dict.fromkeys(range(5), "a"))
    given = list[int]()
    for _ in range(20):
        given += made.give("b", 1)
    assert sorted(given) == [0, 1, 2, 3, 4]


def test_what_a_node_had_is_free_when_it_leaves_and_its_own_again_when_it_has_it_still() -> None:
    made = schedule([1.0] * 6, "ab")
    had = made.give("a", 3)
    made.leave("a")
    assert (made.free, made.left, made.unbegun("b")) == (6, 6, 6)
    (taken,) = made.give("b", 1)
    (over,) = made.give("b", 1)
    made.over(over)
    made.join("a")
    made.resume("a", [*had, taken, over])  # of these, what nobody has, and is not over
    assert set(made.has("a")) == set(had) - {taken, over}
    assert (made.has("b"), made.left) == ([taken], 5)
    made.leave("c")  # never came
    assert made.left == 5


def test_a_node_that_idles_gets_what_another_was_given_and_has_not_begun() -> None:
    made = schedule([1.0] * 4, "a")
    given = made.give("a", 4)
    made.join("b")
    made.heard("a", given, given[1:])  # the first is begun
    assert made.give("b", 2) == []
    recalled = made.recalled("a")
    assert len(recalled) == 2 and given[0] not in recalled
    assert set(made.has("a")) == set(given) - set(recalled)
    assert made.unbegun("b") == 2 and made.unbegun("a") == 0
    assert made.give("b", 2) == [] and len(made.recalled("a")) == 2  # not more, asked again
    kept = recalled[0]  # begun before it heard that
    begun = [given[0], kept]
    unbegun = [n for n in given if n not in (*begun, *recalled)]
    assert made.heard("a", [*begun, *unbegun], unbegun) == [recalled[1]]
    assert made.recalled("a") == [] and kept in made.has("a")
    assert made.give("b", 2) == [recalled[1]]
    assert made.left == 4


def test_what_is_given_back_goes_to_whoever_has_room_first() -> None:
    made = schedule([1.0] * 4, "a")
    given = made.give("a", 4)
    made.join("b")
    made.join("c")
    unbegun(made, "a", given)
    assert made.give("b", 4) == [] and len(made.recalled("a")) == 4
    assert sorted(unbegun(made, "a", [])) == sorted(given)
    first, second = made.give("c", ROOM), made.give("b", ROOM)
    assert first and second and not set(first) & set(second)


def test_the_order_follows_what_becomes_known() -> None:
    tokens = {n: float(n) for n in range(10)}
    made = schedule([0.0] * 10, "a", expected=lambda n: tokens[n])
    assert made.give("a", 1) == [9]
    made.over(9)
    tokens |= {n: -float(n) for n in range(10)}
    assert made.give("a", 3) == [0, 1, 2]


def test_what_is_over_is_given_to_nobody_wherever_it_was() -> None:
    made = schedule([1.0] * 5, "ab", {4: "a"})
    (had,) = made.give("b", 1)
    made.over(had)
    free = next(n for n in range(5) if n != had)
    made.over(free)
    made.over(free)
    assert (made.has("b"), made.left) == ([], 3)
    given = [n for _ in range(9) for node in "ab" for n in made.give(node, 1)]
    assert sorted(given) == sorted(set(range(5)) - {had, free})
    with pytest.raises(KeyError):
        made.has("c")  # never joined


def test_what_was_answered_elsewhere_before_it_was_given_is_not_given() -> None:
    """Also where so much is known that nothing is sorted again for it."""
    made = schedule([float(n) for n in range(100)], "a")
    for n in made.give("a", 60):
        made.over(n)
    assert made.give("a", 1) == [39]
    made.over(38)
    given = [*made.give("a", 2), *made.give("a", 2)]
    assert given[:2] == [37, 36] and 38 not in made.has("a")
    assert made.left == 39


@dataclass
class Node:
    """A worker, as the schedule hears of it."""

    queue: list[int] = field(default_factory=list[int])
    begun: list[int] = field(default_factory=list[int])
    ended: list[int] = field(default_factory=list[int])  # here
    untold: list[int] = field(default_factory=list[int])
    orders: tuple[list[int], list[int]] | None = None  # to keep, to give back; not answered yet


class Nodes(RuleBasedStateMachine):
    """Nodes join, leave and come back, orders wait for their answers, and ends are told late."""

    @initialize(
        tokens=st.lists(st.integers(0, 4).map(float), min_size=1, max_size=16),
        homes=st.dictionaries(st.integers(0, 15), st.sampled_from([*NODES, "never"]), max_size=12),
    )
    def begin_run(self, tokens: list[float], homes: dict[int, str]) -> None:
        self.total, self.over = len(tokens), set[int]()
        self.made = schedule(tokens, (), homes)
        self.nodes: dict[str, Node] = {}
        self.kept: dict[str, list[int]] = {}  # of nodes that are away

    @rule(name=NAMES, resumes=st.booleans())
    def join(self, name: str, resumes: bool) -> None:
        if name in self.nodes:
            return
        self.made.join(name)
        self.nodes[name] = Node()
        if resumes:
            self.made.resume(name, self.kept.pop(name, []))

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.nodes)))
        self.kept[name] = self.made.has(name)
        del self.nodes[name]
        self.made.leave(name)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), room=st.integers(0, 5))
    def give(self, data: st.DataObject, room: int) -> None:
        self._give(data.draw(st.sampled_from(sorted(self.nodes))), room)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def order(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.nodes)))
        self.nodes[name].orders = self.made.has(name), self.made.recalled(name)

    @precondition(lambda self: any(node.orders for node in self.nodes.values()))
    @rule(data=st.data(), told=st.integers(0, 3))
    def answer(self, data: st.DataObject, told: int) -> None:
        names = sorted(name for name, node in self.nodes.items() if node.orders)
        self._answer(data.draw(st.sampled_from(names)), told)

    @precondition(lambda self: any(node.queue for node in self.nodes.values()))
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        names = sorted(name for name, node in self.nodes.items() if node.queue)
        self._begin(data.draw(st.sampled_from(names)))

    @precondition(lambda self: any(node.begun for node in self.nodes.values()))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        names = sorted(name for name, node in self.nodes.items() if node.begun)
        node = self.nodes[data.draw(st.sampled_from(names))]
        self._end(node, data.draw(st.sampled_from(node.begun)))

    @invariant()
    def each_is_free_or_over_or_one_nodes(self) -> None:
        held = [n for name in self.nodes for n in self._held(name)]
        assert len(set(held)) == len(held)
        assert not set(held) & self.over
        assert self.made.left == self.total - len(self.over)
        assert self.made.free == self.made.left - len(held)
        recalled = {name: len(self.made.recalled(name)) for name in self.nodes}
        for name in self.nodes:
            others = sum(recalled.values()) - recalled[name]
            assert self.made.unbegun(name) == self.made.free + others

    @invariant()
    def nothing_is_under_way_at_two_nodes(self) -> None:
        begun = [n for node in self.nodes.values() for n in node.begun]
        assert len(set(begun)) == len(begun)

    def teardown(self) -> None:
        if not hasattr(self, "made"):
            return
        self.join("a", True)
        for _ in range(10 + 4 * self.total):
            for name in sorted(self.nodes):
                node = self.nodes[name]
                self._give(name, max(0, 3 - len(node.begun) - len(node.queue)))
                node.orders = self.made.has(name), self.made.recalled(name)
                self._answer(name, ROOM)
                while node.queue and len(node.begun) < 2:
                    self._begin(name)
                for n in node.begun[:1]:
                    self._end(node, n)
            if not self.made.left:
                break
        assert self.made.left == 0, "nothing goes on"
        assert self.over == set(range(self.total))

    def _held(self, name: str) -> list[int]:
        return [*self.made.has(name), *self.made.recalled(name)]

    def _give(self, name: str, room: int) -> None:
        free, before = self.made.free, self._held(name)
        others = {n for other in self.nodes if other != name for n in self._held(other)}
        given = self.made.give(name, room)
        assert len(given) == len(set(given)) <= room
        assert not set(given) & {*before, *others, *self.over}
        assert self.made.free == free - len(given)
        assert self.made.has(name)[-len(given) :] == given or not given

    def _answer(self, name: str, told: int) -> None:
        node = self.nodes[name]
        assert node.orders is not None
        keep, recalled = node.orders
        node.orders = None
        node.queue = [n for n in keep if n not in node.begun and n not in node.ended]
        for n in node.untold[:told]:
            self.made.over(n)
            self.over.add(n)
        del node.untold[:told]
        held = {*node.queue, *node.begun, *(n for n in recalled if n in node.ended)}
        had = set(self._held(name))
        back = self.made.heard(name, held, node.queue)
        assert set(back) <= had and not set(back) & {*node.queue, *node.begun}
        assert had == {*self._held(name), *back}

    def _begin(self, name: str) -> None:
        node = self.nodes[name]
        node.begun.append(node.queue.pop(0))

    def _end(self, node: Node, n: int) -> None:
        node.begun.remove(n)
        node.ended.append(n)
        node.untold.append(n)


TestNodes = Nodes.TestCase
TestNodes.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_nothing_is_recalled_from_a_silent_node_until_it_is_heard_again() -> None:
    made = schedule([5.0, 4.0, 3.0, 2.0], "ab")
    given = made.give("a", 2) + made.give("a", 2)
    unbegun(made, "a", given)
    made.silent("a")
    rest = made.give("b", 9)
    for n in rest:
        made.over(n)
    assert made.give("b", 9) == [] and made.recalled("a") == [] and made.unbegun("b") == 0
    unbegun(made, "a", given)
    assert made.give("b", 9) == [] and made.recalled("a")
