"""The sampler audited: is what is drawn distributed as temperature and top-p promise?

Texts of one token are drawn where the trace holds the distribution, in three ways:

    sent    temperature 1 and top-p .95 are sent, as any client may, and nothing else: what else
            the server applies by itself shows
    unsent  nothing is sent: the promise is the pin's own [sampling]; a server known by its URL
            promises nothing, and what it is set to is reported
    chat    nothing is sent, by the chat API, whose defaults may be others (in SGLang, the model's
            generation_config is applied to chats alone). Only the first token of an answer can be
            judged: where the model is sure of it, this shows gross faults only, and it is never
            needed for EQUIVALENT

A fourth way, `generated`, sends the same as `sent` and asks for whole answers, by tokens: a live
reference scores what came, or the candidate itself after L2 (`continued`). How far benign engines
differ there was not recorded; it is taken as all that the tolerance allows, and EQUIVALENT never
needs this way.

An endpoint of chats alone is asked by chats in the first two ways too, which then cannot show
EQUIVALENT either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.base.case import Chat
from harness.base.record import Floats
from harness.checker import sampler, sampler_words
from harness.checker.outcome import Word
from harness.checker.sampler import Audit, Evidence
from harness.checker.sampling import Counts, Parameters, Prefixes
from harness.checker.sampling_prefixes import OF_CHATS, WANTED, Candidates, choose
from harness.checker.shares import SHARES
from harness.checker.tolerance import ALL, GAMMA
from harness.client import Asker
from harness.levels import askable, continued, prefixes
from harness.levels.drawn import Drawing
from harness.levels.state import Check
from launchers.pins import SamplingTable

TITLE = "sampler: what is drawn is what was promised"
ARM_TOKENS = 9_000  # of each arm, prefixes and answers: a fault is told after these
CHAT_TOKENS = 1_900
PATIENCE = 3  # times as many, where EQUIVALENT is under way: a small trace has few telling prefixes
IN_REACH = 4  # evidence counts as under way from a quarter of what it would have to be
ROUNDS = 3  # for a word; PATIENCE times as many at most
SENT: Mapping[str, Any] = {"temperature": 1.0, "top_p": 0.95}
AS_SENT = Parameters(temperature=1.0, top_p=0.95, top_k=0, min_p=0.0, push=0.0)
ARMS = 4  # that alpha is shared by
UNREAD = 0.5  # a share of answers beyond the listed tokens that no sampler gives


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way of asking."""

    name: str
    fields: Mapping[str, Any]  # as they are sent
    promised: Parameters
    decides: bool  # False: nobody promised it
    certifies: bool  # EQUIVALENT needs it
    chats: bool


def run(check: Check) -> tuple[Word | None, list[str]]:
    """Each arm in turn. EQUIVALENT where all that certify are."""
    if not _serves_texts(check):
        return None, ["the reference has no API for texts"]
    completes = not askable.missing(check, "completions")
    lacking = askable.missing(check, "completions", "chat")
    if len(lacking) == 2:
        return Word.INCONCLUSIVE, lacking
    ids = askable.capability(check, "token_id_prompts")
    as_text = ids is not None and not ids.yes
    arms = _arms(check, completes=completes, chats=not askable.missing(check, "chat"))
    found = {
        True: prefixes.of_chats(check) if any(arm.chats for arm in arms) else None,
        False: prefixes.candidates(check, as_text=as_text) if completes else None,
    }
    tables: list[dict[str, Any]] = []
    for arm in arms:
        check.announce(f"sampler: drawing, {arm.name}")
        candidates = found[arm.chats]
        assert candidates is not None
        tables.append(_asked(check, arm, candidates, as_text=as_text))
    scorer = _scorer(check)
    decided = any(table["word"] is Word.DIFFERENT for table in tables)
    begun = found[False]
    if scorer is not None and begun is not None and not decided:
        check.announce("sampler: drawing, generated")
        tables.append(_generated(check, scorer, begun))
    check.findings["sampler"] = {
        "arms": tables,
        "alpha": check.settings.alpha * SHARES["sampler"],
        "beta": check.settings.beta,
        "bands": {
            "temperature": sampler.TEMPERATURE_BAND,
            "top_p": sampler.TOP_P_BAND,
            "min_p": sampler.MIN_P_BAND,
            "push": sampler.PUSH_BAND,
            "top_k_up_to": check.top_k,
        },
        "gamma": GAMMA,
    }
    return _word(tables, certified=completes), _reasons(tables)


def _scorer(check: Check) -> Asker | None:
    """Who tells what was likely where the candidate generated; None: nobody can be relied on."""
    if askable.missing(check, "generate"):
        return None
    if check.live is not None:
        return check.live.asker
    right = any(one.level == "L2" and one.word is Word.EQUIVALENT for one in check.levels)
    return check.asker if right else None


def _serves_texts(check: Check) -> bool:
    nothing = Chat(messages=(), tools=None, thinking=None)
    return check.asker.dialect.chat(nothing) is not None


def _arms(check: Check, *, completes: bool, chats: bool) -> list[Arm]:
    pin = check.opened.pin
    own = Parameters(temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, push=0.0)
    promised = own if pin is None else _promised(pin.pin.sampling)

    def arm(name: str, fields: Mapping[str, Any], *, chats: bool) -> Arm:
        decides = bool(fields) or pin is not None
        return Arm(
            name=name,
            fields=fields,
            promised=AS_SENT if fields else promised,
            decides=decides,
            certifies=decides and not chats,
            chats=chats,
        )

    arms = [arm("sent", SENT, chats=not completes)]
    if promised.temperature > 0:  # greedy is no distribution
        arms += [arm("unsent", {}, chats=False)] if completes else []
        arms += [arm("chat", {}, chats=True)] if chats else []
    return arms


def _promised(table: SamplingTable) -> Parameters:
    """Penalties are no part of it: a pin that promises one is told of a push."""
    return Parameters(
        temperature=table.temperature,
        top_p=table.top_p,
        top_k=table.top_k,
        min_p=table.min_p,
        push=0.0,
    )


def _asked(check: Check, arm: Arm, found: Candidates, *, as_text: bool) -> dict[str, Any]:
    """What one arm shows, as JSON."""
    chosen = choose(found, arm.promised, OF_CHATS if arm.chats else WANTED)
    table = _empty(arm)
    if "spread" not in chosen.kinds:
        return {**table, **_unasked(arm, "the trace has no prefix that tells enough")}
    drawing = Drawing(check, found, chosen, chats=arm.chats, as_text=as_text)
    try:
        refusal = drawing.refusal(arm.fields)
        if refusal is not None:
            return {**table, **_unasked(arm, refusal)}
        benign = np.maximum(GAMMA * found.divergence, found.tolerated)[chosen.places]
        audit = _drawn(check, arm, drawing, benign)
    finally:
        check.tokens += drawing.tokens
    table |= {"samples": int(drawing.counts.sum()), "tokens": drawing.tokens}
    table["prefixes"] = [
        {
            "case_id": check.trace.case_ids[int(found.rows[place])],
            "length": int(found.lengths[place]),
            "kind": kind,
            "counts": drawing.counts[i].tolist(),
        }
        for i, (place, kind) in enumerate(zip(chosen.places, chosen.kinds, strict=True))
    ]
    if _unread(drawing):
        return {**table, **_unasked(arm, "the texts that come are not the trace's tokens")}
    table["different_texts"] = max(map(len, drawing.texts))
    return {**table, **_told(check, arm, drawing.prefixes, drawing.counts, audit)}


def _generated(check: Check, scorer: Asker, found: Candidates) -> dict[str, Any]:
    """What whole answers show, as JSON."""
    arm = Arm(
        name="generated",
        fields=SENT,
        promised=AS_SENT,
        decides=True,
        certifies=False,
        chats=False,
    )
    drawn = continued.draws(check, scorer, found, SENT, arm.promised)
    if drawn is None:
        return {**_empty(arm), **_unasked(arm, "the trace has no sequence that tells enough")}
    check.tokens += drawn.tokens
    # The mean divergence is bounded over all that was generated; those that tell may bear it all.
    bound = max(check.tolerances.of(stratum).tau_k for stratum in (*check.trace.strata, ALL))
    benign = np.full(len(drawn.counts), bound * drawn.generated / len(drawn.counts))
    slack = sampler.slack(drawn.counts, benign)
    evidence = _weighed(
        check, arm, drawn.prefixes, drawn.counts, slack=slack, most=slack, once=True
    )
    audit = sampler.audit(drawn.prefixes, drawn.counts, evidence, slack, once=True)
    return {
        **_empty(arm),
        "samples": len(drawn.counts),
        "tokens": drawn.tokens,
        **_told(check, arm, drawn.prefixes, drawn.counts, audit),
    }


def _empty(arm: Arm) -> dict[str, Any]:
    """What is known of an arm before anything is drawn."""
    return {
        "arm": arm.name,
        "sent": dict(arm.fields),
        "decides": arm.decides,
        "certifies": arm.certifies,
        "promised": asdict(arm.promised) if arm.decides else None,
        "samples": 0,
        "tokens": 0,
    }


def _told(
    check: Check, arm: Arm, prefixes: Prefixes, counts: Counts, audit: Audit
) -> dict[str, Any]:
    """What was found out, in words and numbers."""
    rng = np.random.default_rng(check.settings.seed)
    return {
        "plain": sampler_words.plain_numbers(prefixes, counts, arm.promised, rng),
        "word": _counted(arm, audit.word),
        "reasons": sampler_words.reasons(arm.name, audit, arm.promised, decides=arm.decides),
        "audit": asdict(audit),
    }


def _drawn(check: Check, arm: Arm, drawing: Drawing, benign: Floats) -> Audit:
    """Round by round, until EQUIVALENT is shown or the tokens are spent; more of them where
    EQUIVALENT needs the arm and would be shown at this rate."""
    usual = CHAT_TOKENS if arm.chats else ARM_TOKENS
    enough = max(1, min(ROUNDS, usual // drawing.round_tokens))
    rounds = enough * PATIENCE if arm.certifies else enough
    for drawn in range(1, rounds + 1):
        drawing.round(arm.fields)
        slack = sampler.slack(drawing.counts, benign)
        most = slack * rounds / drawn
        evidence = _weighed(check, arm, drawing.prefixes, drawing.counts, slack=slack, most=most)
        in_reach = evidence.log_equivalent * rounds / drawn >= evidence.needed_equivalent / IN_REACH
        told = evidence.word is Word.DIFFERENT or not in_reach
        if drawn == rounds or (told and drawn >= enough) or evidence.word is Word.EQUIVALENT:
            return sampler.audit(drawing.prefixes, drawing.counts, evidence, slack)
    raise AssertionError("the last round returns")


def _weighed(
    check: Check,
    arm: Arm,
    prefixes: Prefixes,
    counts: Counts,
    *,
    slack: float,
    most: float,
    once: bool = False,
) -> Evidence:
    return sampler.weigh(
        prefixes,
        counts,
        arm.promised,
        slack=slack,
        most=most,
        alpha=check.settings.alpha * SHARES["sampler"] / ARMS,
        beta=check.settings.beta,
        once=once,
    )


def _unread(drawing: Drawing) -> bool:
    """Whether answers are beyond the listed tokens wherever nearly all is listed."""
    listed = drawing.prefixes.rest() <= 0.1
    counts = drawing.counts[listed]
    return bool(counts[:, -1].sum() > UNREAD * counts.sum())


def _unasked(arm: Arm, why: str) -> dict[str, Any]:
    reasons = [f"{arm.name}: cannot be asked: {why}"]
    return {"word": _counted(arm, Word.INCONCLUSIVE), "reasons": reasons, "audit": None}


def _counted(arm: Arm, word: Word) -> Word | None:
    """What an arm says; None where it has no say."""
    return word if arm.certifies or (arm.decides and word is Word.DIFFERENT) else None


def _word(tables: list[dict[str, Any]], *, certified: bool) -> Word:
    """`certified`: some arm can show EQUIVALENT."""
    words = [table["word"] for table in tables]
    if Word.DIFFERENT in words:
        return Word.DIFFERENT
    return Word.INCONCLUSIVE if Word.INCONCLUSIVE in words or not certified else Word.EQUIVALENT


def _reasons(tables: list[dict[str, Any]]) -> list[str]:
    """What is different first."""
    ordered = sorted(tables, key=lambda table: table["word"] is not Word.DIFFERENT)
    return [reason for table in ordered for reason in table["reasons"]]
