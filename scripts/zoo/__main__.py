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
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import orjson

from harness import session
from harness.base import atomic
from harness.base.errors import EnginediffError
from harness.base.home import home
from launchers import pins
from scripts.zoo import account, picture, row, tables, today
from scripts.zoo.fault import Fault
from scripts.zoo.row import Outcome, Zoo
from scripts.zoo.rows import ROWS, chosen

AT_ONCE = 2  # rows: an engine computes in one thread
SPENT = "seconds"
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
    began = time.monotonic() - spent(options.out)
    lanes = ThreadPoolExecutor(AT_ONCE)
    traces = recordings(lanes, rows)
    found = Zoo(options.out, lambda *key: traces[key].result(), brief=options.slice)
    try:
        outcomes = all_rows(lanes, found, rows)
    finally:
        lanes.shutdown(wait=False, cancel_futures=True)
        found.stop()
        atomic.write_bytes(options.out / SPENT, f"{time.monotonic() - began:.0f}\n".encode())
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


def spent(folder: Path) -> float:
    """Seconds that this zoo has taken so far, before it was stopped."""
    path = folder / SPENT
    return float(path.read_text("utf-8")) if path.is_file() else 0.0


def recordings(
    lanes: ThreadPoolExecutor, rows: Sequence[Fault]
) -> dict[tuple[str, str], Future[Path]]:
    """A trace for each model and numerics class of the rows; recorded where there is none.

    They are begun before any row, so that a row may wait for its own.
    """

    def record(model: str, numerics: str) -> Path:
        return session.trace_of(
            REFERENCES[model],
            classes=(numerics,),
            announce=lambda text: announce(f"trace of {model}, {numerics}", text),
        ).path

    needed = dict.fromkeys((one.model, row.numerics_of(one)) for one in rows)
    strictest_first = sorted(needed, key=lambda key: pins.NUMERICS_CLASSES.index(key[1]))
    return {key: lanes.submit(record, *key) for key in strictest_first}


def all_rows(lanes: ThreadPoolExecutor, zoo: Zoo, rows: Sequence[Fault]) -> list[Outcome]:
    """Every row's outcome, in the order of `rows`; what is slow to record is done last."""

    def one(number: int, fault: Fault) -> Outcome:
        name = f"{number} of {len(rows)} {fault.name}"
        outcome = row.outcome(zoo, fault, lambda text: announce(name, text))
        announce(name, tables.line(fault, outcome))
        return outcome

    order = sorted(rows, key=lambda fault: pins.NUMERICS_CLASSES.index(row.numerics_of(fault)))
    futures = {
        fault.name: lanes.submit(one, number, fault) for number, fault in enumerate(order, 1)
    }
    return [futures[fault.name].result() for fault in rows]


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
