"""What a run over many nodes costs the process that leads it.

    python -m scripts.bench_cluster [--nodes 20 ...] [--rate 500 ...] [--tokens 100 10 ...]
                                    [--seconds 15]

Each node is an actor on one Ray server, made of namespaces on this machine; all that leads them is
the product's. A run, and a line, for each of the nodes, the tokens/s of a node, and the tokens of
an answer (on average): the same tokens in ten times as many requests cost no more memory.

Exit code 1 where that, or what else is promised, is broken: `broken`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from harness.base.errors import EnginediffError, RequestError
from harness.base.suite import Given
from scripts.bench_cluster.leading import Look, Measured
from suites import registry
from tests.servers import RAY_PORT, Servers, can_make_namespaces, servers

ROOT = Path(__file__).parents[2]
SERVER = "a"
SUITE = "tiny-tasks"
STREAMS, STREAM_RATE = 100, 25.0  # of a node at most, and tokens/s of each where there are fewer
QUARTERS = (0.25, 0.5, 0.75, 1.0)
MOST_CORE, LEAST_TAKEN = 0.4, 0.95
MOST_MIB, MOST_GROWTH = 200, 1.1
SPEC = """\
schema = 1
seed = 0
epochs = {epochs}
transport = "aiohttp"
nodes = {nodes}

[[suites]]
name = "{suite}"

[[engines]]
name = "http://127.0.0.1:9"

[sampling]
max_tokens = {most}
seeded = false
thinking = {{ temperature = 1.0, top_p = 0.95 }}
instant = {{ temperature = 0.6, top_p = 0.95 }}

[limits]
in_flight = {streams}
attempts = 1
retries = 0
idle_s = 60.0
total_s = {total_s}
restarts = 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """To one run."""

    nodes: int
    rate: int  # tokens/s of each
    tokens: int  # of an answer, on average
    seconds: float

    @property
    def epochs(self) -> int:
        requests = self.nodes * self.rate * self.seconds / self.tokens
        return max(1, round(requests / len(registry.suite(Given(name=SUITE)).tasks)))

    @property
    def requests(self) -> int:
        return self.epochs * len(registry.suite(Given(name=SUITE)).tasks)

    @property
    def streams(self) -> int:
        """Of each node."""
        return min(STREAMS, max(1, round(self.rate / STREAM_RATE)))

    def spec(self) -> str:
        most = 2 * self.tokens - 1  # from 1 on
        return SPEC.format(
            epochs=self.epochs,
            nodes=json.dumps(names(self.nodes)),
            suite=SUITE,
            most=most,
            streams=self.streams,
            total_s=most * self.streams / self.rate,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run."""

    offered: Offered
    measured: Measured

    @property
    def rss_mib(self) -> list[float]:
        """At each of QUARTERS of its requests."""
        return [
            min(self.measured.looks, key=lambda look: abs(look.done - share * total)).rss_mib
            for total in (self.offered.requests,)
            for share in QUARTERS
        ]

    @property
    def tokens_per_s(self) -> float:
        first, last = self._middle
        return (last.tokens - first.tokens) / (last.at_s - first.at_s)

    @property
    def taken(self) -> float:
        return self.tokens_per_s / (self.offered.nodes * self.offered.rate)

    @property
    def core(self) -> float:
        first, last = self._middle
        return (last.cpu_s - first.cpu_s) / (last.at_s - first.at_s)

    @property
    def _middle(self) -> tuple[Look, Look]:
        """While all nodes are at work, and as much again waits for them."""
        streams = self.offered.nodes * self.offered.streams
        last = self.offered.requests - 2 * streams
        within = [
            look
            for look in self.measured.looks
            if look.streams == streams and look.done and look.done <= last
        ]
        if len(within) < 2:
            raise RequestError("too short a run to be measured: give it more --seconds")
        return within[0], within[-1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts.bench_cluster", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[20])
    parser.add_argument("--rate", type=int, nargs="+", default=[500])
    parser.add_argument("--tokens", type=int, nargs="+", default=[100, 10])
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args()
    if not can_make_namespaces():
        print("bench_cluster skipped: no right to make network namespaces, where Ray may run")
        return 0
    loads = [
        Offered(nodes=nodes, rate=rate, tokens=tokens, seconds=options.seconds)
        for nodes, rate, tokens in itertools.product(options.nodes, options.rate, options.tokens)
    ]
    try:
        return bench(loads)
    except EnginediffError as error:
        print(f"bench_cluster: {error}", file=sys.stderr)
        return error.exit_code


def bench(loads: Sequence[Offered]) -> int:
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        cluster(Path(folder), max(one.nodes for one in loads)) as there,
    ):
        for number, offered in enumerate(loads):
            rows.append(measured(offered, there, Path(folder) / str(number)))
            print(line(rows[-1]), flush=True)
    wrong = [*broken(rows)]
    for problem in wrong:
        print(f"BROKEN: {problem}")
    return 1 if wrong else 0


def broken(rows: Sequence[Row]) -> Iterator[str]:
    """What is promised, and not kept."""
    for row in rows:
        name = title(row.offered)
        if row.core > MOST_CORE:
            yield f"{name}: {row.core:.0%} of a core; {MOST_CORE:.0%} at most"
        if row.taken < LEAST_TAKEN:
            yield f"{name}: {row.taken:.1%} of the tokens offered; {LEAST_TAKEN:.0%} at least"
        if max(row.rss_mib) > MOST_MIB:
            yield f"{name}: {max(row.rss_mib):.0f} MiB; {MOST_MIB} at most"
    for one, other in itertools.pairwise(rows):
        more = other.offered.requests > one.offered.requests
        if more and max(other.rss_mib) > MOST_GROWTH * max(one.rss_mib):
            yield (
                f"{max(one.rss_mib):.0f} MiB of {one.offered.requests:,} requests, "
                f"{max(other.rss_mib):.0f} of {other.offered.requests:,}; flat was promised"
            )


@contextmanager
def cluster(folder: Path, nodes: int) -> Generator[Servers]:
    """A Ray server that has a name for each node."""
    with servers(folder / "servers", [SERVER]) as made:
        log = folder / "ray.log"
        command = [
            *(str(Path(sys.executable).with_name("ray")), "start", "--head"),
            *(f"--port={RAY_PORT}", f"--node-ip-address={made.address(SERVER)}"),
            f"--resources={json.dumps(dict.fromkeys(names(nodes), 1))}",
            *("--include-dashboard=false", "--num-cpus=1", "--disable-usage-stats"),
            "--object-store-memory=80000000",
        ]
        with log.open("w") as said:
            env = {"PYTHONPATH": str(ROOT)}
            if made.run(SERVER, command, env=env, stdout=said, stderr=said).wait():
                raise RequestError(f"{' '.join(command)}: {log.read_text()}")
        yield made


def names(nodes: int) -> list[str]:
    return [f"node-{place}" for place in range(nodes)]


def measured(offered: Offered, there: Servers, folder: Path) -> Row:
    """Raises RequestError where the run ends without a measurement."""
    folder.mkdir()
    spec, log = folder / "run.toml", folder / "said"
    spec.write_text(offered.spec(), "utf-8")
    command = ["-m", "scripts.bench_cluster.leading", str(spec), str(folder / "run")]
    with log.open("w") as said:
        process = there.run(
            SERVER, [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=said
        )
        printed, _ = process.communicate()
    if process.returncode:
        raise RequestError(f"{title(offered)}: {log.read_text()[-2000:]}")
    table = orjson.loads(printed)
    looks = [Look(**look) for look in table.pop("looks")]
    return Row(offered=offered, measured=Measured(looks=looks, **table))


def title(offered: Offered) -> str:
    return (
        f"{offered.nodes} nodes x {offered.rate} tokens/s, "
        f"{offered.requests:,} requests of {offered.tokens} tokens"
    )


def line(row: Row) -> str:
    measured = row.measured
    memory = " ".join(f"{mib:.0f}" for mib in row.rss_mib)
    return (
        f"{title(row.offered)}: {row.tokens_per_s:,.0f} tokens/s, {row.taken:.0%} of those "
        f"offered; {row.core:.0%} of a core, {1000 * row.core / row.tokens_per_s:.4f} CPU s per "
        f"1000 tokens; MiB {memory}; an exchange takes {measured.exchange_ms_median:.1f} ms, "
        f"{measured.exchange_ms_99:.0f} of 99 %, {measured.exchange_ms_worst:.0f} at worst; load "
        f"{os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
