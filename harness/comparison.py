"""Several candidates in one table: what was asked of each, who is equal, who is the odd one out.

A comparison is plain data, JSON in, JSON out. `lineup` makes one against a reference, `consensus`
one without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.checker.outcome import Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One candidate. `word` None: it failed, and `error` says how."""

    name: str  # the pin with its changes, or the URL
    numerics: str  # what it promises
    word: Word | None
    level: str | None  # that decided
    reasons: tuple[str, ...]
    tokens: int | None
    seconds: float | None  # the launch not included
    launch_seconds: float | None
    report: str | None  # of this candidate alone, from the run directory
    error: str | None
    exit_code: int  # what a check of this candidate alone ends with


def failed(name: str, numerics: str, error: str, exit_code: int) -> Row:
    """The row of a candidate that gave no answer."""
    return Row(
        name=name,
        numerics=numerics,
        word=None,
        level=None,
        reasons=(),
        tokens=None,
        seconds=None,
        launch_seconds=None,
        report=None,
        error=error,
        exit_code=exit_code,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """How far two candidates lie apart on the tokens that both scored."""

    first: int  # places in `Comparison.rows`
    second: int
    mean_absolute_d: float | None  # nats a token; None: no sequence that both scored
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The whole answer about several candidates."""

    schema: int
    word: Word
    headline: str
    conclusions: tuple[str, ...]
    against: str | None  # the trace; None: there is no reference
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    caveats: tuple[str, ...]
    command: str
    provenance: dict[str, Any]


def to_json(comparison: Comparison, run: Path) -> bytes:
    """One JSON object on one line, with the run directory that holds the evidence."""
    document = {**asdict(comparison), "run": str(run)}
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def exit_code(rows: Sequence[Row]) -> int:
    """Of all candidates together: the first that occurs of 70, 2, 4, 1, 3, 0."""
    codes = {row.exit_code for row in rows}
    return next(code for code in (70, 2, 4, 1, 3, 0) if code in codes)


def word_of(rows: Sequence[Row]) -> Word:
    """DIFFERENT where any is, EQUIVALENT where all are; a failure is no word, so not EQUIVALENT."""
    words = {row.word for row in rows}
    if Word.DIFFERENT in words:
        return Word.DIFFERENT
    return Word.EQUIVALENT if words == {Word.EQUIVALENT} else Word.INCONCLUSIVE


def conclusions(rows: Sequence[Row]) -> tuple[str, tuple[str, ...]]:
    """What the words of several candidates against one reference say together."""
    named = {word: [row.name for row in rows if row.word is word] for word in [*Word, None]}
    equal, different = named[Word.EQUIVALENT], named[Word.DIFFERENT]
    rest: list[str] = []
    if named[Word.INCONCLUSIVE]:
        rest.append(f"the corpus does not decide about {listed(named[Word.INCONCLUSIVE])}")
    if named[None]:
        rest.append(f"no answer was had from {listed(named[None])}: a failure is no verdict")
    return _headline(equal, different, len(rows)), tuple(rest)


def _headline(equal: Sequence[str], different: Sequence[str], count: int) -> str:
    if len(equal) == count:
        return f"All {count} compute what the reference computes."
    if len(different) == count:
        return f"None of the {count} computes what the reference computes."
    if equal and different:
        odd = f"{different[0]} is the odd one out" if len(different) == 1 else listed(different)
        verb = "" if len(different) == 1 else " compute something else"
        return f"The reference sides with {listed(equal)}; {odd}{verb}."
    if different:
        return f"{listed(different)} computes something else than the reference."
    if equal:
        return f"The reference sides with {listed(equal)}; the others are not decided."
    return "Nothing is decided."


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
