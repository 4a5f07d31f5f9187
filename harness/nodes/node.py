"""A node, as whoever leads a run sees it: one engine at a time is asked there, by a worker.

    LostError      its worker is no more: the node died, or its process
    SilentError    no word from it in time: it may be cut off, and go on by itself

Two implementations: `Here`, this process, and `remote.Remote`, a server of a Ray cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.base.errors import EnginediffError
from harness.nodes.prepared import Prepared
from harness.nodes.worker import Errand, News, Orders, Worker
from harness.runs.plan import Cases
from harness.runs.shard import Shard
from harness.runs.spec import LOCAL, RunSpec

CLOSE_S = 30.0  # for a worker that is to stop, its engine included


class LostError(EnginediffError):
    """A node's worker is no more; what it wrote is on its disk, if that is still there."""

    exit_code = 4


class SilentError(EnginediffError):
    """A node does not answer; it may be at work."""

    exit_code = 4


class Node(Protocol):
    """One at which a run's engines are asked, one after another."""

    name: str
    fetched: bool  # whether its journal is elsewhere than in the run's directory

    def present(self) -> bool:
        """Whether a worker could be begun there now."""
        ...

    def enter(self, run: str) -> None:
        """The run's id, by which the node's own files are named. Before the first worker."""
        ...

    def begin(self, engine: Prepared, n: int, shard: Shard) -> None:
        """A worker for the `n`-th engine; `shard`: what is had of its journal.

        Raises LostError, or what the worker raises when it begins.
        """
        ...

    def exchange(self, orders: Orders) -> News:
        """Raises LostError or SilentError."""
        ...

    def stop(self) -> None:
        """The worker is to end soon; its news say when it has."""
        ...

    def close(self) -> None:
        """Its worker is ended, if it can be reached."""
        ...

    def forget(self, folder: Path, files: Sequence[str]) -> bool:
        """All that was written there is safe elsewhere. Its engines' logs are kept in `folder`, as
        `files` names these; whether nothing is left there."""
        ...


@dataclass(slots=True, kw_only=True)
class Here:
    """This process, and so this machine."""

    spec: RunSpec
    cases: Cases
    folder: Path
    name: str = LOCAL
    fetched: bool = False
    _worker: Worker | None = field(default=None, init=False)

    def enter(self, run: str) -> None:
        del run

    def present(self) -> bool:
        return True

    def begin(self, engine: Prepared, n: int, shard: Shard) -> None:
        del n
        errand = Errand(
            spec=self.spec,
            cases=self.cases,
            engine=engine,
            placed=engine.loaded,
            journal=shard.path,
            log=self.folder / "logs" / f"{engine.file}.log",
        )
        self._worker = Worker(errand, fetched=False)

    def exchange(self, orders: Orders) -> News:
        assert self._worker is not None
        return self._worker.exchange(orders)

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()

    def close(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker.join(CLOSE_S)
            self._worker = None

    def forget(self, folder: Path, files: Sequence[str]) -> bool:
        """It is all in the run's directory."""
        del folder, files
        return True
