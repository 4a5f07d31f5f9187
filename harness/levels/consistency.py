"""L1 asked: the candidate against itself, comparison by comparison, round by round.

Where the engine promises scores to the last bit whatever else it serves, one unequal logprob is
DIFFERENT, without statistics. Everything else is held to the band that right engines were measured
in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.checker import consistency
from harness.checker.consistency import Band, Group, Round
from harness.checker.distance import FEWEST
from harness.checker.judge import OF_GIVEN_TOKENS, STATISTICS, Judge, Statistic
from harness.checker.outcome import Word
from harness.checker.shares import SHARES
from harness.checker.tolerance import ALL
from harness.levels import askable, regenerated, rescored, telling
from harness.levels.state import Check
from harness.levels.turn import TOP_K, Cached, Found, Session, Turn

TITLE = "self-consistency: it agrees with itself"
SPARSE_OF = {consistency.HIT: "cache", consistency.HIT_DECODING: "cache"}
# What is asked in one go -> the comparisons that it is for.
STEPS: dict[Callable[[Turn], Iterator[Found]], tuple[str, ...]] = {
    rescored.repeat: ("repeat",),
    rescored.busy: ("busy",),
    regenerated.decode: ("decode", "cache"),
    regenerated.chunks: ("chunks",),
}


def run(check: Check) -> tuple[Word, list[str]]:
    """L1: the candidate against itself, in those comparisons that it can be asked for."""
    lacking = {name: _lacking(check, name) for name in consistency.COMPARISONS}
    unasked = list(dict.fromkeys(reason for reasons in lacking.values() for reason in reasons))
    held = askable.rows(check)
    if not held:
        return Word.INCONCLUSIVE, list(askable.too_long(check).values())
    rounds = consistency.schedule(held, check.settings.seed)
    groups = {
        name: group
        for name, group in consistency.groups(rounds).items()
        if not lacking[group.comparison]
    }
    if not groups:
        return Word.INCONCLUSIVE, unasked
    judge = _judge(check, groups)
    check.judges.append(judge)
    session, bands = Session(check=check), dict[str, Band]()
    broken: str | None = None
    for plan in _within(rounds, check.settings.prompts):
        if judge.word() is not Word.INCONCLUSIVE or broken is not None:
            break
        turn = Turn(session, plan)
        for found in _asked(turn, groups, judge):
            _judge_found(check, judge, bands, found)
            broken = broken or _broken_promise(check, found)
        check.announce(telling.progress(judge, check.tokens))
    check.findings["L1"] = _findings(session, bands, broken)
    if broken is not None:
        return Word.DIFFERENT, [broken]
    reasons = [*telling.explain(judge), *_promise_kept(check, bands), *_cache_told(session)]
    return askable.at_best_inconclusive(judge.word(), reasons, unasked)


def _within(rounds: Sequence[Round], most: int | None) -> list[Round]:
    """The first rounds, until they hold `most` prompts; None: all of them."""
    taken: list[Round] = []
    for plan in rounds:
        if most is not None and sum(len(one.rows) for one in taken) >= most:
            break
        taken.append(plan)
    return taken


def _judge(check: Check, groups: dict[str, Group]) -> Judge:
    given = askable.alternatives(check, "score", TOP_K)
    usable = STATISTICS if given >= FEWEST else OF_GIVEN_TOKENS
    own: dict[str, list[Statistic]] = {
        name: [statistic for statistic in usable if statistic.name in group.statistics]
        for name, group in groups.items()
    }
    tolerance = check.tolerances.of(ALL)
    return Judge(
        level="L1",
        groups={name: (group.population, tolerance) for name, group in groups.items()},
        own=own,
        alpha=check.settings.alpha * SHARES["L1"],
        beta=check.settings.beta,
    )


def _lacking(check: Check, comparison: str) -> list[str]:
    """Why a comparison cannot be asked for; empty where it can."""
    if comparison in ("repeat", "busy"):
        return askable.missing(check, "score")
    reasons = askable.missing(check, "score", "generate")
    if not reasons and askable.alternatives(check, "score", TOP_K) < FEWEST:
        reasons = ["cannot be asked: decode and chunks, for an echo names no alternatives"]
    return reasons


def _asked(turn: Turn, groups: dict[str, Group], judge: Judge) -> Iterator[Found]:
    """What the comparisons that are not settled find in one round."""
    for ask, comparisons in STEPS.items():
        own = [name for name, group in groups.items() if group.comparison in comparisons]
        if not all(judge.settled(name) for name in own):
            yield from ask(turn)


def _judge_found(check: Check, judge: Judge, bands: dict[str, Band], found: Found) -> None:
    check.evidence.add("L1", found.group, check.trace.case_ids[found.row], found.distance)
    bands.setdefault(found.group, Band()).add(found.distance)
    for group in (found.group, SPARSE_OF.get(found.group)):
        if group is not None and not judge.settled(group):
            judge.add(group, found.distance)


def _broken_promise(check: Check, found: Found) -> str | None:
    """What breaks the promise of scores that are equal to the last bit, in words."""
    promise = check.opened.bit_equal
    if promise is None or found.unequal is None:
        return None
    d = float(found.distance.d[found.unequal])
    return (
        f"{promise} promises scores that are equal to the last bit, but {found.group}, case "
        f"{check.trace.case_ids[found.row]}: the logprobs at position {found.unequal + 1} differ "
        f"(that of the token there by {d:.3g})"
    )


def _promise_kept(check: Check, bands: dict[str, Band]) -> list[str]:
    if check.opened.bit_equal is None:
        return []
    prompts = sum(band.prompts for name, band in bands.items() if name.startswith(("rep", "busy")))
    return [f"{prompts} scores are equal to the last bit, as {check.opened.bit_equal} promises"]


def _cache_told(session: Session) -> list[str]:
    """Whether what was to hit the prefix cache was seen to."""
    lines: list[str] = []
    for group in (consistency.HIT, consistency.HIT_DECODING):
        cached = session.cached.get(group)
        if cached is not None:
            lines.append(f"{group}: {_shown(cached)}")
    return lines


def _shown(cached: Cached) -> str:
    if cached.tokens is None:
        return "not shown to be a hit, for the engine does not say what came from its cache"
    if cached.tokens == 0:
        return f"no hit: none of {cached.prompt_tokens:,} prompt tokens came from the cache"
    return f"{cached.tokens:,} of {cached.prompt_tokens:,} prompt tokens came from the cache"


def _findings(session: Session, bands: dict[str, Band], broken: str | None) -> dict[str, Any]:
    """What was measured: the bands, the hits, and the promise."""
    return {
        "bit_equal": session.check.opened.bit_equal,
        "broken": broken,
        "groups": [{"group": name, **band.table()} for name, band in bands.items()],
        "cache": [
            {"group": group, "prompt_tokens": one.prompt_tokens, "cached_tokens": one.tokens}
            for group, one in session.cached.items()
        ],
        "pairs": session.pairs,
        "overlapping": session.overlapping,
    }
