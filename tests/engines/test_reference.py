"""The trusted instrument, held against the direct computation in fp64 and against itself."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import numpy as np
import pytest

from harness.base.record import Scores
from harness.candidate import Opened
from launchers.dialect import Tokens, Variant
from launchers.pins import GREEDY, OWN
from launchers.reference import ReferenceDialect, benign_pool
from suites import corpus

TOP_K = 20
DIRECT64 = Variant(
    name="direct fp64",
    implementation="direct",
    options={
        "implementation": "direct",
        "dtype": "float64",
        "attention": "eager",
        "batch": 1,
        "chunk": None,
    },
    sequences_per_request=8,
)


@pytest.fixture(scope="module")
def sequences(reference: Opened) -> list[Tokens]:
    """Twelve rendered prompts, two of each stratum."""
    return reference.asker.render([case.prompt for case in corpus.load()[::40]])


def computed(opened: Opened, sequences: Sequence[Tokens], variant: Variant) -> list[Scores]:
    dialect = opened.asker.dialect
    assert isinstance(dialect, ReferenceDialect)
    answer = opened.asker.endpoint.send(dialect.score_as(sequences, TOP_K, variant))
    return dialect.scored(answer, sequences, TOP_K)


def difference(first: Sequence[Scores], second: Sequence[Scores]) -> np.ndarray:
    pairs = zip(first, second, strict=True)
    return np.abs(np.concatenate([a.logprobs - b.logprobs for a, b in pairs]))


def test_it_computes_what_the_equations_say_in_fp64(
    reference: Opened, sequences: list[Tokens]
) -> None:
    d = difference(
        reference.asker.score(sequences, TOP_K, at_once=1), computed(reference, sequences, DIRECT64)
    )
    assert d.mean() < 5e-6  # nats; fp32 rounding, as far as two sums of other order are apart
    assert d.max() < 2e-4


@pytest.mark.parametrize("variant", benign_pool("fp32"), ids=lambda v: v.name)
def test_every_benign_fp32_configuration_agrees(
    reference: Opened, sequences: list[Tokens], variant: Variant
) -> None:
    d = difference(
        reference.asker.score(sequences, TOP_K, at_once=1), computed(reference, sequences, variant)
    )
    assert d.mean() < 5e-6


def test_bf16_is_another_precision(reference: Opened, sequences: list[Tokens]) -> None:
    exact = reference.asker.score(sequences, TOP_K, at_once=1)
    for variant in (benign_pool("bf16")[0], benign_pool("bf16")[-1]):
        assert 1e-4 < difference(exact, computed(reference, sequences, variant)).mean() < 0.2


def test_a_distribution_sums_to_one(reference: Opened, sequences: list[Tokens]) -> None:
    for scores in reference.asker.score(sequences, TOP_K, at_once=1):
        assert (np.exp(scores.top_logprobs).sum(axis=1) <= 1 + 1e-6).all()
        assert (np.diff(scores.top_logprobs, axis=1) <= 0).all()


def test_what_it_reports_while_generating_is_what_it_scores(
    reference: Opened, sequences: list[Tokens]
) -> None:
    generations = reference.asker.generate(
        sequences,
        max_new_tokens=16,
        sampling=GREEDY,
        seeds=[0] * len(sequences),
        top_k=TOP_K,
        at_once=2,
    )
    whole = [s + g.token_ids for s, g in zip(sequences, generations, strict=True)]
    scores = reference.asker.score(whole, TOP_K, at_once=1)
    for prompt, generation, score in zip(sequences, generations, scores, strict=True):
        own = score.logprobs[len(prompt) - 1 :]
        assert np.abs(own - generation.scores.logprobs).max() < 2e-4
        assert np.abs(own - score.top_logprobs[len(prompt) - 1 :, 0]).max() < 2e-4  # greedy


def test_a_seed_decides_its_own_answer_whatever_else_is_in_the_batch(
    reference: Opened, sequences: list[Tokens]
) -> None:
    def sampled(part: list[Tokens], seeds: list[int]) -> list[Tokens]:
        generations = reference.asker.generate(
            part, max_new_tokens=12, sampling=OWN, seeds=seeds, top_k=TOP_K, at_once=2
        )
        return [generation.token_ids for generation in generations]

    seeds = list(range(len(sequences)))
    together = sampled(sequences, seeds)
    assert together == sampled(sequences, seeds)
    assert sampled(sequences[3:4], seeds[3:4]) == together[3:4]
    assert sampled(sequences, [s + 1000 for s in seeds]) != together


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/score", {"sequences": [[]], "top_k": 5}, "0 tokens"),
        ("/score", {"sequences": [[1, 99999999]], "top_k": 5}, "99999999"),
        ("/score", {"sequences": [[1, 2]], "top_k": 5, "topk": 3}, "topk"),
        ("/score", {"sequences": [list(range(5)) * 4000], "top_k": 5}, "4096"),
        ("/render", {"messages": "hello"}, "messages"),
        ("/tokenize", {"text": 5}, "text"),
    ],
)
def test_a_bad_request_is_refused_and_says_why(
    reference: Opened, path: str, body: dict[str, object], named: str
) -> None:
    answer = httpx.post(reference.url + path, json=body, trust_env=False)
    assert answer.status_code == 400
    assert named in answer.json()["error"]
