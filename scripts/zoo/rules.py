"""What people decide by today, as pure functions of a reference's probe and a candidate's.

    vllm            each side's token in the other's top five where greedy answers part
    sglang          equal greedy texts, and logprobs by rank within .05 and .06 on short prompts
    tensorrt_llm    an unpaired one-sided test of accuracy on tasks
    token_difr      how far the candidate's greedy tokens lie below the reference's best

Each takes the constants of its source, and every prompt that the probes have: more than the handful
that the sources' own tests ask. A candidate's request that failed is a fault by any of them, for
their tests end with an error there. CANNOT_SAY is for what was not asked, or what the reference
itself did not answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
from scipy import stats

from harness.base.record import Floats, Generation, Scores
from scripts.zoo.probe import Probe

VLLM_TOP = 5
SGLANG_TOP = 5
SGLANG_PREFILL, SGLANG_DECODE = 5e-2, 6e-2  # nats
SGLANG_LONGEST = 100  # tokens of a prompt: beyond it SGLang compares no logprobs
ALPHA, BETA, SIGMA = 0.05, 0.2, 50.0  # TensorRT-LLM's, of GSM8K and MMLU; sigma in points
DIFR_CLIP = 0.5  # nats
DIFR_FALSE_ALARMS = 0.01
RESAMPLES = 10_000

T = TypeVar("T")


class Word(StrEnum):
    """What a rule says of a candidate."""

    CAUGHT = "caught"
    EQUAL = "equal"
    CANNOT_SAY = "cannot say"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A rule's word, and the number that decided."""

    rule: str
    word: Word
    number: float | None  # None: nothing was measured
    limit: float | None  # CAUGHT beyond it
    why: str
    tokens: int  # of the candidate that it looked at, prompts included


def all_of(reference: Probe, candidate: Probe, healthy: Sequence[Probe]) -> list[Said]:
    """Every rule. `healthy`: see `token_difr`."""
    return [
        vllm(reference, candidate),
        sglang(reference, candidate),
        sglang(reference, candidate, every_length=True),
        tensorrt_llm(reference, candidate),
        token_difr(candidate, healthy),
    ]


def vllm(reference: Probe, candidate: Probe) -> Said:
    """`check_logprobs_close` of vLLM's `tests/models/utils.py`.

    As `tests/models/language/generation/test_common.py` calls it: 32 greedy tokens, five logprobs
    each, logprobs looked at where tokens part alone (`always_check_logprobs` is off), and no prompt
    logprobs. A prompt ends there; an answer that is merely shorter is no mismatch. Simplified: the
    prompts are token ids, and the warning of another text for the same tokens is left out, as it
    fails no test.
    """
    rule = "vLLM, top 5 at the first mismatch"
    early = _early(rule, reference, candidate, "greedy", reference.greedy, candidate.greedy)
    if early is not None:
        return early
    pairs = _pairs(reference.greedy, candidate.greedy)
    parted = [_parting(one, other) for one, other in pairs.values()]
    failed = sum(close is False for close in parted)
    return Said(
        rule=rule,
        word=Word.CAUGHT if failed else Word.EQUAL,
        number=failed,
        limit=0,
        why=f"{sum(close is not None for close in parted)} of {len(parted)} answers part, "
        f"{failed} of them to a token that is not in the other's top {VLLM_TOP}",
        tokens=_answered_tokens(candidate),
    )


def _parting(one: Generation, other: Generation) -> bool | None:
    """Whether each token is in the other's list at the first mismatch; None: there is none."""
    for place, (a, b) in enumerate(zip(one.token_ids, other.token_ids, strict=False)):
        if a != b:
            lists = [g.scores.top_ids[place, :VLLM_TOP].tolist() for g in (one, other)]
            return a in lists[1] and b in lists[0]
    return None


def sglang(reference: Probe, candidate: Probe, *, every_length: bool = False) -> Said:
    """`check_close_model_outputs` of SGLang's `python/sglang/test/runners.py`.

    With the tolerances of its `test_generation_models.py`: ROUGE-L 1 between the texts of 32 greedy
    tokens; the five best logprobs of each position compared rank by rank, whatever token stands
    there, within 5e-2 for given tokens and 6e-2 for generated ones; logprobs on prompts of up to
    100 tokens alone. Simplified: a ROUGE-L of 1 asks for equality, so token ids are compared; the
    given tokens go on beyond the prompt, so there are more of them. `every_length`: logprobs of
    long prompts too, which SGLang does not look at.
    """
    rule = "SGLang, logprobs by rank" + (", at every length" if every_length else "")
    for part in ("greedy", "scores"):
        own, other = getattr(reference, part), getattr(candidate, part)
        early = _early(rule, reference, candidate, part, own, other)
        if early is not None:
            return early
    answers = _pairs(reference.greedy, candidate.greedy)
    prefill = _pairs(reference.scores, candidate.scores)
    looked = {n for n in answers if every_length or len(reference.prompts[n]) <= SGLANG_LONGEST}
    unequal = sum(one.token_ids != other.token_ids for one, other in answers.values())
    given = _worst([pair for name, pair in prefill.items() if name in looked])
    own = _worst([(a.scores, b.scores) for n, (a, b) in answers.items() if n in looked])
    failed = [
        (value, limit)
        for value, limit in ((unequal, 0.0), (given, SGLANG_PREFILL), (own, SGLANG_DECODE))
        if not (value < limit or value == 0)
    ]
    number, limit = failed[0] if failed else (given, SGLANG_PREFILL)
    return Said(
        rule=rule,
        word=Word.CAUGHT if failed else Word.EQUAL,
        number=float(number),
        limit=limit,
        why=f"{unequal} of {len(answers)} texts unequal; on {len(looked)} prompts largest |d| "
        f"{given:.2g} nats of given tokens, {own:.2g} of generated ones",
        tokens=_answered_tokens(candidate)
        + sum(len(other.logprobs) + 1 for _, other in prefill.values()),
    )


def _worst(pairs: Sequence[tuple[Scores, Scores]]) -> float:
    """The largest |d| by rank, in nats; infinite where a difference is no number, or where one
    answer is longer than the other."""
    worst = 0.0
    for one, other in pairs:
        a, b = one.best(SGLANG_TOP).top_logprobs, other.best(SGLANG_TOP).top_logprobs
        if a.shape != b.shape:
            return math.inf
        with np.errstate(invalid="ignore"):
            d = np.abs(a - b)
        worst = max(worst, float(np.where(np.isnan(d), np.inf, d).max(initial=0.0)))
    return worst


def tensorrt_llm(reference: Probe, candidate: Probe) -> Said:
    """`HypothesisTestingParams` of TensorRT-LLM's accuracy tests (`accuracy_core.py`).

    The candidate fails below ref + z_alpha * sqrt(2 sigma^2 / n), in points; theta is what would be
    seen with a power of 1 - beta. As there, items are not paired and a rise is never a fault. Other
    than there, the reference's accuracy is measured on the same items and in the same run, not
    taken from a table; the items are the tiny models' skills, and n is theirs.
    """
    rule = "TensorRT-LLM, unpaired accuracy"
    early = _early(rule, reference, candidate, "answers", reference.answers, candidate.answers)
    if early is not None:
        return early
    pairs = list(_pairs(reference.answers, candidate.answers).values())
    ref, own = (100 * float(np.mean([pair[side] for pair in pairs])) for side in (0, 1))
    threshold, theta = threshold_and_theta(ref, len(pairs))
    return Said(
        rule=rule,
        word=Word.CAUGHT if own < threshold else Word.EQUAL,
        number=ref - own,
        limit=ref - threshold,
        why=f"{own:.1f} % of {len(pairs)} questions, the reference {ref:.1f} %; a fault below "
        f"{threshold:.1f} %, and {theta:.1f} points can be seen",
        tokens=candidate.item_tokens,
    )


def threshold_and_theta(ref_accuracy: float, count: int) -> tuple[float, float]:
    """`compute_threshold` and `compute_theta`, in points."""
    scale = math.sqrt(2 * SIGMA**2 / count)
    z_alpha, z_beta = (float(z) for z in stats.norm.ppf((ALPHA, BETA)))
    return ref_accuracy + z_alpha * scale, -(z_alpha + z_beta) * scale


def token_difr(candidate: Probe, healthy: Sequence[Probe]) -> Said:
    """The mean clipped margin of Token-DiFR (arXiv 2511.20621; `difr/plot_classification.py` of
    its repository).

    Of the paper its form at temperature 0 is taken: the candidate's greedy tokens y are scored by
    the reference, margin = max_v lp_ref(v) - lp_ref(y), clipped at half a nat, and averaged. Seeds
    are not replayed: that needs the candidate's sampler to be the reference's, and where it is not
    known the authors' own README says that temperature 0 must be used. Their classifier has labels
    of both kinds; here the threshold is the mean margin that healthy engines exceed in 1 % of draws
    of as many tokens, drawn one by one as they shuffle them.

    `healthy`: right engines of other implementations, scored by the same reference; without any
    there is no threshold.
    """
    rule = "Token-DiFR, margin at T = 0"
    failed = _failed(candidate, "greedy")
    if failed:
        return _caught(rule, failed, candidate)
    if candidate.rescored is None:
        return _cannot(rule, "no reference has scored the candidate's answers")
    pools = [margins(one.rescored) for one in healthy if one.rescored]
    own = margins(candidate.rescored)
    if not pools or not len(own):
        return _cannot(rule, "no healthy engine's answers were scored" if len(own) else "no tokens")
    limit = difr_threshold(np.concatenate(pools), len(own))
    mean = float(own.mean())
    return Said(
        rule=rule,
        word=Word.CAUGHT if mean > limit else Word.EQUAL,
        number=mean,
        limit=limit,
        why=f"mean clipped margin {mean:.2g} nats of {len(own)} tokens, "
        f"{int((own > 0).sum())} of them not the reference's own choice; "
        f"healthy engines stay below {limit:.2g}",
        tokens=_answered_tokens(candidate),
    )


def margins(rescored: Mapping[str, Scores]) -> Floats:
    """(tokens,) nats: the clipped margin of each token of all answers."""
    found = [one.top_logprobs[:, 0] - one.logprobs for one in rescored.values()]
    return np.clip(np.concatenate([np.zeros(0), *found]), 0.0, DIFR_CLIP)


def difr_threshold(pool: Floats, tokens: int) -> float:
    """The mean of `tokens` healthy margins that is exceeded in DIFR_FALSE_ALARMS of draws."""
    values, counts = np.unique(pool, return_counts=True)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(tokens, counts / len(pool), size=RESAMPLES)
    return float(np.quantile(drawn @ values / tokens, 1 - DIFR_FALSE_ALARMS))


def _pairs(one: Mapping[str, T] | None, other: Mapping[str, T] | None) -> dict[str, tuple[T, T]]:
    """What both answered, by name."""
    return {
        name: (a, (other or {})[name]) for name, a in (one or {}).items() if name in (other or {})
    }


def _early(
    rule: str,
    reference: Probe,
    candidate: Probe,
    part: str,
    asked: Mapping[str, object] | None,
    answered: Mapping[str, object] | None,
) -> Said | None:
    """A word that needs no numbers; None where both answered."""
    failed = _failed(candidate, part)
    if asked is not None and failed:
        return _caught(rule, failed, candidate)
    if _failed(reference, part):
        return _cannot(rule, f"the reference failed requests: {_failed(reference, part)[0]}")
    if not asked or not answered:
        return _cannot(rule, f"{part}: one of the two cannot be asked")
    return None


def _failed(probe: Probe, part: str) -> list[str]:
    """What failed of a part, in words."""
    return [f"{n}: {why}" for n, why in probe.failures.items() if n.split(" ")[0] == part]


def _caught(rule: str, failed: Sequence[str], candidate: Probe) -> Said:
    return Said(
        rule=rule,
        word=Word.CAUGHT,
        number=len(failed),
        limit=0,
        why=f"{len(failed)} requests fail: {failed[0]}",
        tokens=_answered_tokens(candidate),
    )


def _cannot(rule: str, why: str) -> Said:
    return Said(rule=rule, word=Word.CANNOT_SAY, number=None, limit=None, why=why, tokens=0)


def _answered_tokens(probe: Probe) -> int:
    return sum(
        len(probe.prompts[name]) + len(one.token_ids) for name, one in (probe.greedy or {}).items()
    )
