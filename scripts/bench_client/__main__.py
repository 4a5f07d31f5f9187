"""What a token costs each client of the OpenAI chat API, at a set pace.

    python -m scripts.bench_client [--streams 400] [--rate 25] [--tokens 100] [--requests 1200]
                                   [--arrival spread|steps] [--rounds 1] [--only CLIENT ...]

One client after the other, each a process of its own against a mock server of its own, in C, which
says how busy and how late it was. A line each, of its median round; a client whose package is not
installed is skipped. A round in which the machine held the server up is marked: tokens then come
many at once, which makes them cheap.

Exit code 1 where ours breaks what it promises: `broken`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from harness.base.errors import EnginediffError, RequestError
from scripts.bench_client import server
from scripts.bench_client.load import Measured
from scripts.bench_client.server import Stats

HERE = "scripts.bench_client"
RAW = ("raw_lines", "raw_pieces", "raw_tuned")  # the best of them is 1
CLIENTS: Mapping[str, Sequence[str]] = {  # what each must be able to import
    "raw_lines": ("aiohttp", "orjson"),
    "raw_pieces": ("aiohttp", "orjson"),
    "raw_tuned": ("aiohttp", "orjson"),
    "ours": (f"{HERE}.ours", "aiohttp", "orjson"),
    "openai_sdk": ("openai",),
}
PATIENCE = 10  # times as long as the pace asks for
SHORT = 10  # tokens of an answer, where it is about their number
MOST_TIMES = 1.2  # the best raw client's CPU time, ours with its journal
MOST_CORE, LEAST_TAKEN = 0.4, 0.99  # of 10 000 tokens/s on 400 streams
MOST_MIB, MOST_GROWTH = 150, 1.1
LATE_MS = 4.0  # the server, on average: some 0.1 where it is let alone, some 1.5 with `steps`


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """The same for every client."""

    streams: int  # at once
    rate: float  # tokens/s of each stream
    tokens: int  # of each request
    requests: int
    arrival: str  # spread, steps: `server.c`

    @property
    def least_s(self) -> float:
        """How long a client takes that loses no time between its requests."""
        return -(-self.requests // self.streams) * self.tokens / self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One client, and the server beside it."""

    client: Measured
    server: Stats

    @property
    def cost_s(self) -> float:
        """CPU seconds of 1000 tokens."""
        return 1000 * self.client.cpu_s / self.client.tokens

    @property
    def disturbed(self) -> bool:
        return self.server.mean_late_ms > LATE_MS


def main() -> int:
    try:
        return bench(arguments())
    except EnginediffError as error:
        print(f"bench_client: {error}", file=sys.stderr)
        return error.exit_code


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=HERE, description=__doc__)
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--rate", type=float, default=25.0, help="tokens/s of each stream")
    parser.add_argument("--tokens", type=int, default=100, help="of each request")
    parser.add_argument("--requests", type=int, default=1200)
    parser.add_argument("--arrival", choices=("spread", "steps"), default="spread")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=CLIENTS, default=[*CLIENTS])
    return parser.parse_args()


def bench(options: argparse.Namespace) -> int:
    offered = Offered(
        streams=options.streams,
        rate=options.rate,
        tokens=options.tokens,
        requests=options.requests,
        arrival=options.arrival,
    )
    print(
        f"{offered.streams} streams x {offered.rate:g} tokens/s ({offered.arrival}), "
        f"{offered.requests} requests of {offered.tokens} tokens, {options.rounds} rounds",
        flush=True,
    )
    names = [*importable(options.only)]
    rounds: dict[str, list[Row]] = {name: [] for name in names}
    with TemporaryDirectory() as folder:
        program = server.compiled(Path(folder))
        for _ in range(options.rounds):
            for name in names:
                rounds[name].append(measured(name, program, offered))
        grown = [peak_mib(program, offered, times) for times in (1, 10)] if "ours" in names else []
    rows = {name: median(rounds[name]) for name in names}
    for name in names:
        print(line(name, rows, offered))
    wrong = [*broken(rows, offered, grown)] if "ours" in names else []
    for problem in wrong:
        print(f"BROKEN: {problem}")
    return 1 if wrong else 0


def peak_mib(program: Path, offered: Offered, times: int) -> float:
    """Of ours, over a run of short answers and `times` as many requests."""
    short = replace(offered, tokens=SHORT, requests=offered.requests * times)
    peak = measured("ours", program, short).client.rss_mib_peak
    print(f"ours: peak {peak:.0f} MiB over {short.requests:,} requests of {SHORT} tokens")
    return peak


def broken(rows: Mapping[str, Row], offered: Offered, grown: Sequence[float]) -> Iterator[str]:
    """What ours promises, and does not keep. `grown`: its peaks over a run, and over a tenfold."""
    ours, best = rows["ours"], raw_cost_s(rows)
    times, core = ours.cost_s / best, ours.client.cpu_s / ours.client.seconds
    taken = ours.client.tokens / ours.client.seconds / (offered.streams * offered.rate)
    if times > MOST_TIMES:  # a NaN, where no raw client ran, is not
        yield f"{times:.2f} times the CPU of raw; {MOST_TIMES} at most"
    if core > MOST_CORE:
        yield f"{core:.0%} of a core; {MOST_CORE:.0%} at most"
    if taken < LEAST_TAKEN:
        yield f"{taken:.1%} of the tokens offered; {LEAST_TAKEN:.0%} at least"
    if max(grown) > MOST_MIB or grown[1] > grown[0] * MOST_GROWTH:
        yield f"peaks of {grown[0]:.0f} and {grown[1]:.0f} MiB; {MOST_MIB} and flat"


def median(rows: Sequence[Row]) -> Row:
    """By its cost; of an even number the dearer."""
    return sorted(rows, key=lambda row: row.cost_s)[len(rows) // 2]


def importable(names: Sequence[str]) -> Iterator[str]:
    """In the order of CLIENTS; says of each other one why it is left out."""
    for name in (name for name in CLIENTS if name in names):
        missing = [module for module in CLIENTS[name] if find_spec(module) is None]
        if missing:
            print(f"{name:10} skipped: {', '.join(missing)} is not installed here")
        else:
            yield name


def measured(name: str, program: Path, offered: Offered) -> Row:
    """Raises RequestError where the client ends without a measurement."""
    with server.serving(
        program, interval_us=round(1e6 / offered.rate), arrival=offered.arrival
    ) as url:
        counts = (offered.streams, offered.tokens, offered.requests)
        command = [sys.executable, "-m", f"{HERE}.{name}", url, *map(str, counts)]
        limit_s = 30 + PATIENCE * offered.least_s
        try:
            ran = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, check=True, timeout=limit_s
            )
        except subprocess.SubprocessError as error:
            raise RequestError(f"{name}: {error}") from error
        return Row(client=Measured(**orjson.loads(ran.stdout)), server=server.stats(url))


def raw_cost_s(rows: Mapping[str, Row]) -> float:
    """Of the best raw client; NaN where none ran."""
    return min((rows[name].cost_s for name in RAW if name in rows), default=float("nan"))


def line(name: str, rows: Mapping[str, Row], offered: Offered) -> str:
    row = rows[name]
    client, its_server = row.client, row.server
    raw = raw_cost_s(rows)
    memory = " ".join(f"{mib:.0f}" for mib in client.rss_mib)
    taken = client.tokens / client.seconds / (offered.streams * offered.rate)
    return (
        f"{name:10} {row.cost_s:.4f} CPU s per 1000 tokens, {row.cost_s / raw:.2f} x raw; "
        f"{client.tokens / client.seconds:.0f} tokens/s, {taken:.0%} of those offered; "
        f"{client.cpu_s / client.seconds:.0%} of a core; MiB {memory}, peak "
        f"{client.rss_mib_peak:.0f}{_syncs(client)} | server: "
        f"{its_server.cpu_s / client.seconds:.0%} of a core, "
        f"late by {its_server.mean_late_ms:.2f} ms, at worst {its_server.worst_late_ms:.1f}"
        f"{'  DISTURBED, measure again' if row.disturbed else ''}"
    )


def _syncs(client: Measured) -> str:
    if not client.sync_ms:
        return ""
    return (
        f"; {len(client.sync_ms)} syncs, {max(client.sync_ms):.1f} ms at worst; journal read at "
        f"{client.tokens / client.read_s:,.0f} tokens/s"
    )


if __name__ == "__main__":
    sys.exit(main())
