"""Leads a run over its nodes: each is minded by a thread, and takes the first engine that has
something for it; what a node that was lost was to ask, others do.

    turns: one an engine     nodes: one a server
    a node's thread:  begin a worker -> orders, news, orders, news ... -> its end -> the next engine
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from harness.base.errors import EnginediffError, LaunchError
from harness.nodes.node import LostError, Node, SilentError
from harness.nodes.stop import Stop
from harness.nodes.turn import Turn
from harness.nodes.worker import News
from harness.runs.journal import NoRoomError
from harness.runs.watch import Watch

TICK_S = 0.1  # between two exchanges with a node, and more where there are many: one takes 1.3 ms
NODE_S = 0.005  # of our time, for each (scripts/bench_cluster)
SYNC_S = 5.0
SILENT_S = 5.0  # from which on it is said that a node is not heard of
HANGS_S = 900.0  # from which on it is taken for lost, whatever Ray says of its machine
ABSENT_S = 120.0  # without any node at work, until those that are away are not waited for
LONGEST_BACKOFF_S = 60.0
Announce = Callable[[str], None]


class Lead:
    """One run's. `run` it once."""

    def __init__(
        self,
        turns: Sequence[Turn],
        nodes: Sequence[Node],
        restarts: int,
        stop: Stop,
        announce: Announce,
    ) -> None:
        """`restarts`: how often a node may be lost without having got anything done."""
        self._turns, self._nodes, self._restarts = turns, nodes, restarts
        self._stop, self._announce = stop, announce
        self._names = [node.name for node in nodes]
        self._tick_s = max(TICK_S, NODE_S * len(nodes))
        self._lock = threading.Lock()
        self._working: set[str] = set()  # nodes, also those at which an engine begins
        self._busy_at = time.monotonic()  # when one was at work last
        self._bug: BaseException | None = None

    def run(self) -> bool:
        """Returns when no more is to be done, or can be; whether the user has stopped it."""
        minding = [
            threading.Thread(target=self._mind, args=(node,), name=node.name, daemon=True)
            for node in self._nodes
        ]
        with self._stop.listened():
            for thread in minding:
                thread.start()
            synced = time.monotonic()
            while any(thread.is_alive() for thread in minding):
                for thread in minding:
                    thread.join(TICK_S / len(minding))
                if time.monotonic() - synced > SYNC_S:
                    synced = time.monotonic()
                    for turn in self._turns:
                        turn.sync()
        if self._bug is not None:
            raise self._bug
        return self._stop.is_set()

    def watches(self) -> list[Watch]:
        """Of the engines that have begun."""
        with self._lock:
            return [turn.watch() for turn in self._turns if turn.begun]

    def _mind(self, node: Node) -> None:
        """One node, until nobody will do any more."""
        try:
            while (turn := self._next(node)) is not None:
                self._work(node, turn)
        except BaseException as error:  # noqa: BLE001 - a thread's edge: `run` raises it again
            self._bug = self._bug or error
            self._stop.set()

    def _next(self, node: Node) -> Turn | None:
        """The first engine that has something for a node; None: it is not needed any more."""
        absent = False
        while not self._stop.is_set():
            with self._lock:
                if all(turn.finished(self._names) for turn in self._turns):
                    return None
                waiting = [turn for turn in self._turns if turn.has_work(node.name)]
            if waiting and node.present():
                if absent:
                    self._announce(f"{node.name}: is back")
                return waiting[0]
            if waiting and not absent:
                absent = True
                self._announce(f"{node.name}: is away; it is used again when it is back")
            if self._working:
                self._busy_at = time.monotonic()
            if waiting and time.monotonic() - self._busy_at > ABSENT_S:
                with self._lock:
                    for turn in waiting:
                        turn.give_up(node.name, LostError(f"away for {ABSENT_S:.0f} s"))
            self._stop.wait(TICK_S)
        return None

    def _work(self, node: Node, turn: Turn) -> None:
        """An engine at a node, for as long as there is something to do."""
        try:
            with self._lock:
                self._working.add(node.name)
                shard = turn.join(node.name)
            node.begin(turn.engine, turn.n, shard)
            self._until_ended(node, turn)
        except LostError as error:
            self._lost(node, turn, error)
        except (NoRoomError, SilentError):
            assert self._stop.is_set()  # what is not written here, or not heard, is written there
        except EnginediffError as error:
            self._give_up(node, turn, error)
        finally:
            with self._lock:
                self._working.discard(node.name)
                turn.leave(node.name)
            self._close(node)

    def _until_ended(self, node: Node, turn: Turn) -> None:
        """Returns when its worker has ended, or is left. Raises what made it end otherwise."""
        heard, told = time.monotonic(), False
        while True:
            if self._stop.is_set():
                node.stop()
            with self._lock:
                last = not any(
                    other.has_work(node.name) for other in self._turns if other is not turn
                )
                orders = turn.orders(node.name, last=last)
            try:
                news = node.exchange(orders)
            except SilentError:
                silent_s = time.monotonic() - heard
                with self._lock:
                    turn.silent(node.name, silent_s)
                if self._stop.is_set():
                    return
                if silent_s > SILENT_S and not told:
                    told = True
                    self._announce(f"{node.name}: no word for {silent_s:.0f} s; it may be at work")
                if silent_s > HANGS_S:
                    raise LostError(f"no word for {silent_s:.0f} s") from None
                continue
            if told:
                told = False
                silent_s = time.monotonic() - heard
                self._announce(f"{node.name}: answers again, after {silent_s:.0f} s")
            heard = time.monotonic()
            self._tell(node, news)
            with self._lock:
                over = turn.heard(node.name, news, heard)
            if over:
                _require_good(node, news)
                return
            if not turn.left and news.end is None:
                node.stop()  # what it still asks, others have answered
            if 0 < len(news.lines) < news.size - orders.have:
                continue  # there is more to fetch
            time.sleep(self._tick_s)

    def _close(self, node: Node) -> None:
        try:
            node.close()
        except EnginediffError as error:
            self._announce(f"{node.name}: {error}")

    def _lost(self, node: Node, turn: Turn, error: LostError) -> None:
        with self._lock:
            turn.failures[node.name] += 1
            failures = turn.failures[node.name]
            if failures > self._restarts:
                turn.give_up(node.name, error)
            else:
                turn.lost(node.name, str(error))
        if failures > self._restarts:
            self._announce(f"{node.name}: given up: {error}")
            return
        self._announce(f"{node.name}: lost: {error}; others ask what it was to")
        self._stop.wait(min(LONGEST_BACKOFF_S, 2.0 ** (failures - 1)))

    def _give_up(self, node: Node, turn: Turn, error: EnginediffError) -> None:
        with self._lock:
            turn.give_up(node.name, error)
        if turn is not self._turns[-1] or len(self._nodes) > 1:
            self._announce(f"{self._of(node, turn)}: {error}")

    def _of(self, node: Node, turn: Turn) -> str:
        return turn.title if len(self._nodes) == 1 else f"{turn.title} on {node.name}"

    def _tell(self, node: Node, news: News) -> None:
        for said in news.said:
            self._announce(said if len(self._nodes) == 1 else f"{node.name}: {said}")


def _require_good(node: Node, news: News) -> None:
    """Raises what made a worker end. That a server's disk fails does not end the run."""
    if news.bug is not None:
        raise RuntimeError(f"on {node.name}:\n{news.bug}")
    if isinstance(news.problem, OSError) and node.fetched:
        raise LaunchError(f"{node.name}: {news.problem}") from news.problem
    if news.problem is not None:
        raise news.problem
