"""What a level can ask of a candidate: everything, unless it is an endpoint that cannot do it."""

from __future__ import annotations

from harness.base.errors import RequestError
from harness.checker.outcome import Word
from harness.levels.state import Check
from launchers.capabilities import TITLES, Capability

SURELY_HELD = 1536  # tokens: every pin's context holds the strata of the corpus


def missing(check: Check, *names: str) -> list[str]:
    """Why this candidate cannot be asked for what `names` says; empty where it can."""
    found = {name: capability(check, name) for name in names}
    return [
        f"cannot be asked: {TITLES[name]} ({one.able}: {one.evidence})"
        for name, one in found.items()
        if one is not None and not one.yes
    ]


def capability(check: Check, name: str) -> Capability | None:
    """None: an engine that was launched, or whose language says all."""
    known = check.opened.capabilities
    return None if known is None else getattr(known, name)


def alternatives(check: Check, name: str, wanted: int) -> int:
    """How many alternatives of each position can be had: `wanted`, or what the endpoint gives."""
    known = capability(check, name)
    return wanted if known is None or known.most is None else min(wanted, known.most)


def too_long(check: Check) -> dict[str, str]:
    """Strata whose sequences are longer than the candidate takes -> why, in words.

    Asked once, of those that a small context could not hold: by the longest sequence of each. What
    a server refuses with 4xx is refused; any other failure is one. Who cannot score is not asked.
    """
    if check.too_long is None:
        check.too_long = {}
        for stratum in () if missing(check, "score") else check.trace.strata:
            why = _refused(check, stratum)
            if why is not None:
                check.too_long[stratum] = why
    return check.too_long


def rows(check: Check) -> list[int]:
    """The rows of the trace that the candidate's context holds."""
    refused = too_long(check)
    return [row for row, stratum in enumerate(check.trace.stratum_of) if stratum not in refused]


def _refused(check: Check, stratum: str) -> str | None:
    longest = max(check.trace.members(stratum), key=check.trace.tokens_of.__getitem__)
    count = check.trace.tokens_of[longest]
    if count <= SURELY_HELD or missing(check, "score"):
        return None
    dialect = check.asker.dialect
    given = alternatives(check, "score", check.top_k)
    reply = check.asker.endpoint.ask(dialect.score([check.trace[longest].token_ids], given))
    if reply.status == 200:
        return None
    said = " ".join(reply.body.decode(errors="replace").split())[:160]
    if reply.status is None or not 400 <= reply.status < 500:
        what = reply.problem or f"answered {reply.status}: {said}"
        raise RequestError(f"{check.asker.endpoint.url}: scoring {count:,} tokens: {what}")
    return (
        f"{stratum}: cannot be asked, its sequences have up to {count:,} tokens and the candidate "
        f"refuses them ({reply.status}: {said})"
    )


def at_best_inconclusive(
    word: Word, reasons: list[str], lacking: list[str]
) -> tuple[Word, list[str]]:
    """A level that could not ask all: a fault that it found stands, that there is none does not."""
    if word is Word.DIFFERENT or not lacking:
        return word, reasons
    return Word.INCONCLUSIVE, [*lacking, *reasons]
