"""Has engines that are right score all sequences of a trace.

    python -m scripts.benign_answers TRACE... -o DIR [--loads 2 8 16] [--only NAME...]

Each configuration of `zoo.benign` that a trace can judge is launched once, and asked at several
loads, each in an order of its own, so that other sequences share a batch. What is there is not
asked again, so an interrupted run goes on where it was. `--pin` asks one other engine instead.

    DIR/<trace's sha256>/<configuration>/engine.json     what it is, by itself and by its pin
                                         at-<load>.parquet   evidence of L2, all sequences
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from harness import candidate, evidence, session
from harness.base import atomic
from harness.base.errors import ConfigError, EnginediffError
from harness.candidate import Opened
from harness.checker import forced
from harness.checker.distance import between
from harness.client import BUSY, parts
from harness.recording import Trace
from launchers.pins import LoadedPin
from scripts.zoo.benign import BENIGN, Benign

LOADS = (2, 8, BUSY)  # requests in flight
PART = 64  # sequences between two lines of progress


def folder_of(answers: Path, trace: Trace, name: str) -> Path:
    return answers / trace.sha256[:12] / name


def file_of(folder: Path, load: int) -> Path:
    return folder / f"at-{load}.parquet"


def judges(trace: Trace, model: str, numerics: str) -> bool:
    """Whether a trace is of that model and has tolerances of that class."""
    classes = [table["numerics"] for table in trace.manifest["tolerances"]]
    return trace.manifest["model"]["name"] == model and numerics in classes


def ask(
    row: Benign, loaded: LoadedPin, answers: Path, missing: Sequence[tuple[Trace, int]]
) -> None:
    """Launches the engine once, for all that is missing of it."""
    log = answers / f"{row.name}.log"
    with candidate.opened(row.pin, loaded, log=log, announce=announce) as opened:
        for trace, load in missing:
            folder = folder_of(answers, trace, row.name)
            described = {"schema": 1, "numerics": row.numerics, **opened.described()}
            atomic.write_bytes(
                folder / "engine.json", orjson.dumps(described, option=orjson.OPT_INDENT_2)
            )
            score_all(opened, trace, load, file=file_of(folder, load), name=row.name)


def score_all(opened: Opened, trace: Trace, load: int, *, file: Path, name: str) -> None:
    """Every sequence, `load` requests in flight. `file` is written whole or not at all."""
    order = forced.permutation(range(len(trace)), seed=load, name=name)
    began, tokens = time.monotonic(), 0
    with evidence.written(file) as written:
        for rows in parts(order, PART):
            recorded = [trace[row] for row in rows]
            sequences = [one.token_ids for one in recorded]
            scores = opened.asker.score(sequences, trace.manifest["top_k"], at_once=load)
            for one, answer in zip(recorded, scores, strict=True):
                written.add("L2", one.case.stratum, one.case.id, between(one.scores, answer))
            tokens += sum(map(len, sequences))
            rate = tokens / (time.monotonic() - began)
            announce(f"{name} at {load}: {tokens:,} tokens, {rate:,.0f} a second")


def missing_of(
    row: Benign, loaded: LoadedPin, answers: Path, traces: Sequence[Trace], loads: Sequence[int]
) -> list[tuple[Trace, int]]:
    """ConfigError where what is there was answered by another pin."""
    found: list[tuple[Trace, int]] = []
    for trace in traces:
        if not judges(trace, loaded.pin.model.name, row.numerics):
            continue
        folder = folder_of(answers, trace, row.name)
        described = folder / "engine.json"
        if described.is_file():
            pin = orjson.loads(described.read_bytes())["pin"]
            if pin["hash"] != loaded.hash:
                raise ConfigError(f"{folder}: answers of {pin['hash']}, another pin: remove them")
        found += [(trace, load) for load in loads if not file_of(folder, load).is_file()]
    return found


def ask_all(options: argparse.Namespace) -> int:
    """How many configurations failed; each is told of, and the others are asked."""
    traces = [Trace(path) for path in options.traces]
    failed = 0
    for number, row in enumerate(rows := chosen(options), start=1):
        try:
            loaded = candidate.prepared(row.pin, row.changes, announce)
            assert loaded is not None
            session.promise(row.pin, row.changes, row.numerics)
            missing = missing_of(row, loaded, options.output, traces, options.loads)
            announce(f"{number} of {len(rows)}: {row.name}, {len(missing)} answer sets to ask for")
            if missing:
                ask(row, loaded, options.output, missing)
        except EnginediffError as error:
            announce(f"benign_answers: {row.name}: {error}")
            failed += 1
    return failed


def chosen(options: argparse.Namespace) -> list[Benign]:
    if options.pin is not None:
        numerics = session.promise(options.pin, options.set, None)
        changes = tuple(options.set)
        return [Benign(name=options.name, pin=options.pin, changes=changes, numerics=numerics)]
    return [row for row in BENIGN if options.only is None or row.name in options.only]


def announce(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("traces", nargs="+", type=Path, metavar="TRACE")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR")
    parser.add_argument("--loads", nargs="+", type=int, default=list(LOADS))
    parser.add_argument("--only", nargs="+", choices=[row.name for row in BENIGN], metavar="NAME")
    parser.add_argument("--pin", help="one other engine, right or not; needs --name")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--name", help="of what --pin answers")
    options = parser.parse_args()
    if (options.pin is None) != (options.name is None) or (options.set and options.pin is None):
        parser.error("--pin and --name go together, and --set needs them")
    return options


def main() -> int:
    options = arguments()
    # A shell starts background jobs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return int(ask_all(options) > 0)
    except EnginediffError as error:
        announce(f"benign_answers: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        announce("benign_answers: interrupted; what was answered whole is kept")
        return 130


if __name__ == "__main__":
    sys.exit(main())
