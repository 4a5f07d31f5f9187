"""The fault zoo: what the verdict catches, what it costs, how often it cries wolf.

    python -m scripts.zoo [-o FOLDER] [--slice] [--only NAME ...] [--docs FOLDER]

Records the traces that it needs, makes every row and checks it, two at a time, then has today's
rules judge the same engines. It can be stopped and goes on where it stood. Exit code 1: a false
EQUIVALENT, a false DIFFERENT, or a row that came to nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from harness import session
from harness.base import atomic
from harness.base.errors import EnginediffError
from harness.base.home import home
from scripts.zoo import account, picture, row, tables, today
from scripts.zoo.faults import Fault
from scripts.zoo.row import Outcome, Zoo
from scripts.zoo.rows import ROWS, chosen

AT_ONCE = 2  # rows: an engine computes in one thread
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
    began = time.monotonic()
    found = Zoo(options.out, traces(rows), brief=options.slice)
    try:
        outcomes = all_rows(found, rows)
    except BaseException:
        found.stop()
        raise
    said = {} if options.slice else today.judged(found, rows, outcomes, REFERENCES)
    document = account.document(found, rows, outcomes, said, time.monotonic() - began)
    folder = options.docs or options.out
    atomic.write_bytes(
        folder / "zoo.json", orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
    )
    atomic.write_bytes(folder / "zoo.svg", picture.picture(document).encode())
    atomic.write_bytes(folder / "README.md", tables.page(document).encode())
    print(tables.summary(document))
    return int(bool(document["wrong"]))


def traces(rows: Sequence[Fault]) -> dict[tuple[str, str], Path]:
    """A trace for each model and numerics class of the rows; recorded where there is none."""
    needed = dict.fromkeys((one.model, row.numerics_of(one)) for one in rows)

    def record(key: tuple[str, str]) -> Path:
        model, numerics = key
        return session.trace_of(
            REFERENCES[model],
            classes=(numerics,),
            announce=lambda text: announce(f"trace of {model}, {numerics}", text),
        ).path

    with ThreadPoolExecutor(AT_ONCE) as lanes:
        return dict(zip(needed, lanes.map(record, needed), strict=True))


def all_rows(zoo: Zoo, rows: Sequence[Fault]) -> list[Outcome]:
    """Every row's outcome, `AT_ONCE` at a time."""

    def one(number: int, fault: Fault) -> Outcome:
        name = f"{number} of {len(rows)} {fault.name}"
        outcome = row.outcome(zoo, fault, lambda text: announce(name, text))
        announce(name, tables.line(fault, outcome))
        return outcome

    lanes = ThreadPoolExecutor(AT_ONCE)
    futures = [lanes.submit(one, number, fault) for number, fault in enumerate(rows, 1)]
    try:
        return [future.result() for future in futures]
    finally:
        lanes.shutdown(wait=False, cancel_futures=True)


def announce(name: str, text: str) -> None:
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
    options.out = options.out or home() / "zoo"
    return options


if __name__ == "__main__":
    sys.exit(main())
