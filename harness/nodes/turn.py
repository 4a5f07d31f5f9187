"""One engine of a run over all its nodes: whose each request is, what came of it, how it stands.

Not thread-safe: whoever leads the run holds a lock around it.
"""

from __future__ import annotations

import random
from collections import ChainMap, Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import ConfigError, RequestError
from harness.nodes.prepared import Prepared
from harness.nodes.worker import News, Orders
from harness.runs.expected import Expected
from harness.runs.journal import Full
from harness.runs.ledger import NAME, Ledger
from harness.runs.plan import Cases
from harness.runs.retry import Failure
from harness.runs.schedule import Schedule
from harness.runs.shard import Found, Shard
from harness.runs.spec import RunSpec
from harness.runs.story import ANSWERED
from harness.runs.watch import Watch, together

DOUBT_S = 90.0  # for which a node stays with an engine while another is silent
FAILED = 20  # requests one after the other, until a node is not asked for more of them


@dataclass(slots=True)
class _There:
    """The engine on one node."""

    shard: Shard
    watch: Watch
    room: int = 0
    closed: bool = False
    silent_s: float = 0.0  # since nothing was heard of it; 0: something was


class Turn:
    """`close` it."""

    def __init__(
        self,
        spec: RunSpec,
        cases: Cases,
        engine: Prepared,
        n: int,
        folder: Path,
        *,
        fetched: Mapping[str, bool],
        expected: Expected,
        homes: MutableMapping[int, str],
        full: Full,
    ) -> None:
        """Goes on with what is there. `fetched`: by node. `homes`: where an engine before this one
        was asked a request, as far as it was. `full` as a journal's.

        Raises ConfigError.
        """
        self.engine, self.n = engine, n
        self.begun = False  # a worker was, somewhere
        self.given_up: dict[str, Exception] = {}  # by node
        self._numbers: Counter[str] = Counter()  # of orders, by node
        self._failed: Counter[str] = Counter()  # requests at a node, since one was answered there
        self.failures: Counter[str] = Counter()  # of a node, since something of it counted
        self.total, self.expected = len(cases), expected
        self._folder = folder / "records" / engine.file
        self._ledger = Ledger(self._folder / NAME, spec.hash, full)
        self._there: dict[str, _There] = {}
        self._shards = {
            node: Shard(self._folder / f"{node}.jsonl", full, fetched=far)
            for node, far in fetched.items()
        }
        for node, shard in self._shards.items():
            self._catch_up(node, shard)
        for request, tokens in self._ledger.tokens.items():
            expected.answered(request, tokens)
        self.outcomes = Counter(self._ledger.over.values())
        self.found = len(self._ledger.over)
        order = list(range(len(cases)))
        random.Random(f"order {spec.seed}").shuffle(order)
        self._schedule = Schedule(
            (n for n in order if n not in self._ledger.over),
            tokens=expected.tokens,
            rank=order.__getitem__,
            homes=ChainMap(self._ledger.has, homes),
        )
        for node in fetched:  # also those that are not at it yet: what is at home there is kept
            self._schedule.join(node)
        self._past: list[Watch] = []  # of workers that are no more

    @property
    def title(self) -> str:
        return self.engine.title

    @property
    def left(self) -> int:
        """Requests that are not over."""
        return self.total - len(self._ledger.over)

    def journals(self) -> dict[str, Path]:
        """By node."""
        return {node: shard.path for node, shard in self._shards.items()}

    def counted(self, node: str, n: int) -> bool:
        """Whether a node's answer is the one that counts."""
        return self._ledger.by.get(n) == node

    @property
    def again(self) -> int:
        """Answers that do not count: of nodes that were taken for lost, and others came first."""
        return self._ledger.again

    def paired(self, other: Turn) -> int:
        """Requests that both engines were asked on the same node."""
        by, there = self._ledger.by, other._ledger.by
        return sum(there.get(n) == node for n, node in by.items())

    @property
    def homes(self) -> MutableMapping[int, str]:
        """The node that has answered a request, or is to; it follows what goes on."""
        return ChainMap(self._ledger.by, self._ledger.has)

    def has_work(self, node: str) -> bool:
        """Whether an engine that were started there would have something to do."""
        if node in self.given_up or not self.left:
            return False
        return bool(self._schedule.free or self._ledger.of(node))

    def finished(self, nodes: Sequence[str]) -> bool:
        """Whether nobody will do any more of it."""
        return not self.left or all(node in self.given_up for node in nodes)

    def join(self, node: str) -> Shard:
        """A worker is to begin there; what is had of its journal."""
        self.begun = True
        self._schedule.join(node)
        self._schedule.resume(node, self._ledger.of(node))
        watch = Watch(engine=self.title, total=self.total)
        self._there[node] = _There(shard=self._shards[node], watch=watch)
        return self._shards[node]

    def orders(self, node: str, *, last: bool) -> Orders:
        """`last`: no other engine waits for the node."""
        there = self._there[node]
        given = [] if there.closed else self._schedule.give(node, there.room)
        there.room -= len(given)
        self._ledger.given(node, given)
        keep = self._schedule.has(node)
        idle = not keep and not self._schedule.unbegun(node) and not self._in_doubt()
        self._numbers[node] += 1
        there.closed |= not self.left or (idle and not last)
        return Orders(
            keep=tuple(keep),
            recalled=tuple(self._schedule.recalled(node)),
            closed=there.closed,
            have=there.shard.size,
            number=self._numbers[node],
        )

    def heard(self, node: str, news: News, now: float) -> bool:
        """Whether the worker has ended and all is known of it. `now`: of our time.monotonic.

        Raises ConfigError where what came is not what was to come.
        """
        there = self._there[node]
        self._count(node, there.shard.grown(news.lines, news.size, self._ledger.identity))
        held = {*news.unbegun, *news.begun}
        self._ledger.back(node, self._schedule.heard(node, held, news.unbegun))
        there.room = news.room
        news.watch.shift(now - news.now)
        there.watch, there.silent_s = news.watch, 0.0
        return news.end is not None and there.shard.size == news.size

    def _in_doubt(self) -> bool:
        """Whether a node may have been lost just now: what it has could come free."""
        return any(0.0 < there.silent_s < DOUBT_S for there in self._there.values())

    def silent(self, node: str, seconds: float) -> None:
        """Nothing was heard of it for so long; it is given no more, which could stay there."""
        self._there[node].room = 0
        self._there[node].silent_s = seconds
        self._there[node].watch.state = f"no word for {seconds:.0f} s"
        self._schedule.silent(node)

    def leave(self, node: str) -> None:
        """Its worker is no more; what it was to ask, it still is."""
        there = self._there.pop(node, None)
        if there is not None:
            there.watch.gone()
            self._past.append(there.watch)
            self._schedule.leave(node)

    def lost(self, node: str, why: str) -> None:
        """And what it was to ask is anyone's."""
        self.leave(node)
        self._ledger.became(node, why)
        self._ledger.back(node, self._ledger.of(node))

    def give_up(self, node: str, error: Exception) -> None:
        self.given_up[node] = error
        self.lost(node, f"given up: {error}")
        self._schedule.leave(node)

    def watch(self) -> Watch:
        """Of all nodes."""
        nodes = {node: there.watch for node, there in self._there.items()}
        state = self._state()
        return together(self.title, self.total, self.found, self.outcomes, state, nodes, self._past)

    def sync(self) -> None:
        for shard in self._shards.values():
            shard.sync()
        self._ledger.sync()

    def close(self) -> None:
        for shard in self._shards.values():
            shard.close()
        self._ledger.close()

    def _state(self) -> str:
        if not self.left:
            return "done"
        states = dict.fromkeys(there.watch.state for there in self._there.values())
        if not states:
            return "given up" if self.given_up else "waiting"
        return ", ".join(states)

    def _catch_up(self, node: str, shard: Shard) -> None:
        upto = self._ledger.upto.get(node, 0)
        if shard.size < upto:
            self._ledger.forgotten(node)
            upto = 0
        found = shard.found(upto, self._ledger.identity)
        self._ledger.identified(found.identity)
        self._ledger.ended(node, found.upto, found.ends)

    def _count(self, node: str, found: Found) -> None:
        self._ledger.identified(found.identity)
        tokens = {n: tokens for n, _, tokens in found.ends}
        outcomes = {n: outcome for n, outcome, _ in found.ends}
        for n in self._ledger.ended(node, found.upto, found.ends):
            self._schedule.over(n)
            self.outcomes[outcomes[n]] += 1
            self.failures[node] = 0
            if outcomes[n] == ANSWERED:
                self._failed[node] = 0
            elif outcomes[n] != Failure.REFUSED:  # which another node would refuse as well
                self._failed[node] += 1
            if outcomes[n] == ANSWERED and tokens[n]:
                self.expected.answered(n, tokens[n])
        if self._failed[node] >= FAILED and len(self._shards) > 1:
            why = f"the last {self._failed[node]} requests failed there"
            raise RequestError(f"{self.title}: {why}; others are asked the rest")
        for stranger in found.strangers:
            known = dict(self._ledger.identity or {})
            raise ConfigError(
                f"{self.title}: is {dict(stranger)} on {node}, and was {known} elsewhere"
            )
