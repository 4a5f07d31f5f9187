"""The checks of a verification: one of each that was named, in a directory of its own, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness import lineup, session
from harness.checker.outcome import Word
from harness.comparison import Row
from harness.lineup import Entry
from harness.verifying.how import How
from harness.verifying.reference import Reference
from harness.verifying.verification import Applied
from launchers.pins import LoadedPin


def checked(
    how: How,
    loaded: Sequence[LoadedPin | None],
    reference: Reference,
    folder: Path,
    announce: Callable[[str], None],
) -> Sequence[Row | None]:
    """Of each that was named, in order; None where there is no reference."""
    if reference.trace is None:
        return [None] * len(how.names)
    entries = [
        Entry(
            name=name,
            title=name if one is None else one.title,
            numerics=session.promised(one, how.numerics_of(name), reference.trace).numerics,
            options=tuple(_options(how, name)),
        )
        for name, one in zip(how.names, loaded, strict=True)
    ]
    options = ["--against", str(reference.trace.path.absolute()), "--seed", str(how.seed)]
    options += ["--no-narrow"] if how.quick else []
    return lineup.check_all(entries, options, run=folder, at_once=1, announce=announce, go_on=True)


def applied(folder: Path, row: Row | None) -> tuple[Applied, ...]:
    """What the sampler audit of a check says; nothing where it was not asked."""
    if row is None or row.report is None:
        return ()
    verdict = json.loads((folder / row.report).with_name("verdict.json").read_bytes())
    audit = next((one for one in verdict["levels"] if one["level"] == "sampler"), None)
    return tuple(
        Applied(
            way=arm["arm"],
            word=None if arm["word"] is None else Word(arm["word"]),
            reasons=tuple(arm["reasons"]),
        )
        for arm in ({} if audit is None else audit["findings"]).get("arms", ())
    )


def _options(how: How, name: str) -> Iterator[str]:
    for change in how.changes_of(name):
        yield from ("--set", change)
    if (numerics := how.numerics_of(name)) is not None:
        yield from ("--numerics", numerics)
