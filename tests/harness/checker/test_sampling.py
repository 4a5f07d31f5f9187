"""The sampler's likelihood against draws that follow the engines' own order of operations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.record import Floats
from harness.checker import sampler, sampler_words
from harness.checker.outcome import Word
from harness.checker.sampler import Audit, Evidence
from harness.checker.sampling import (
    Counts,
    Parameters,
    Prefixes,
    likelihood,
    likelihoods,
    probabilities,
)
from tests.building import log_softmax

OWN = Parameters(temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, push=0.0)
NUCLEUS = replace(OWN, top_p=0.95)
LISTED, WORDS, PREFIXES = 20, 200, 24
DRAWS = 280  # of each prefix
ALPHA = 0.001
BENIGN = 1.4e-4  # nats a draw: tau K of tiny-moe's bf16 class


def distributions(seed: int = 1) -> Floats:
    """(P, V) log distributions, descending: few likely tokens, some with much beyond the list."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(2.0, 3.5, size=(PREFIXES, 1))
    spread[:3] = 0.7
    return -np.sort(-log_softmax(rng.normal(size=(PREFIXES, WORDS)) * spread), axis=1)


def prefixes_of(full: Floats, seed: int = 2) -> Prefixes:
    seen = np.random.default_rng(seed).random((PREFIXES, LISTED)) < 0.3
    return Prefixes(logprobs=full[:, :LISTED], named=np.ones_like(seen), seen=seen)


def drawn(
    full: Floats, prefixes: Prefixes, setting: Parameters, rng: np.random.Generator
) -> Counts:
    """Penalty, temperature, min-p, top-k, top-p, in that order, then a draw."""
    counts = np.zeros((PREFIXES, LISTED + 1), dtype=np.int64)
    for i, row in enumerate(full):
        logits = row.copy()
        logits[:LISTED] -= setting.push * prefixes.seen[i]
        order = np.argsort(-logits, kind="stable")
        weights = np.exp(logits[order] / setting.temperature)
        weights[weights < setting.min_p * weights[0]] = 0.0
        if setting.top_k:
            weights[setting.top_k :] = 0.0
        weights /= weights.sum()
        weights[np.cumsum(weights) - weights >= setting.top_p] = 0.0
        ids = order[rng.choice(WORDS, size=DRAWS, p=weights / weights.sum())]
        counts[i] = np.bincount(np.minimum(ids, LISTED), minlength=LISTED + 1)
    return counts


def weighed(counts: Counts, promised: Parameters, benign: float = 1e-5) -> Evidence:
    slack = sampler.slack(counts, np.full(PREFIXES, benign))
    return sampler.weigh(
        prefixes_of(distributions()),
        counts,
        promised,
        slack=slack,
        most=slack,
        alpha=ALPHA,
        beta=0.005,
    )


def counted(real: Parameters, seed: int, noise: float = 0.0) -> Counts:
    full = distributions()
    rng = np.random.default_rng(seed)
    own = log_softmax(full + rng.normal(size=full.shape) * noise)
    return drawn(own, prefixes_of(full), real, rng)


def audited(real: Parameters, promised: Parameters, seed: int) -> Audit:
    counts = counted(real, seed)
    slack = sampler.slack(counts, np.full(PREFIXES, 1e-5))
    evidence = weighed(counts, promised)
    return sampler.audit(prefixes_of(distributions()), counts, evidence, slack)


@given(
    st.floats(0.3, 2.0),
    st.floats(0.2, 1.0),
    st.sampled_from([0, 1, 5, 20]),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from([0.0, 0.7]),
    st.integers(0, 50),
)
@settings(max_examples=40, deadline=None)
def test_the_likelihood_is_that_of_the_cells(
    temperature: float, top_p: float, top_k: int, min_p: float, push: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    full = distributions(seed)
    named = rng.random((PREFIXES, LISTED)) < 0.9
    prefixes = replace(prefixes_of(full), named=named)
    setting = Parameters(temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p, push=push)
    top_ps = np.array([top_p, 1.0])
    counts = rng.integers(0, 9, (PREFIXES, LISTED + 1))
    counts[:, :-1] *= named
    cells = probabilities(prefixes, setting, top_ps)
    by_way = (np.log(cells) * counts).sum(axis=-1)
    best, averaged = likelihoods(prefixes, counts, setting, top_ps)
    np.testing.assert_allclose(best, by_way.max(axis=1).sum(axis=-1), rtol=1e-9)
    ways = np.log(np.exp(by_way - by_way.max(axis=1, keepdims=True)).mean(axis=1))
    np.testing.assert_allclose(averaged, best + ways.sum(axis=-1), rtol=1e-9)
    told = np.where(np.append(named, np.ones((PREFIXES, 1), bool), axis=1), cells, 0.0)
    np.testing.assert_allclose(told.sum(axis=-1), 1.0, rtol=1e-6)


def test_nothing_is_likelier_than_the_setting_that_counts_are_expected_under() -> None:
    full = distributions()
    prefixes = prefixes_of(full)
    real = replace(OWN, temperature=0.8, top_p=0.9)
    expected = probabilities(prefixes, real, np.array([0.9]))[0, 0] * 1e6
    counts = expected.round().astype(np.int64)
    own = likelihood(prefixes, counts, real, np.array([0.9]))[0]
    for other in (0.75, 0.85):
        assert likelihood(prefixes, counts, replace(real, temperature=other), np.array([0.9])) < own
    assert (likelihood(prefixes, counts, real, np.array([0.85, 0.95])) < own).all()


def test_healthy_samplers_are_not_accused_and_most_are_called_equivalent() -> None:
    """24 audits at alpha .001: one is accused by chance in 2.4 % of all seeds; these are fixed."""
    words = [
        weighed(counted(promised, seed), promised).word
        for promised in (OWN, NUCLEUS)
        for seed in range(12)
    ]
    assert Word.DIFFERENT not in words
    assert words.count(Word.EQUIVALENT) >= 18


def test_an_engine_at_its_tolerance_is_not_accused() -> None:
    """Logits off by .0167 make KL .0167^2 / 2 = BENIGN nats a draw. 12 audits at alpha .001."""
    for seed in range(12):
        evidence = weighed(counted(OWN, seed, noise=0.0167), OWN, BENIGN)
        assert evidence.word is not Word.DIFFERENT, (seed, evidence)


@pytest.mark.parametrize("temperature", [0.6, 0.9])
@pytest.mark.parametrize("promised", [OWN, NUCLEUS])
def test_another_temperature_is_found_and_estimated(
    temperature: float, promised: Parameters
) -> None:
    for seed in range(2):
        audit = audited(replace(promised, temperature=temperature), promised, seed)
        assert audit.word is Word.DIFFERENT, (seed, audit)
        assert abs(audit.temperature.value - temperature) <= 0.03, (seed, audit)
        assert audit.temperature.low <= temperature + 0.01
        assert audit.temperature.high >= temperature - 0.01


@pytest.mark.parametrize(("asked", "got"), [(0.95, 1.0), (1.0, 0.95)])
def test_another_top_p_is_found_and_estimated(asked: float, got: float) -> None:
    for seed in range(2):
        audit = audited(replace(OWN, top_p=got), replace(OWN, top_p=asked), seed)
        assert audit.word is Word.DIFFERENT, (seed, audit)
        assert abs(audit.top_p.value - got) <= 0.03, (seed, audit)


def test_a_top_k_that_nobody_asked_for_is_named() -> None:
    for seed in range(2):
        audit = audited(replace(OWN, top_k=20), OWN, seed)
        assert (audit.word, audit.top_k) == (Word.DIFFERENT, 20), (seed, audit)
        (reason,) = sampler_words.reasons("unsent", audit, OWN, decides=True)
        assert reason == "unsent: top-k 20 is applied and nobody asked for it"


def test_a_penalty_of_what_has_occurred_is_named() -> None:
    for seed in range(2):
        audit = audited(replace(OWN, push=0.8), OWN, seed)
        assert audit.word is Word.DIFFERENT
        assert abs(audit.push - 0.8) < 0.25, (seed, audit)


def test_a_promised_top_k_that_is_not_applied_is_told() -> None:
    promised = replace(OWN, top_k=5)
    audit = audited(OWN, promised, 1)
    reasons = sampler_words.reasons("unsent", audit, promised, decides=True)
    assert audit.word is Word.DIFFERENT
    assert "unsent: top-k: asked 5, none is applied" in reasons


def test_what_is_needed_grows_with_what_benign_engines_differ_by() -> None:
    bare = -np.log(ALPHA)
    assert sampler.needed(ALPHA, 0.0, 0.0) == pytest.approx(bare)
    assert sampler.needed(ALPHA, 4.0, 4.0) == pytest.approx((np.sqrt(bare) + 2.0) ** 2)
    assert sampler.needed(ALPHA, 2.0, 4.0) < sampler.needed(ALPHA, 4.0, 4.0)


def test_the_plain_numbers_are_plain() -> None:
    full = distributions()
    prefixes = prefixes_of(full)
    counts = drawn(full, prefixes, OWN, np.random.default_rng(3))
    right = sampler_words.plain_numbers(prefixes, counts, OWN, np.random.default_rng(4))
    wrong = sampler_words.plain_numbers(prefixes, counts, NUCLEUS, np.random.default_rng(4))
    assert right["outside_nucleus"] == 0 and abs(right["z"]) < 4 and right["pit_p"] > 1e-3
    assert wrong["outside_nucleus"] > 50 and wrong["z"] > 10
