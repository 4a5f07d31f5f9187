"""L0, a part: raw answers go through the engine's own parsers, cut in every way."""

from __future__ import annotations

from dataclasses import asdict

from harness.base.errors import BuildError, LaunchError
from harness.checker import parsing
from harness.checker.outcome import Word
from harness.checker.parsing import Judgement
from harness.levels.state import Check
from launchers import replay
from launchers.replay import Replayed
from suites import streams

TELLS = 3  # deviations that are told


def run(check: Check) -> tuple[Word | None, list[str]]:
    """Every stream in every cutting, for what we launched; None where nothing can be replayed."""
    pin = check.opened.pin
    if pin is None:
        why = "the parsers of somebody else's server cannot be replayed"
    else:
        why = replay.impossible(pin)
    if pin is None or why is not None:
        return None, [f"cannot be asked: {why}"]
    asked = replay.Asked(streams=streams.load(), markers=streams.MARKERS, tools=streams.TOOLS)
    try:
        found = replay.replayed(pin, asked, lambda what: check.announce(f"L0 contract: {what}"))
    except (BuildError, LaunchError) as error:
        return Word.INCONCLUSIVE, [f"the parsers could not be replayed: {error}"]
    if found.unknown:
        return None, [f"cannot be asked: the tokenizer has no {found.unknown[0]}"]
    said = parsing.judge(asked.streams, found.answers, pin.pin.serving.known_deviations)
    check.findings.setdefault("L0", {})["parsing"] = {"version": found.version, **asdict(said)}
    if said.undeclared:
        return Word.DIFFERENT, _differences(said)
    return Word.EQUIVALENT, _all_well(f"{pin.pin.engine.name} {found.version}", found, said)


def _differences(said: Judgement) -> list[str]:
    told = [deviation.told() for deviation in said.undeclared[:TELLS]]
    more = len(said.undeclared) - len(told)
    return [*told, *([f"{more} more raw answers are parsed otherwise"] if more else [])]


def _all_well(engine: str, found: Replayed, said: Judgement) -> list[str]:
    cuttings = sum(len(one.cuttings) for answers in found.answers.values() for one in answers)
    well = len(found.answers) - len(said.declared)
    lines = [
        f"{engine} parses {well} of {len(found.answers)} raw answers rightly, in {cuttings:,} "
        "cuttings of them"
    ]
    if said.declared:
        names = ", ".join(deviation.stream for deviation in said.declared)
        lines.append(f"its release is known to parse otherwise (serving.known_deviations): {names}")
    if said.unmet:
        names = ", ".join(said.unmet)
        lines.append(f"in serving.known_deviations, and not so here: {names}")
    return lines
