"""The fault zoo: what the verdict catches, what it costs, how often it cries wolf.

    python -m scripts.zoo [-o FOLDER] [--slice] [--only NAME ...] [--docs FOLDER]

Records the traces that it needs, makes every row and checks it, two at a time, then has today's
rules judge the same engines. It can be stopped and goes on where it stood. Exit code 1: a false
EQUIVALENT, a false DIFFERENT, or a row that came to nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from harness import session
from harness.base import atomic
from harness.base.errors import EnginediffError
from harness.base.home import home
from launchers import pins
from scripts.zoo import account, picture, row, tables, today
from scripts.zoo.fault import Fault
from scripts.zoo.row import ROOT, Kind, Outcome, Zoo
from scripts.zoo.rows import ROWS, chosen
from scripts.zoo.rules import Said

AT_ONCE = 2  # rows: an engine computes in one thread
SOURCES = ("harness", "launchers", "suites", "scripts/zoo")
SUFFIXES = (".py", ".toml", ".txt", ".jsonl", ".jinja", ".safetensors")
REFERENCES = {"tiny-moe": "tiny-moe/reference", "tiny-k2": "tiny-k2/reference"}


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return zoo(options)
    except EnginediffError as error:
        print(f"zoo: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("zoo: interrupted; the same command goes on from here", file=sys.stderr, flush=True)
        os._exit(130)  # the lanes' threads wait for engines, which end with us


def zoo(options: argparse.Namespace) -> int:
    rows = chosen(options.only, only_slice=options.slice)
    folder = options.out / (f"{source()}-slice" if options.slice else source())
    clock = Clock(folder / "seconds.json")
    lanes = ThreadPoolExecutor(AT_ONCE)
    found = Zoo(folder, recordings(lanes, rows, clock), brief=options.slice)

    def write(said: Mapping[str, Sequence[Said]]) -> dict[str, Any]:
        made = account.document(found, rows, outcomes, said, clock.seconds, ROWS)
        place = options.docs or options.out
        content = orjson.dumps(made, option=orjson.OPT_INDENT_2) + b"\n"
        atomic.write_bytes(place / "zoo.json", content)
        atomic.write_bytes(place / "zoo.svg", picture.picture(made).encode())
        atomic.write_bytes(place / "README.md", tables.page(made).encode())
        return made

    try:
        outcomes = all_rows(lanes, found, rows, clock)
        document = write({})
        if not options.slice:
            document = write(today.judged(found, rows, outcomes, REFERENCES))
    finally:
        lanes.shutdown(wait=False, cancel_futures=True)
        found.stop()
        clock.keep()
    print(tables.summary(document))
    return int(bool(document["wrong"]))


class Clock:
    """How long this zoo has taken, the times before it was stopped included."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began = time.monotonic()
        self._before: dict[str, float] = {"all": 0.0, "traces": 0.0}
        if path.is_file():
            self._before = orjson.loads(path.read_bytes())
        self._traces = 0.0

    @property
    def seconds(self) -> dict[str, float]:
        spent = time.monotonic() - self._began
        return {"all": self._before["all"] + spent, "traces": self._before["traces"] + self._traces}

    def recorded(self) -> None:
        """A trace is there, that there was not."""
        self._traces = max(self._traces, time.monotonic() - self._began)

    def keep(self) -> None:
        atomic.write_bytes(self._path, orjson.dumps(self.seconds))


def source() -> str:
    """A digest of the code that decides what is found: other code has a folder of its own."""
    digest = hashlib.sha256()
    files = [f for name in SOURCES for f in (ROOT / name).rglob("*") if f.suffix in SUFFIXES]
    for file in sorted(files):
        digest.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def recordings(
    lanes: ThreadPoolExecutor, rows: Sequence[Fault], clock: Clock
) -> dict[Kind, Future[Path]]:
    """A trace for each model and numerics class of the rows; recorded where there is none.

    They are begun before any row, so that a row may wait for its own.
    """

    def record(model: str, numerics: str) -> Path:
        told: list[str] = []
        path = session.trace_of(
            REFERENCES[model],
            classes=(numerics,),
            announce=lambda text: announce(f"trace of {model}, {numerics}", text, told),
        ).path
        if told:
            clock.recorded()
        return path

    needed = dict.fromkeys((one.model, row.numerics_of(one)) for one in rows)
    strictest_first = sorted(needed, key=lambda key: pins.NUMERICS_CLASSES.index(key[1]))
    return {key: lanes.submit(record, *key) for key in strictest_first}


def all_rows(
    lanes: ThreadPoolExecutor, zoo: Zoo, rows: Sequence[Fault], clock: Clock
) -> list[Outcome]:
    """Every row's outcome, in the order of `rows`; what is slow to record is done last."""

    def one(number: int, fault: Fault) -> Outcome:
        name = f"{number} of {len(rows)} {fault.name}"
        outcome = row.outcome(zoo, fault, lambda text: announce(name, text))
        announce(name, tables.line(fault, outcome))
        clock.keep()
        return outcome

    order = sorted(rows, key=lambda fault: pins.NUMERICS_CLASSES.index(row.numerics_of(fault)))
    futures = {
        fault.name: lanes.submit(one, number, fault) for number, fault in enumerate(order, 1)
    }
    return [futures[fault.name].result() for fault in rows]


def announce(name: str, text: str, told: list[str] | None = None) -> None:
    if told is not None:
        told.append(text)
    print(f"[{name}] {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="zoo", description=__doc__.partition("\n")[0] if __doc__ else None
    )
    parser.add_argument("-o", "--out", type=Path, help="where the rows lie; else under the home")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[one.name for one in ROWS])
    parser.add_argument("--slice", action="store_true", help="the rows that CI runs")
    parser.add_argument("--docs", type=Path, help="where the tables are written; else beside them")
    options = parser.parse_args()
    if options.docs and (options.only or options.slice):
        parser.error("--docs shows the whole zoo: not with --only, nor with --slice")
    options.out = options.out or home() / "zoo"
    return options


if __name__ == "__main__":
    sys.exit(main())
