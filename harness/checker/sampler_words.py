"""What an audit of a sampler says: in words, and in the plain numbers that decide nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from harness.base.record import Floats
from harness.checker.outcome import Word
from harness.checker.sampler import TEMPERATURE_BAND, TOP_P_BAND, Audit, Estimate
from harness.checker.sampling import CONTAMINATION, Counts, Parameters, Prefixes, probabilities

WITHIN = 1e-9


def reasons(arm: str, audit: Audit, promised: Parameters, *, decides: bool) -> list[str]:
    """One line for each parameter that is another, or one for all of them."""
    got = f"temperature {_told(audit.temperature)}, top-p {_told(audit.top_p)}"
    if not decides:
        return [
            f"{arm}: nobody promised anything; it draws with {', '.join([got, *_slipped(audit)])}"
        ]
    if audit.word is not Word.DIFFERENT:
        lacking = "" if audit.word is Word.EQUIVALENT else ", which does not show enough"
        return [f"{arm}: drawn with {got}{lacking}"]
    told = _slipped(audit, promised)
    shifts = (
        ("temperature", promised.temperature, audit.temperature, TEMPERATURE_BAND / 2),
        ("top-p", promised.top_p, audit.top_p, TOP_P_BAND / 2),
    )
    explained = bool(told)  # then a small shift is what that model of it leaves over
    for name, asked, found, small in shifts:
        inside = found.low - WITHIN <= asked <= found.high + WITHIN
        if not inside and (not explained or abs(found.value - asked) >= small):
            told.append(f"{name}: asked {asked:g}, got {_told(found)}")
    return [f"{arm}: {line}" for line in told] or [f"{arm}: not as promised; nearest is {got}"]


def _told(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _slipped(audit: Audit, promised: Parameters | None = None) -> list[str]:
    """Cuts and pushes that are in use; with a promise, those that are not the promised ones."""
    lines: list[str] = []
    asked = "" if promised is None else " and nobody asked for it"
    if audit.top_k != (0 if promised is None else promised.top_k):
        if audit.top_k:
            lines.append(f"top-k {audit.top_k} is applied{asked}")
        else:
            assert promised is not None
            lines.append(f"top-k: asked {promised.top_k}, none is applied")
    if audit.min_p != (0.0 if promised is None else promised.min_p):
        lines.append(f"min-p {audit.min_p:.2f} is applied{asked}")
    if audit.push:
        way = "lowered" if audit.push > 0 else "raised"
        lines.append(
            f"the logits of tokens that have occurred are {way} by {abs(audit.push):.2f} nats"
            f"{asked}: a repetition penalty"
        )
    return lines


def plain_numbers(
    prefixes: Prefixes, counts: Counts, promised: Parameters, rng: np.random.Generator
) -> dict[str, Any]:
    """Under the promise: draws outside the nucleus, the cross-entropy, and how uniform the
    randomised probability integral transform is (Cramer-von Mises, one declared n)."""
    cells = probabilities(prefixes, promised, np.array([promised.top_p]))[0].mean(axis=0)
    surprise = -np.log(cells)  # (P, k + 1)
    drawn = counts.sum(axis=1)
    mean = (cells * surprise).sum(axis=1)
    variance = (cells * surprise**2).sum(axis=1) - mean**2
    expected = float((drawn * mean).sum() / drawn.sum())
    found = float((counts * surprise).sum() / drawn.sum())
    error = float(np.sqrt((drawn * variance).sum()) / drawn.sum())
    outside = cells <= 2 * CONTAMINATION * np.exp(_untruncated(prefixes))
    return {
        "outside_nucleus": int((counts * outside).sum()),
        "cross_entropy_nats": found,
        "expected_nats": expected,
        "z": (found - expected) / error if error else 0.0,
        "pit_p": float(stats.cramervonmises(_pit(cells, counts, rng), "uniform").pvalue),
    }


def _untruncated(prefixes: Prefixes) -> Floats:
    """(P, k + 1), the rest last."""
    rest = np.log(np.maximum(prefixes.rest(), 1e-12))
    return np.concatenate((prefixes.logprobs, rest[:, None]), axis=1)


def _pit(cells: Floats, counts: Counts, rng: np.random.Generator) -> Floats:
    """Uniform under the promise: where in the cells' cumulated probability each draw lies."""
    whole = cells / cells.sum(axis=1, keepdims=True)
    ends = np.cumsum(whole, axis=1)
    drawn = counts.ravel()
    return np.repeat((ends - whole).ravel(), drawn) + np.repeat(whole.ravel(), drawn) * rng.uniform(
        size=int(drawn.sum())
    )
