"""What today's rules say of the same engines: the reference is probed once for each trace, and
scores what the candidates have generated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import candidate
from harness.recording import Trace
from scripts.zoo import probe, rules
from scripts.zoo.fault import Fault
from scripts.zoo.probe import Probe
from scripts.zoo.row import PROBE, SEED, Outcome, Zoo
from scripts.zoo.rules import Said

RESCORED = "rescored.npz"


def judged(
    zoo: Zoo, rows: Sequence[Fault], outcomes: Sequence[Outcome], references: Mapping[str, str]
) -> dict[str, list[Said]]:
    """By the name of the row; a row whose engine was not probed has none."""
    said: dict[str, list[Said]] = {}
    for (model, numerics), path in zoo.traces.items():
        own = [
            (fault, zoo.folder / fault.name)
            for fault, outcome in zip(rows, outcomes, strict=True)
            if outcome.changed or fault.benign
            if zoo.trace_of(fault) == path and (zoo.folder / fault.name / PROBE).is_file()
        ]
        folder = zoo.folder / f"reference-{model}-{numerics}"
        reference = _scored(folder, references[model], path, [place for _, place in own])
        probes = {fault.name: probe.load(place / RESCORED) for fault, place in own}
        for fault, _ in own:
            healthy = [
                probes[other.name] for other, _ in own if other.benign and other is not fault
            ]
            said[fault.name] = rules.all_of(reference, probes[fault.name], healthy)
    return said


def _scored(folder: Path, pin: str, trace: Path, places: Sequence[Path]) -> Probe:
    """The reference's probe; the others' with its scores beside them."""
    path = folder / PROBE
    missing = [place for place in places if not (place / RESCORED).is_file()]
    if missing or not path.is_file():
        log, loaded = folder / "probe.log", candidate.prepared(pin, ())
        with candidate.opened(pin, loaded, log=log, announce=lambda _: None) as opened:
            if not path.is_file():
                probe.save(path, probe.ask(opened, Trace(trace), seed=SEED, draws=False))
            for place in missing:
                own = probe.load(place / PROBE)
                probe.save(place / RESCORED, probe.rescored(opened, own))
    return probe.load(path)
