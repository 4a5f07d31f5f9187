"""Which node is given which request of one engine. Pure.

The longest expected first, so that none that is long is begun last (R. L. Graham's rule, 1969); the
nodes take from one list as they have room, so that a fast one takes more. None takes more than its
share of what is left at a time (Polychronopoulos and Kuck's guided self-scheduling, 1987).

A request that an engine before this one was asked on a node has its home there: what is compared
is asked in the same place, and a node's own effects cancel. Only a node that would idle takes from
another's: first half of what that one was not given yet, then what it was given and has not begun.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

SORTED_AGAIN = 1.25  # times as many answers are known as when it was sorted last


@dataclass(slots=True)
class _Node:
    has: dict[int, None] = field(default_factory=dict[int, None])  # given in this order, not over
    unbegun: set[int] = field(default_factory=set[int])  # of these, as it said last
    recalled: set[int] = field(default_factory=set[int])  # of these, to be given back
    home: list[int] = field(default_factory=list[int])  # free, and at home there; longest last


class Schedule:
    """`nodes` join and leave; a request is free, some node's, or over."""

    def __init__(
        self,
        left: Iterable[int],
        *,
        tokens: Callable[[int], float],
        rank: Callable[[int], float],
        homes: Mapping[int, str],
    ) -> None:
        """`left`: requests that are not over. `tokens`: expected of each, as is known now.
        `rank`: the order of those of which the same is expected. `homes`: node by request."""
        self._tokens, self._rank, self._homes = tokens, rank, homes
        self._nodes: dict[str, _Node] = {}
        self._common: list[int] = []  # free, and at home nowhere here; longest last
        self._waiting = set(left)  # free
        self._known = 1.0
        self._sorted_at = 0.0  # `_known` then; 0: it is to be sorted before anything is given

    def join(self, node: str) -> None:
        self._nodes.setdefault(node, _Node())
        self._sorted_at = 0.0

    def leave(self, node: str) -> None:
        """What it had is free again, and what was at home there has no home while it is away."""
        gone = self._nodes.pop(node, None)
        if gone is not None:
            self._waiting.update(gone.has)
        self._sorted_at = 0.0

    @property
    def left(self) -> int:
        """Requests that are not over."""
        return len(self._waiting) + sum(len(node.has) for node in self._nodes.values())

    @property
    def free(self) -> int:
        return len(self._waiting)

    def unbegun(self, node: str) -> int:
        """That are free, or recalled for it from others: whether waiting is worth its while."""
        return self.free + sum(
            len(other.recalled) for name, other in self._nodes.items() if name != node
        )

    def has(self, node: str) -> list[int]:
        """What a node is to keep, in the order in which it was given."""
        own = self._nodes[node]
        return [n for n in own.has if n not in own.recalled]

    def recalled(self, node: str) -> list[int]:
        """What it is to give back, if it has not begun it."""
        return list(self._nodes[node].recalled)

    def resume(self, node: str, numbers: Iterable[int]) -> None:
        """It has these already."""
        own = [n for n in numbers if n in self._waiting]
        self._waiting.difference_update(own)
        self._nodes[node].has.update(dict.fromkeys(own))
        self._sorted_at = 0.0

    def give(self, node: str, room: int) -> list[int]:
        """At most `room` more for a node, longest first."""
        own = self._nodes[node]
        given = [n for n in self._chosen(own, room) if n in self._waiting]
        if len(given) < room and not self._waiting and not own.unbegun:
            self._recall(node, room - len(given))
        self._waiting.difference_update(given)
        own.has.update(dict.fromkeys(given))
        own.unbegun.update(given)
        return given

    def heard(self, node: str, held: Collection[int], unbegun: Collection[int]) -> list[int]:
        """What a node has, and has not begun, by its own word; what it gave back, now free."""
        own = self._nodes[node]
        back = [n for n in own.recalled if n not in held]
        for n in back:
            del own.has[n]
        own.unbegun = own.has.keys() & unbegun
        own.recalled &= own.unbegun
        self._free(back)
        return back

    def silent(self, node: str) -> None:
        """Nothing is known of what it has begun, and nothing comes back from it now."""
        own = self._nodes[node]
        own.unbegun.clear()
        own.recalled.clear()

    def over(self, n: int) -> None:
        for node in self._nodes.values():
            node.has.pop(n, None)
            node.unbegun.discard(n)
            node.recalled.discard(n)
        self._waiting.discard(n)
        self._known += 1

    def _chosen(self, own: _Node, room: int) -> list[int]:
        if self._known > SORTED_AGAIN * self._sorted_at:
            self._sort()
        share = -(-len(self._common) // len(self._nodes))
        given = own.home[-room:][::-1] if room else []
        del own.home[len(own.home) - len(given) :]
        given += _every(self._common, len(self._nodes), min(share, room - len(given)))
        if len(given) < room and not self._common:
            given += self._taken(own, room - len(given))
        return given

    def _taken(self, own: _Node, room: int) -> list[int]:
        """Half of what is free and at home on the node that has most of it left."""
        other = max(self._nodes.values(), key=lambda node: self._expected(node.home))
        if other is own or not other.home:
            return []
        taken = min(room, -(-len(other.home) // 2))
        return _every(other.home, max(1, len(other.home) // taken), taken)

    def _recall(self, node: str, room: int) -> None:
        """Nothing is free: others are to give back of what they have not begun."""
        others = [other for name, other in self._nodes.items() if name != node]
        room -= sum(len(other.recalled) for other in others)
        idle = [(n, other) for other in others for n in other.unbegun - other.recalled]
        idle.sort(key=lambda one: self._order(one[0]), reverse=True)
        for n, other in idle[: max(0, room)]:
            other.recalled.add(n)

    def _free(self, numbers: Iterable[int]) -> None:
        """Into the common list: who has room for them asks next."""
        numbers = list(numbers)
        if not numbers:
            return
        self._waiting.update(numbers)
        self._common = sorted([*self._common, *numbers], key=self._order)

    def _sort(self) -> None:
        self._sorted_at = self._known
        self._common = []
        for node in self._nodes.values():
            node.home = []
        for n in sorted(self._waiting, key=self._order):
            home = self._nodes.get(self._homes.get(n, ""))
            (self._common if home is None else home.home).append(n)

    def _order(self, n: int) -> tuple[float, float]:
        return self._tokens(n), self._rank(n)

    def _expected(self, numbers: Iterable[int]) -> float:
        return sum(map(self._tokens, numbers))


def _every(numbers: list[int], step: int, most: int) -> list[int]:
    """Takes every `step`-th from the end of the list, `most` at most; longest first."""
    if most <= 0:
        return []
    end = numbers[-step * most :][::-1]
    taken = end[::step]
    gone = set(taken)
    numbers[-step * most :] = [n for n in reversed(end) if n not in gone]
    return taken
