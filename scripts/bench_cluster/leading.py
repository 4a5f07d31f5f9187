"""A run as `enginediff run` makes it, with actors on one Ray server for its nodes; what it cost.

    python -m scripts.bench_cluster.leading SPEC FOLDER

Prints a line of JSON, a `Measured`, of this process, which leads the run. Of it all is the
product's; of the nodes, all but their workers (`fabricated`).
"""

from __future__ import annotations

import argparse
import sys
import time
from array import array
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from harness import run
from harness.nodes import cluster, remote
from harness.nodes.remote import Remote
from harness.nodes.worker import News, Orders
from harness.runs.watch import Watch
from scripts.bench_client.load import rss_mib
from scripts.bench_cluster.fabricated import FabricatingAttendant


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Once a second."""

    at_s: float
    cpu_s: float  # of this process, all threads
    rss_mib: float
    streams: int  # that may be at once, at all nodes that are at work
    done: int  # requests
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A whole run."""

    looks: Sequence[Look]
    exchange_ms_median: float
    exchange_ms_99: float
    exchange_ms_worst: float


class Timed(Remote):
    """A node whose exchanges are timed."""

    took_s = array("d")  # of all nodes

    def exchange(self, orders: Orders) -> News:
        began = time.monotonic()
        try:
            return super().exchange(orders)
        finally:
            self.took_s.append(time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("spec", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    cluster.opened, remote.Attendant = _opened(cluster.opened), FabricatingAttendant
    looks: list[Look] = []
    terminal = run.Terminal(announce=_said, show=lambda watches: looks.extend(map(_look, watches)))
    report = run.run(options.spec, options.folder, 0, terminal)
    if report.problems or report.over != report.asked:
        raise SystemExit(f"{report.over} of {report.asked} requests: {report.problems}")
    print(orjson.dumps(asdict(_measured(looks))).decode())


def _opened(joined: Callable[..., Any]) -> Callable[..., Any]:
    @contextmanager
    def opened(
        names: Sequence[str] | None, stopped: Callable[[], bool], *, away: bool = False
    ) -> Generator[list[Remote]]:
        """All are names of one server."""
        del away
        with joined(None, stopped):
            yield [Timed(name, stopped) for name in names or ()]

    return opened


def _look(watch: Watch) -> Look:
    return Look(
        at_s=time.monotonic(),
        cpu_s=time.process_time(),
        rss_mib=rss_mib(),
        streams=watch.allowed,
        done=watch.done,
        tokens=watch.tokens,
    )


def _measured(looks: Sequence[Look]) -> Measured:
    took_ms = [1000 * one for one in sorted(Timed.took_s)]
    return Measured(
        looks=looks,
        exchange_ms_median=took_ms[len(took_ms) // 2],
        exchange_ms_99=took_ms[len(took_ms) * 99 // 100],
        exchange_ms_worst=took_ms[-1],
    )


def _said(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
