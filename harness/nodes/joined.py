"""Servers that have an engine together: one node of a run. The first leads, and answers; a part
that has ended ends the whole launch, for an engine does not always notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from harness.nodes.node import SilentError
from harness.nodes.prepared import Prepared
from harness.nodes.remote import Remote
from harness.nodes.worker import News, Orders
from harness.runs.shard import Shard


class Joined:
    """A node, as `nodes.Node` says."""

    fetched = True

    def __init__(self, servers: Sequence[Remote]) -> None:
        self._first, *self._others = servers
        self.name = "+".join(server.name for server in servers)
        self._n = 0
        self._fallen: tuple[str, str] | None = None

    def present(self) -> bool:
        present = [server.present() for server in (self._first, *self._others)]  # each is asked
        return all(present)

    def enter(self, run: str) -> None:
        for server in (self._first, *self._others):
            server.enter(run)

    def begin(self, engine: Prepared, n: int, shard: Shard) -> None:
        for server in self._others:
            server.require_surveyed()
        self._n, self._fallen = n, None
        self._first.begin(engine, n, shard)

    def exchange(self, orders: Orders) -> News:
        news = self._first.exchange(replace(orders, fallen=self._fallen))
        if news.end is None:
            for rank, server in enumerate(self._others, 1):
                with suppress(SilentError):
                    life, why = server.follow(self._n, news.life, rank, self._first.address)
                    if why:
                        self._fallen = life, f"{server.name}: {why}"
        return news

    def stop(self) -> None:
        self._first.stop()

    def close(self) -> None:
        for server in (self._first, *self._others):
            server.close()

    def forget(self, folder: Path, files: Sequence[str]) -> bool:
        gone = [server.forget(folder, files) for server in (self._first, *self._others)]
        return all(gone)
