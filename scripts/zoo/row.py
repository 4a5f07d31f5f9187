"""One row of the zoo: the fault is made, shown to change something, and checked as a user would.

FOLDER/NAME/  probe.npz, probe.log  what the fault needs  run/ (the check's own)  outcome.json

What is there is not done again, so a zoo that was stopped goes on where it stood. A folder belongs
to one state of the code: what other code found is never taken for what this finds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from subprocess import DEVNULL, PIPE
from threading import Lock
from typing import Any

import orjson

from harness import candidate, session
from harness.base import atomic
from harness.base.errors import EnginediffError
from harness.checker.outcome import Word
from harness.recording import Trace
from launchers import pins, replay
from launchers.replay import Asked, Replayed
from scripts.zoo import between, probe, size
from scripts.zoo.changes import changed
from scripts.zoo.fault import PARSER, SAMPLER, Fault, rope
from scripts.zoo.probe import Probe
from scripts.zoo.size import Size
from suites import streams

SEED = 0
CHECK_S = 1800.0  # a check that takes longer is stopped, and has failed
WORDS = {0: Word.EQUIVALENT, 1: Word.DIFFERENT, 3: Word.INCONCLUSIVE}  # by exit code
PROGRAM = Path(sys.executable).with_name("enginediff")
ROOT = Path(__file__).parents[2]
PROBE = "probe.npz"  # in a row's folder
HEALTHY = "healthy"  # a folder beside the rows'
Announce = Callable[[str], None]
Kind = tuple[str, str]  # of a trace: model and numerics class


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a row came to."""

    name: str
    command: tuple[str, ...]  # of the check
    changed: tuple[str, ...]  # what the fault changes, seen without the checker; empty: nothing
    word: Word | None  # None: no verdict came
    failure: str | None  # why none came
    level: str | None = None  # that decided
    reasons: tuple[str, ...] = ()
    tokens: int = 0
    seconds: float = 0.0  # of the check, the launch not included
    launch_seconds: float = 0.0
    largest: float | None = None  # L2's statistic that is furthest off, in its tolerances


class Zoo:
    """Where the rows lie, and what they share."""

    def __init__(
        self, folder: Path, recorded: Mapping[Kind, Future[Path]], *, brief: bool = False
    ) -> None:
        """`recorded`: the trace of each model and numerics class, once it is there.

        `brief`: nothing is probed; that a fault changes something is left to the whole zoo.
        """
        self.folder = folder.absolute()
        self.brief = brief
        self.recorded = recorded
        self._checks: set[subprocess.Popen[str]] = set()
        self._locks: dict[Path, Lock] = {}
        self._lock = Lock()

    def trace_of(self, fault: Fault) -> Path:
        """The one that the row is held against; waited for."""
        return self.recorded[fault.model, numerics_of(fault)].result()

    @property
    def traces(self) -> dict[Kind, Path]:
        """Those that are there."""
        return {
            kind: future.result()
            for kind, future in self.recorded.items()
            if future.done() and not future.cancelled() and future.exception() is None
        }

    def check(self, argv: Sequence[str]) -> tuple[int, str]:
        """Exit code and last words of a check; subprocess.TimeoutExpired where it does not end."""
        with subprocess.Popen(argv, stdout=DEVNULL, stderr=PIPE, text=True) as process:
            self._checks.add(process)
            try:
                _, said = process.communicate(timeout=CHECK_S)
            finally:
                process.terminate()  # nothing, where it has ended
                self._checks.discard(process)
        return process.returncode, said

    def stop(self) -> None:
        """Ends the checks under way, and with them their engines."""
        for process in list(self._checks):
            process.terminate()
            process.wait()

    def healthy(self, fault: Fault) -> list[Probe]:
        """Probes of two launches of the engine without the fault; asked once for all rows."""
        words, draws = (*fault.base, *fault.healthy), fault.kind == SAMPLER
        key = f"{pins.read(fault.pin, words).hash[:12]}{'-draws' if draws else ''}"
        folder = self.folder / HEALTHY / f"{fault.pin.replace('/', '-')}-{key}"
        with self._lock:
            lock = self._locks.setdefault(folder, Lock())
        with lock:
            trace = self.trace_of(fault)
            return [
                probed(folder / name, fault.pin, words, trace, draws=draws) for name in ("1", "2")
            ]

    def size(self, fault: Fault) -> Size | None:
        """How large the fault is, in tolerances: its engine against the healthy one."""
        path = self.folder / fault.name / PROBE
        if not path.is_file():
            return None
        tolerances = session.tolerances_of(Trace(self.trace_of(fault)), numerics_of(fault))
        return size.of(self.healthy(fault)[0], probe.load(path), tolerances)


def numerics_of(fault: Fault) -> str:
    """The class that the row's pin promises."""
    return pins.read(fault.pin, fault.base).pin.numerics


def probed(folder: Path, pin: str, words: Sequence[str], trace: Path, *, draws: bool) -> Probe:
    """What an engine answers to the probe's questions; launched unless that is known."""
    path = folder / PROBE
    if not path.is_file():
        loaded = candidate.prepared(pin, words)
        with candidate.opened(pin, loaded, log=folder / "probe.log", announce=_quiet) as opened:
            probe.save(path, probe.ask(opened, Trace(trace), seed=SEED, draws=draws))
    return probe.load(path)


def outcome(zoo: Zoo, fault: Fault, announce: Announce) -> Outcome:
    """What the row came to; done now, unless it is known."""
    folder = zoo.folder / fault.name
    path = folder / "outcome.json"
    if path.is_file():
        return read(path)
    try:
        with _standing(fault, fault.words(folder), folder) as (target, wrong):
            announce("what does it change?")
            told = _changed(zoo, fault, target, folder)
            told += _share("probed", wrong)
            if told or fault.benign or zoo.brief:
                announce("the check")
                found = checked(zoo, fault, target, told)
                found = replace(found, changed=(*told, *_share("checked", wrong)))
            else:
                (folder / PROBE).unlink()  # another fault of that name is probed anew
                found = _nothing(
                    fault, "the fault changes nothing that was looked at: it was not checked"
                )
    except EnginediffError as error:
        found = _nothing(fault, str(error))
    if found.word is not None:  # what came to nothing is tried again the next time
        atomic.write_bytes(path, orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2))
    return found


def _nothing(fault: Fault, why: str) -> Outcome:
    return Outcome(name=fault.name, command=(), changed=(), word=None, failure=why)


def _share(doing: str, wrong: between.Wrong | None) -> tuple[str, ...]:
    """Of what was asked since the last time."""
    other, asked = (0, 0) if wrong is None else wrong.counted()
    if not other:
        return ()
    share = f"{other} of {asked} answers ({100 * other / asked:.1f} %)"
    return (f"while it was {doing}: {share} were other than the right ones",)


def read(path: Path) -> Outcome:
    table: dict[str, Any] = orjson.loads(path.read_bytes())
    table["word"] = None if table["word"] is None else Word(table["word"])
    for name in ("command", "changed", "reasons"):
        table[name] = tuple(table[name])
    return Outcome(**table)


@dataclass(frozen=True, slots=True)
class Target:
    """What the row's check is given: a pin and its changes, or a URL."""

    name: str
    words: tuple[str, ...]


@contextmanager
def _standing(
    fault: Fault, words: tuple[str, ...], folder: Path
) -> Generator[tuple[Target, between.Wrong | None]]:
    """The row's target. What stands between client and engines has its engines launched here."""
    if fault.between is None:
        yield Target(fault.pin, words), None
        return
    wrong = between.WRONG[fault.between]()
    others = [(fault.base, "right.log")]
    if wrong.replica:
        others.append(((*fault.base, rope(11000.0)), "wrong.log"))
    with ExitStack() as engines:
        urls = [
            engines.enter_context(
                candidate.opened(
                    fault.pin, candidate.prepared(fault.pin, own), log=folder / log, announce=_quiet
                )
            ).url
            for own, log in others
        ]
        yield Target(engines.enter_context(between.standing(urls, wrong)), ()), wrong


def _changed(zoo: Zoo, fault: Fault, target: Target, folder: Path) -> tuple[str, ...]:
    """What the fault changes, beyond what two launches of the healthy engine differ by."""
    if zoo.brief:
        return ()
    first, second = zoo.healthy(fault)
    if target == Target(fault.pin, (*fault.base, *fault.healthy)):  # it is the healthy engine
        probe.save(folder / PROBE, second)
    draws, trace = fault.kind == SAMPLER, zoo.trace_of(fault)
    own = probed(folder, target.name, target.words, trace, draws=draws)
    found = changed(own, first, second)
    told = found.words() if found else []
    if fault.kind == PARSER:
        told += _parsed_otherwise(
            _replayed(fault.pin, target.words), _replayed(fault.pin, fault.base)
        )
    return tuple(told)


def _parsed_otherwise(one: Replayed, other: Replayed) -> list[str]:
    differing = [name for name, answers in one.answers.items() if answers != other.answers[name]]
    if not differing:
        return []
    return [f"raw answers: {len(differing)} of {len(one.answers)} parsed otherwise"]


def _replayed(pin: str, words: Sequence[str]) -> Replayed:
    asked = Asked(streams=streams.load(), markers=streams.MARKERS, tools=streams.TOOLS)
    loaded = candidate.prepared(pin, words)
    assert loaded is not None
    return replay.replayed(loaded, asked, _quiet)


def checked(zoo: Zoo, fault: Fault, target: Target, told: tuple[str, ...]) -> Outcome:
    """The check as a user runs it, in a process of its own."""
    run, trace = zoo.folder / fault.name / "run", zoo.trace_of(fault)
    sets = [part for word in target.words for part in ("--set", word)]
    told_class = ["--numerics", "fp32"] if candidate.is_url(target.name) else []
    command = (
        *("enginediff", "check", target.name, *sets, *told_class),
        *("--against", str(trace), "--no-narrow"),
    )
    argv = [str(PROGRAM), *command[1:], "--run", str(run)]
    shutil.rmtree(run, ignore_errors=True)  # of a check that was stopped
    words = tuple(shown(zoo, word) for word in command)
    common: dict[str, Any] = {"name": fault.name, "command": words, "changed": told}
    try:
        code, said = zoo.check(argv)
    except subprocess.TimeoutExpired:
        return Outcome(**common, word=None, failure=f"no verdict in {CHECK_S:g} s")
    if code not in WORDS:
        return Outcome(**common, word=None, failure="\n".join(said.strip().splitlines()[-8:]))
    verdict = orjson.loads((run / "verdict.json").read_bytes())
    values = [
        row["value"] / row["tolerance"]
        for row in verdict["statistics"]
        if row["level"] == "L2" and row["value"] is not None
    ]
    return Outcome(
        **common,
        word=WORDS[code],
        failure=None,
        level=verdict["level"],
        reasons=tuple(verdict["reasons"]),
        tokens=verdict["tokens"],
        seconds=verdict["seconds"],
        launch_seconds=verdict["launch_seconds"] or 0.0,
        largest=max(values, default=None),
    )


def shown(zoo: Zoo, word: str) -> str:
    """A word of a command without this machine's paths."""
    for (model, _), path in zoo.traces.items():
        word = word.replace(str(path), f"{model}.trace")
    return word.replace(str(zoo.folder), "ZOO").replace(f"{ROOT}/", "")


def _quiet(_text: str) -> None:
    pass
