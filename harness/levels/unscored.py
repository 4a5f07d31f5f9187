"""The black box: texts of an endpoint that gives no logprobs, against the reference's.

Asked only where given tokens cannot be scored, for scores tell far more. The prompts are those that
the trace holds texts of: given as token ids where the endpoint takes them, else as texts and chats.
Each is asked once at T = 0, and for several answers at T = 1. Texts can show a fault, and never
that there is none: the level says what it would have found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness import samples
from harness.checker import blackbox, power
from harness.checker.blackbox import Answers, Greedy
from harness.checker.outcome import Word
from harness.checker.shares import SHARES
from harness.levels import askable, texts
from harness.levels.state import Check
from harness.levels.texts import Told
from harness.samples import CANDIDATE_ANSWERS, GREEDY_TOKENS, NEW_TOKENS, Sampled

TITLE = "black box: texts alone, where no logprobs can be had"
Powers = list[tuple[float, float]]  # how large the fault is, and the chance of finding it
SHARE_STEPS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of answers that are to another prompt
FOUND = 0.9  # a fault is called found where this many of such tests would find it
SHOWN = 5  # departures in the report
GREEDY = {"temperature": 0.0, "top_p": 1.0, "max_tokens": GREEDY_TOKENS}
SAMPLED = {"temperature": 1.0, "top_p": 1.0, "max_tokens": NEW_TOKENS}


def run(check: Check) -> tuple[Word | None, list[str]]:
    """Never EQUIVALENT. Half of the level's alpha is T = 0's, half T = 1's."""
    if not askable.missing(check, "score") and not check.settings.every_level:
        return None, ["logprobs can be had, which tell more"]
    recorded = samples.read(check.trace)
    if recorded.left_out is not None:
        return Word.INCONCLUSIVE, [
            f"cannot be asked: the trace holds no texts of the reference's own; {recorded.left_out}"
        ]
    askers = [(one, texts.asker(check, check.trace[one.row])) for one in recorded.prompts]
    able = [(one, ask) for one, ask in askers if isinstance(ask, texts.TextAsker)]
    lacking = _counted([ask for _, ask in askers if isinstance(ask, str)], len(askers))
    if not able:
        return Word.INCONCLUSIVE, lacking or ["cannot be asked: the trace holds no short prompts"]
    check.announce(f"black box: texts of {len(able)} prompts")
    alpha = check.settings.alpha * SHARES["black box"] / 2
    greedy, sampled = texts.told(check, [ask for _, ask in able], GREEDY, SAMPLED)
    prompts = [one for one, _ in able]
    exact = _exact(check, prompts, greedy, alpha)
    equal = _equal(check, prompts, sampled, alpha)
    found = Word.DIFFERENT if exact.different or equal.different else Word.INCONCLUSIVE
    return found, [*exact.reasons, *equal.reasons, *lacking]


def _counted(reasons: Sequence[str], of: int) -> list[str]:
    return [
        f"cannot be asked: {count} of {of} prompts ({why})"
        for why, count in Counter(reasons).most_common(3)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What one of the two tests found, in words."""

    different: bool
    reasons: list[str]


def _exact(check: Check, prompts: Sequence[Sampled], told: Sequence[Told], alpha: float) -> _Part:
    """T = 0: the reference's own text, as far as it is decisive."""
    asked: list[tuple[Sampled, Greedy, str]] = []
    for one, answer in zip(prompts, told, strict=True):
        near_tie = check.tolerances.of(check.trace.stratum_of[one.row]).m0
        greedy = blackbox.decisive(one.prefixes, one.margins, one.stopped, near_tie=near_tie)
        if isinstance(answer, tuple) and greedy.tokens:
            asked.append((one, greedy, answer[0]))
    lacking = _counted([answer for answer in told if isinstance(answer, str)], len(told))
    if not asked:
        return _Part(different=False, reasons=[*lacking, "T = 0: there is no answer to compare"])
    departed = [
        (one, greedy, text) for one, greedy, text in asked if blackbox.departs(greedy, text)
    ]
    result = blackbox.exactness(len(asked), len(departed), alpha=alpha)
    tokens = sum(greedy.tokens for _, greedy, _ in asked)
    different = result.p <= alpha
    _finding(
        check,
        exact={
            "prompts": result.prompts,
            "departed": result.departed,
            "tokens": tokens,
            "p": result.p,
            "needed": alpha,
            "at_most": result.at_most,
            "shown": [
                {"case_id": check.trace.case_ids[one.row], "reference": greedy.text, "said": text}
                for one, greedy, text in departed[:SHOWN]
            ],
        },
    )
    if different:
        line = (
            f"T = 0: {result.departed} of {result.prompts} answers depart from the reference's "
            f"before any near tie; in an engine that computes the same {blackbox.FAULTY_SHARE:.0%} "
            f"may (p = {result.p:.2g}, {alpha:.2g} needed)"
        )
    else:
        line = (
            f"T = 0: {result.prompts - result.departed} of {result.prompts} answers are the "
            f"reference's own, word for word where it is decisive ({tokens:,} tokens); not "
            f"excluded is that {result.at_most:.0%} depart"
        )
    return _Part(different=different, reasons=[line, *lacking])


def _equal(check: Check, prompts: Sequence[Sampled], told: Sequence[Told], alpha: float) -> _Part:
    """T = 1: could one model have given both sides' answers?"""
    pairs = [
        (o, answer) for o, answer in zip(prompts, told, strict=True) if not isinstance(answer, str)
    ]
    lacking = _counted([answer for answer in told if isinstance(answer, str)], len(told))
    if not pairs:
        return _Part(different=False, reasons=[*lacking, "T = 1: there is no answer to compare"])
    rng = np.random.default_rng(check.settings.seed)
    check.announce("black box: permuting the answers of each prompt")
    compared = [blackbox.answers(_own(one), answer) for one, answer in pairs]
    result = blackbox.equality(compared, alpha=alpha, rng=rng)
    asked = [one for one, _ in pairs]
    temperatures, shares = _by_temperature(asked, alpha, rng), _by_share(asked, alpha, rng)
    _finding(
        check,
        equality={
            "prompts": len(pairs),
            "answers": CANDIDATE_ANSWERS,
            "reference_answers": samples.OWN_ANSWERS,
            "discrepancy": result.discrepancy,
            "concentration": result.concentration,
            "p_discrepancy": result.p_discrepancy,
            "p_concentration": result.p_concentration,
            "permutations": result.permutations,
            "needed": alpha / 2,
            "temperatures": [{"temperature": t, "power": chance} for t, chance in temperatures],
            "shares": [{"share": share, "power": chance} for share, chance in shares],
        },
    )
    asked_for = f"T = 1: {CANDIDATE_ANSWERS} answers to each of {len(pairs)} prompts"
    p = f"p = {result.p:.2g}"
    if result.p > alpha:
        reasons = [f"{asked_for} could be the reference's ({p})", _detectable(temperatures, shares)]
        return _Part(different=False, reasons=[*reasons, *lacking])
    reasons = [f"{asked_for} are not drawn as the reference's are ({p}, {alpha:.2g} needed)"]
    if result.p_concentration <= alpha / 2:
        alike, lower = ("more", "lower") if result.concentration > 0 else ("less", "higher")
        reasons.append(
            f"T = 1: they are {alike} like each other than the reference's own are, as at a "
            f"{lower} temperature: by {abs(result.concentration):.1%} of the characters"
        )
    return _Part(different=True, reasons=[*reasons, *lacking])


def _own(one: Sampled) -> list[str]:
    return list(map(blackbox.canonical, one.answers[1.0]))


def _by_temperature(prompts: Sequence[Sampled], alpha: float, rng: np.random.Generator) -> Powers:
    """The reference at a lower temperature, taken for a candidate."""
    powers: Powers = []
    for temperature in samples.LOWER:
        groups: list[list[Answers]] = []
        for group in range(samples.GROUPS):
            part = slice(group * CANDIDATE_ANSWERS, (group + 1) * CANDIDATE_ANSWERS)
            groups.append(
                [
                    blackbox.answers(
                        _own(one), list(map(blackbox.canonical, one.answers[temperature][part]))
                    )
                    for one in prompts
                ]
            )
        powers.append((temperature, power.power(groups, alpha=alpha, rng=rng)))
    return powers


def _by_share(prompts: Sequence[Sampled], alpha: float, rng: np.random.Generator) -> Powers:
    """The reference itself, some of its answers being those to another prompt. The candidate's are
    taken from the reference's own, which then has fewer: the chance is a little higher in truth."""
    own = [_own(one) for one in prompts]
    return [(share, _misplaced(own, share, alpha, rng)) for share in SHARE_STEPS]


def _misplaced(
    own: Sequence[Sequence[str]], share: float, alpha: float, rng: np.random.Generator
) -> float:
    groups: list[list[Answers]] = []
    for start in range(0, samples.OWN_ANSWERS, CANDIDATE_ANSWERS):
        group: list[Answers] = []
        for number, mine in enumerate(own):
            taken = slice(start, start + CANDIDATE_ANSWERS)
            others = own[(number + 1) % len(own)][taken]
            wrong = rng.random(CANDIDATE_ANSWERS) < share
            given = [o if w else m for m, o, w in zip(mine[taken], others, wrong, strict=True)]
            group.append(blackbox.answers([*mine[: taken.start], *mine[taken.stop :]], given))
        groups.append(group)
    return power.power(groups, alpha=alpha, rng=rng)


def _detectable(temperatures: Powers, shares: Powers) -> str:
    """The smallest faults that would have been found."""
    found = ", ".join(f"{_in_100(chance)} find {t:g} for 1.0" for t, chance in temperatures)
    least = next((share for share, chance in shares if chance >= FOUND), None)
    misplaced = (
        f"answers to other prompts are found in {FOUND:.0%} of tests at no share"
        if least is None
        else f"answers to other prompts are found in {FOUND:.0%} where they are {least:.0%} of all"
    )
    return f"of 100 such tests, by the reference's own answers, about {found}; {misplaced}"


def _in_100(chance: float) -> str:
    """Neither never nor always: a chance is about normal, and its ends are not known."""
    return f"{min(max(100 * chance, 1), 99):.0f}"


def _finding(check: Check, **found: object) -> None:
    check.findings.setdefault("black box", {}).update(found)
