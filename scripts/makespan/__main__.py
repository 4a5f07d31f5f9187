"""How long the full plan of Kimi Vendor Verifier takes on 1, 2, 4 and 20 nodes, simulated.

    python -m scripts.makespan [--seeds N] [--docs FOLDER]

Prints what is found; writes README.md and makespan.svg to FOLDER.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from harness.base import atomic
from scripts.makespan import account, page, picture
from scripts.makespan.account import Pair, Row
from scripts.makespan.machine import MACHINES

AT_ONCE = 2  # processes
PAIRED = (2, 20)  # nodes on which two engines are compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="draws of the answers' lengths")
    parser.add_argument("--docs", type=Path, help="a folder for README.md and makespan.svg")
    options = parser.parse_args()
    seeds = range(1, options.seeds + 1)
    with ProcessPoolExecutor(AT_ONCE) as pool:
        pairs = [pool.submit(account.pair, m, n, seeds[0]) for m in MACHINES for n in PAIRED]
        rows = [pool.submit(account.row, m, n, seeds) for m in MACHINES for n in account.NODES]
        found = [row.result() for row in rows]
        both = [one.result() for one in pairs]
    print("\n".join(page.summary(found)))
    if options.docs is not None:
        write(options.docs, found, both, seeds)


def write(folder: Path, rows: list[Row], pairs: list[Pair], seeds: range) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(folder / "makespan.svg", picture.picture(rows).encode())
    atomic.write_bytes(folder / "README.md", page.page(rows, pairs, seeds).encode())


if __name__ == "__main__":
    main()
