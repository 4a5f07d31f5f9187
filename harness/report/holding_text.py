"""How cases were held, in words and signs, and a verification in one sentence. Pure."""

from __future__ import annotations

from harness.base.held import How
from harness.checker.outcome import Word
from harness.comparison import listed
from harness.verifying.holding import SuiteCount
from harness.verifying.verification import Deployment, Verification

SIGNS = {
    How.KEPT: "✓",
    How.BROKEN: "✗",
    How.NOT_ENFORCED: "!",
    How.UNFINISHED: "…",
    How.UNANSWERED: "?",
}
MEANING = {
    How.KEPT: "As the contract has it.",
    How.BROKEN: "Refused or answered otherwise than the contract has it.",
    How.NOT_ENFORCED: "What it ought to refuse was answered, or refused behind a status of 200. It "
    "counts against a deployment only where that was to refuse it.",
    How.UNFINISHED: "An answer that was cut at its length: nobody knows how it would have ended.",
    How.UNANSWERED: "No answer, and no refusal that says what it refuses: a timeout, a dead "
    "server, an HTTP status that is neither 400 nor 422. Whoever answers nothing keeps nothing.",
}
BEST_FIRST = (How.KEPT, *(how for how in How if how is not How.KEPT))

Says = tuple[str, str]  # of one, of several
EQUIVALENT: Says = (
    "computes what the reference computes and keeps what it owes",
    "compute what the reference computes and keep what they owe",
)
OPEN: Says = ("is not decided", "are not decided")
BREAKS: Says = ("breaks its contract", "break their contract")
COMPUTES: Says = (
    "computes something else than the reference",
    "compute something else than the reference",
)
BOTH: Says = (
    "computes something else than the reference and breaks its contract",
    "compute something else than the reference and break their contract",
)


def counts(one: SuiteCount) -> str:
    """What there is of each kind: `58 kept, 2 broken`."""
    return _listed(one, BEST_FIRST)


def counts_worst_first(one: SuiteCount) -> str:
    return _listed(one, tuple(How))


def counts_in_signs(one: SuiteCount) -> str:
    """The worst first: `2✗ 58✓`."""
    return " ".join(f"{one.counts[how]:,}{SIGNS[how]}" for how in How if one.counts.get(how))


def _listed(one: SuiteCount, order: tuple[How, ...]) -> str:
    return ", ".join(f"{one.counts[how]:,} {how}" for how in order if one.counts.get(how))


def headline(found: Verification) -> str:
    """Who does what, those who do the same together."""
    said: dict[Says, list[str]] = {}
    for one in found.deployments:
        said.setdefault(_says(one), []).append(one.name)
    parts = (f"{listed(names)} {says[len(names) > 1]}" for says, names in said.items())
    return f"{'; '.join(parts)}."


def _says(one: Deployment) -> Says:
    if one.word is Word.EQUIVALENT:
        return EQUIVALENT
    if one.word is Word.INCONCLUSIVE:
        return OPEN
    if one.checked is None or one.checked.word is not Word.DIFFERENT:
        return BREAKS
    return BOTH if len(one.reasons) > len(one.checked.reasons) else COMPUTES
