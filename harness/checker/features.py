"""What a check saw, as named observations with their numbers in words: what the diagnosis weighs.

Pure. An observation is there or not; what was not asked gives none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.checker.contract import RenderDifference
from harness.checker.narrowed import Effect, Narrowing
from harness.checker.outcome import LevelResult, StatisticRow, Word

GROSS = 0.3  # nats: mean |d| of a model that is not the same any more
SLIGHT = 0.01  # nats: mean |d| of one that answers nearly as before
QUIET = 10.0  # times the benign mean: a position or a class that is called right
FEW = 0.5  # of the sequences
FEWEST_SEQUENCES = 12  # before it is said that few are badly off
FEWEST_TOKENS = 5  # of a bin of positions, for it to count: L2 may end after a prompt a stratum
GROWS = 2.0  # times: the last positions' mean |d| over the first wrong ones'
EVEN = 8.0  # mean divergence over the square of mean |d|: rounding gives 2 to 4, faults 12 and more
SATURATED = 0.1  # nats: from this mean |d| on that ratio says nothing
JUMP = 10.0  # times, from one bin of positions to the next: a step
APART = 3.0  # times the mean of the other classes or strata: stands out
# Of L1, by what its groups are called; the cache first: "cache hit, decoding" is about the cache.
COMPARISONS = ("cache", "hit", "repeat", "busy", "decode", "chunks")
PARTS = ("prefix cache", "operators", "graphs", "attention backend")  # in the words of toggles
# feature -> what a reason of the level says. L0 and the sampler say in words what they found.
SAID = {
    "L0": {
        "rendering": r"is rendered otherwise|usage\.prompt_tokens|counted otherwise",
        "parsing": r"parse[rd]?\b|tool[ _]call|reasoning|^stream ",
    },
    "L0b": {
        "parsing": r"tool[ _]call|reasoning",
        "limits": r"finish_reason|max_tokens|stop string|stream",
    },
    "sampler": {
        "temperature": r"temperature",
        "truncation": r"top[-_ ]?[pk]|nucleus|min[-_ ]p",
        "penalty": r"penalt",
    },
    "pin": {
        "KV cache": r"KV cache|kv[-_]cache[-_]dtype",
        "dtype": r"^dtype|args\.dtype",
        "quantisation": r"quanti[sz]ation",
        "sampling": r"^sampling\.",
        "flag": r"args\.",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What there is to observe. Nothing in it is required."""

    levels: Sequence[LevelResult]
    rows: Sequence[StatisticRow]
    breakdown: Mapping[str, Any]  # `Breakdown.table`, with `benign`, the same of the pool
    misrendered: RenderDifference | None = None
    narrowing: Narrowing | None = None


def observed(seen: Seen) -> dict[str, str]:
    """Name -> in words, with numbers."""
    found: dict[str, str] = {}
    for features in OBSERVERS:
        found.update(features(seen))
    return found


def _levels(seen: Seen) -> Iterator[tuple[str, str]]:
    """Which levels differ and which do not, and which comparisons of L1."""
    for level in seen.levels:
        if level.word is Word.DIFFERENT:
            yield f"{level.level} differs", f"{level.level} is DIFFERENT"
        elif level.word is Word.EQUIVALENT:
            yield f"{level.level} agrees", f"{level.level} is EQUIVALENT"
    own = [row for row in seen.rows if row.level == "L1" and row.units]
    wrong: dict[str, StatisticRow] = {}  # comparison -> what is furthest off in it
    for row in sorted((row for row in own if row.above()), key=_ratio, reverse=True):
        wrong.setdefault(_comparison(row.group), row)
    for comparison, worst in wrong.items():
        yield (
            f"L1 {comparison}",
            f"it disagrees with itself in “{worst.group}”: {worst.statistic} is "
            f"{_ratio(worst):.3g} times its tolerance",
        )
    if wrong and not wrong.keys() & {"repeat", "busy"}:
        yield "L1 prefill agrees", "its prefill agrees with itself, repeated and busy"


def _comparison(group: str) -> str:
    """Of a group of L1, which may name a load or a way beside it."""
    return next((name for name in COMPARISONS if name in group), group)


def _said(seen: Seen) -> Iterator[tuple[str, str]]:
    for level in seen.levels:
        if level.word is not Word.DIFFERENT:
            continue
        for name, pattern in SAID.get(level.level, {}).items():
            said = [r for r in level.reasons if re.search(pattern, r, re.IGNORECASE)]
            if said:
                yield f"{level.level} {name}", f"{level.level}: {said[0][:160]}"


def _rendering(seen: Seen) -> Iterator[tuple[str, str]]:
    found = seen.misrendered
    if found is None:
        return
    more = found.found_length - found.expected_length
    if found.position == found.found_length < found.expected_length:
        yield (
            "rendering ends early",
            f"a prompt ends {-more} tokens early, and is right until there",
        )
    shift = found.found[more : more + 3] if 0 < more <= 2 else ()
    if found.position <= 1 and shift and shift == found.expected[: len(shift)]:
        yield (
            "rendering begins with more",
            f"a prompt begins with {more} more, and goes on as it should",
        )


def _bulk_or_sparse(seen: Seen) -> Iterator[tuple[str, str]]:
    mean = seen.breakdown.get("mean_absolute_d")
    if mean is None or not _differs(seen, "L2"):
        return
    if mean > GROSS:
        yield "gross", f"mean |d| is {mean:.3g} nats: hardly the same model"
    elif mean < SLIGHT:
        yield "slight", f"mean |d| is only {mean:.2g} nats"
    else:
        yield "marked", f"mean |d| is {mean:.2g} nats"
    rows = [row for row in seen.rows if row.level == "L2" and row.units]
    bulk = [row for row in rows if row.statistic in "AK" and row.above()]
    bad = round(sum((row.raw or 0) * row.units for row in rows if row.statistic == "S"))
    drawn = sum(row.units for row in rows if row.statistic == "S")
    if 0 < bad < FEW * drawn and drawn >= FEWEST_SEQUENCES:
        yield "sparse", f"{bad} of {drawn} sequences are badly off, and the others are right"
    elif bulk:
        groups = len({row.group for row in bulk})
        yield "bulk", f"the mean is off, in {groups} of {len({r.group for r in rows})} strata"


def _spread(seen: Seen) -> Iterator[tuple[str, str]]:
    """Whether every token is a little off, as by rounding, or some carry the difference.

    A divergence goes with the square of d: for the same mean |d| it is larger, the fewer carry it.
    """
    mean = seen.breakdown.get("mean_absolute_d")
    rows = [r.raw for r in seen.rows if r.level == "L2" and r.statistic == "K" and r.raw]
    if not mean or not rows or mean > SATURATED or not _differs(seen, "L2"):
        return
    divergence = sum(rows) / len(rows)
    ratio = divergence / mean**2
    shape = f"a divergence of {divergence:.2g} goes with a mean |d| of {mean:.2g} nats"
    if ratio < EVEN:
        yield "even", f"many tokens are a little off, as by rounding: {shape}"
    else:
        yield "uneven", f"some tokens carry the difference: {shape}"


def _positions(seen: Seen) -> Iterator[tuple[str, str]]:
    """How |d| goes with position: its bins are powers of two, the first is position 1."""
    if not _differs(seen, "L2"):
        return
    bins, benign = _bins(seen.breakdown), _bins(seen.breakdown.get("benign", {}))
    if len(bins) < 3:
        return
    limit = {at: QUIET * max(benign.get(at, 0.0), 1e-7) for at in bins}
    wrong = [at for at in bins if bins[at] > limit[at]]
    if not wrong:
        return
    first = wrong[0]
    if first == min(bins):
        yield (
            "first token wrong",
            f"already the second token, before which there is but one, is off by "
            f"{bins[first]:.2g} nats",
        )
    else:
        before = [at for at in bins if at < first]
        yield (
            "first token right",
            f"right at the first positions, off by {bins[first]:.2g} nats from position {first} on",
        )
        if first >= 16 and bins[first] > JUMP * max(bins[before[-1]], 1e-7):
            yield "step", f"right up to position {first}, and then off at once"
    start = bins[wrong[min(1, len(wrong) - 1)]]
    tail = [bins[at] for at in wrong][-3:]
    end = sum(tail) / len(tail)
    if end > GROWS * start:
        yield "grows", f"mean |d| grows with position, from {start:.2g} to {end:.2g} nats"
    elif start > GROWS * end:
        yield "falls", f"mean |d| falls with position, from {start:.2g} to {end:.2g} nats"
    else:
        yield "level", f"mean |d| is about the same at all positions, {start:.2g} to {end:.2g} nats"


def _classes(seen: Seen) -> Iterator[tuple[str, str]]:
    if not _differs(seen, "L2"):
        return
    rows = {r["class"]: r for r in seen.breakdown.get("classes", ())}
    for name, row in rows.items():
        others = [r for r in rows.values() if r is not row]
        tokens = sum(r["tokens"] for r in others)
        if row["tokens"] < FEWEST_TOKENS or not tokens:
            continue
        rest = sum(r["tokens"] * r["mean_absolute_d"] for r in others) / tokens
        if row["mean_absolute_d"] > 2 * APART * rest:
            yield "class", f"tokens of one class, “{name}”, stand out"
            yield (
                f"class {name}",
                f"tokens of the class “{name}” are {row['mean_absolute_d'] / rest:.2g} times as "
                "far off as the others",
            )


def _strata(seen: Seen) -> Iterator[tuple[str, str]]:
    """Strata that alone lie above their tolerance, while every other was drawn too."""
    rows = [row for row in seen.rows if row.level == "L2" and row.statistic in "AK" and row.units]
    above = {row.group for row in rows if row.above()}
    groups = {row.group for row in rows}
    if len(groups) > 2 and len(above) == 1:
        yield f"only {next(iter(above))}", f"only the stratum “{next(iter(above))}” is off"


def _narrowed(seen: Seen) -> Iterator[tuple[str, str]]:
    """What the difference went away without."""
    rows = () if seen.narrowing is None else seen.narrowing.rows
    for row in rows:
        part = next((part for part in PARTS if part in row.toggle), None)
        if row.effect is Effect.GONE and part is not None:
            yield f"gone: {part}", f"the difference goes away {row.toggle}"


OBSERVERS: tuple[Callable[[Seen], Iterator[tuple[str, str]]], ...] = (
    _levels,
    _said,
    _rendering,
    _bulk_or_sparse,
    _spread,
    _positions,
    _classes,
    _strata,
    _narrowed,
)


def _differs(seen: Seen, level: str) -> bool:
    return any(r.level == level and r.word is Word.DIFFERENT for r in seen.levels)


def _bins(table: Mapping[str, Any]) -> dict[int, float]:
    rows = table.get("positions", ())
    return {r["from"]: r["mean_absolute_d"] for r in rows if r["tokens"] >= FEWEST_TOKENS}


def _ratio(row: StatisticRow) -> float:
    return (row.raw or 0.0) / row.tolerance
