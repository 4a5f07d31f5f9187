"""After DIFFERENT: the engine again with a part left out, and the level that decided asked again.

The verdict stands whatever is found here. Each toggle is a launch of its own, so that it is tried
by itself only where a launch is cheap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness import candidate, check, evidence
from harness.base.errors import EnginediffError
from harness.checker.narrowed import Effect, Narrowed, Narrowing, effect
from harness.checker.outcome import StatisticRow, Word
from harness.checker.tolerance import ClassTolerances
from harness.levels.state import Check, Settings
from harness.recording import Trace
from harness.verdict import Verdict
from launchers.dialect import Toggle
from launchers.pins import LoadedPin
from launchers.registry import launcher

LEVELS = ("L2", "L1", "L2b")  # whose statistics can be compared with those of before
CHEAP_S = 60.0  # a launch that took longer is repeated on demand alone (--narrow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrower:
    """What a toggle is tried with: all as it was when the verdict was found."""

    name: str
    loaded: LoadedPin | None  # None: somebody else's server
    trace: Trace
    tolerances: ClassTolerances
    settings: Settings
    run: Path
    announce: Callable[[str], None]


def narrow(verdict: Verdict, asked: bool | None, how: Narrower) -> Narrowing | None:
    """What became of the difference with each toggle; None where nothing is DIFFERENT.

    `asked`: whether the user wants it; None: where it is cheap.
    """
    if verdict.verdict is not Word.DIFFERENT:
        return None
    loaded, why_not = how.loaded, _why_not(verdict, asked, how)
    if why_not is not None or loaded is None:
        return Narrowing(level=verdict.level, rows=(), note=why_not)
    toggles = launcher(loaded.pin.engine.name).toggles(loaded)
    note = None if toggles else "this pin has nothing that could be left out"
    before = [row for row in verdict.statistics if row.level == verdict.level]
    rows = [
        _tried(number, toggle, verdict.level, before, how) for number, toggle in enumerate(toggles)
    ]
    return Narrowing(level=verdict.level, rows=tuple(rows), note=note)


def _why_not(verdict: Verdict, asked: bool | None, how: Narrower) -> str | None:
    """Why nothing is tried; None where it is."""
    if how.loaded is None:
        return "somebody else's server cannot be started in another way"
    if verdict.level not in LEVELS:
        return f"{verdict.level} is exact, or draws: there is no statistic to compare"
    if asked is False:
        return "it was not asked for (--no-narrow)"
    launch_s = verdict.launch_seconds or 0.0
    if asked is None and launch_s > CHEAP_S:
        return (
            f"a launch takes {launch_s:.0f} s, and more than {CHEAP_S:.0f} s are spent on demand "
            "alone: --narrow"
        )
    return None


def _tried(
    number: int, toggle: Toggle, level: str, before: Sequence[StatisticRow], how: Narrower
) -> Narrowed:
    """One toggle. An engine that does not start or answer with it is a row, and no error."""
    how.announce(f"narrowing {level}: {toggle.name}")
    began = time.monotonic()
    most = max(row.units for row in before)
    try:
        word, after = _asked_again(number, toggle, level, most, how)
    except EnginediffError as error:
        found, factor, why = Effect.UNKNOWN, None, f"it failed: {str(error).splitlines()[0]}"
    else:
        found, factor, why = effect(before, after, word)
    return Narrowed(
        toggle=toggle.name,
        changes=toggle.changes,
        effect=found,
        factor=factor,
        why=why,
        seconds=round(time.monotonic() - began, 1),
    )


def _asked_again(
    number: int, toggle: Toggle, level: str, most: int, how: Narrower
) -> tuple[Word | None, list[StatisticRow]]:
    """The level's word and statistics over `most` prompts of each group: those of before, for the
    seed is the same."""
    assert how.loaded is not None
    changes = (*how.loaded.changes, *toggle.changes)
    loaded = candidate.prepared(how.name, changes, how.announce)
    folder = how.run / "narrowing" / str(number)
    with ExitStack() as stack:
        opened = stack.enter_context(
            candidate.opened(how.name, loaded, log=folder / "engine.log", announce=how.announce)
        )
        state = Check(
            opened=opened,
            trace=how.trace,
            tolerances=how.tolerances,
            settings=Settings(
                seed=how.settings.seed,
                alpha=how.settings.alpha,
                beta=how.settings.beta,
                prompts=most,
            ),
            evidence=stack.enter_context(evidence.written(folder / evidence.FILE)),
            announce=how.announce,
        )
        check.read_vocabulary(state)
        _, ask = check.LEVELS[level]
        word, _ = ask(state)
    return word, [row for judge in state.judges for row in judge.rows() if row.level == level]
