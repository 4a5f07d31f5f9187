"""The rules that people use today: each on made-up probes, against what its source would say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.base.record import Generation, Scores
from scripts.zoo import rules
from scripts.zoo.probe import Probe
from scripts.zoo.rules import Word

CASES = ("chat-001", "text-002")
TOP = (0, 1, 2, 3, 4)  # in the place of each token, the most probable first
STEPS = np.array([-0.1, -2.5, -4.0, -6.0, -8.0])


def answer(*token_ids: int, top: tuple[int, ...] = TOP, shift: float = 0.0) -> Generation:
    count = len(token_ids)
    return Generation(
        token_ids=token_ids,
        scores=Scores(
            logprobs=np.full(count, STEPS[0] + shift),
            top_ids=np.tile(np.array(top, dtype=np.int32), (count, 1)),
            top_logprobs=np.tile(STEPS + shift, (count, 1)),
        ),
        finish_reason="length",
    )


def of_margins(*below_nats: float) -> Scores:
    """A reference's scores of tokens that lie so far below its best."""
    best = np.full(len(below_nats), -0.2)
    return Scores(
        logprobs=best - np.array(below_nats),
        top_ids=np.zeros((len(below_nats), 1), dtype=np.int32),
        top_logprobs=best[:, None],
    )


def probe(*, tokens: int = 20, right: int = 90) -> Probe:
    """`tokens`: of each prompt. `right`: of 100 questions."""
    return Probe(
        title="tiny/engine",
        trace="abc",
        seed=0,
        prompts=dict.fromkeys(CASES, tuple(range(tokens))),
        scores=dict.fromkeys(CASES, answer(*[0] * (tokens + 3)).scores),
        greedy=dict.fromkeys(CASES, answer(0, 0, 0, 0)),
        again=None,
        rendered=None,
        texts=None,
        streams=None,
        draws=None,
        answers={f"q-{i:03}": i < right for i in range(100)},
        item_tokens=700,
        rescored=dict.fromkeys(CASES, of_margins(0.0, 0.0, 0.0, 0.0)),
        failures={},
        seconds=1.0,
    )


def greedy(base: Probe, other: Generation) -> Probe:
    """The same, the first answer another."""
    return replace(base, greedy={**(base.greedy or {}), CASES[0]: other})


def test_equal_engines_are_equal_by_every_rule() -> None:
    said = rules.all_of(probe(), probe(), [probe()])
    assert [one.word for one in said] == [Word.EQUAL] * 5
    assert all(one.tokens > 0 and one.number == 0 for one in said)


# ---------------------------------------------------------------- vLLM


def test_vllm_takes_a_parting_inside_both_lists_for_equal() -> None:
    said = rules.vllm(probe(), greedy(probe(), answer(0, 3, 9, 9)))
    assert said.word is Word.EQUAL
    assert "1 of 2 answers part, 0 of them" in said.why
    assert said.tokens == 2 * (20 + 4)


@pytest.mark.parametrize(
    "other",
    [
        answer(0, 9, 0, 0),  # the reference does not list 9
        answer(0, 3, 0, 0, top=(3, 1, 2, 4, 5)),  # the candidate does not list 0
    ],
)
def test_vllm_catches_a_parting_outside_either_list(other: Generation) -> None:
    said = rules.vllm(probe(), greedy(probe(), other))
    assert (said.word, said.number) == (Word.CAUGHT, 1)


def test_vllm_looks_at_the_first_mismatch_alone_and_at_no_length() -> None:
    assert rules.vllm(probe(), greedy(probe(), answer(0, 3, 99, 98))).word is Word.EQUAL
    assert rules.vllm(probe(), greedy(probe(), answer(0, 0))).word is Word.EQUAL


# ---------------------------------------------------------------- SGLang


def test_sglang_catches_any_other_text() -> None:
    said = rules.sglang(probe(), greedy(probe(), answer(0, 0, 0, 1)))
    assert (said.word, said.number, said.limit) == (Word.CAUGHT, 1, 0)


@pytest.mark.parametrize(("shift", "word"), [(0.059, Word.EQUAL), (0.061, Word.CAUGHT)])
def test_sglang_holds_generated_logprobs_to_its_tolerance(shift: float, word: Word) -> None:
    said = rules.sglang(probe(), greedy(probe(), answer(0, 0, 0, 0, shift=-shift)))
    assert said.word is word


@pytest.mark.parametrize(("shift", "word"), [(0.049, Word.EQUAL), (0.051, Word.CAUGHT)])
def test_sglang_holds_given_logprobs_to_its_tolerance(shift: float, word: Word) -> None:
    moved = answer(*[0] * 23, shift=shift).scores
    said = rules.sglang(probe(), replace(probe(), scores=dict.fromkeys(CASES, moved)))
    assert said.word is word
    assert said.number == pytest.approx(shift)


def test_sglang_compares_by_rank_and_not_by_token() -> None:
    same_values = answer(0, 0, 0, 0, top=(0, 9, 8, 7, 6))
    assert rules.sglang(probe(), greedy(probe(), same_values)).word is Word.EQUAL


def test_sglang_does_not_look_at_logprobs_of_long_prompts_unless_it_is_told_to() -> None:
    moved = dict.fromkeys(CASES, answer(*[0] * 104, shift=1.0).scores)
    own, other = probe(tokens=101), replace(probe(tokens=101), scores=moved)
    assert rules.sglang(own, other).word is Word.EQUAL
    assert rules.sglang(own, other, every_length=True).word is Word.CAUGHT
    short = probe(tokens=100)
    moved = dict.fromkeys(CASES, answer(*[0] * 103, shift=1.0).scores)
    assert rules.sglang(short, replace(short, scores=moved)).word is Word.CAUGHT


def test_sglang_takes_what_is_no_number_for_a_fault() -> None:
    broken = dict.fromkeys(CASES, answer(*[0] * 23, shift=float("nan")).scores)
    assert rules.sglang(probe(), replace(probe(), scores=broken)).word is Word.CAUGHT


# ---------------------------------------------------------------- TensorRT-LLM


def test_tensorrt_llm_has_the_threshold_and_theta_of_its_source() -> None:
    """By hand: 1.6449 * sqrt(2 * 50^2 / 1319) = 3.20 and (1.6449 + .8416) * 1.947 = 4.84."""
    threshold, theta = rules.threshold_and_theta(80.0, 1319)
    assert threshold == pytest.approx(80 - 3.20, abs=0.01)
    assert theta == pytest.approx(4.84, abs=0.01)


@pytest.mark.parametrize(
    ("right", "word"), [(79, Word.EQUAL), (78, Word.CAUGHT), (100, Word.EQUAL)]
)
def test_tensorrt_llm_catches_a_fall_below_its_threshold(right: int, word: Word) -> None:
    """Of 100 questions: 1.6449 * sqrt(2 * 50^2 / 100) = 11.6 points below 90."""
    said = rules.tensorrt_llm(probe(), probe(right=right))
    assert said.word is word
    assert said.tokens == 700
    assert said.limit == pytest.approx(11.63, abs=0.01)


def test_tensorrt_llm_takes_no_rise_for_a_fault() -> None:
    assert rules.tensorrt_llm(probe(right=50), probe(right=100)).word is Word.EQUAL


def test_tensorrt_llm_does_not_pair_items() -> None:
    swapped = {name: not right for name, right in (probe(right=50).answers or {}).items()}
    said = rules.tensorrt_llm(probe(right=50), replace(probe(), answers=swapped))
    assert (said.word, said.number) == (Word.EQUAL, 0)


# ---------------------------------------------------------------- Token-DiFR


def scored(*below_nats: float) -> Probe:
    return replace(probe(), rescored={"chat-001": of_margins(*below_nats)})


def test_difr_margins_are_clipped_on_both_sides() -> None:
    """The token itself may be listed a rounding above the best."""
    found = rules.margins({"a": of_margins(0.0, 0.3, 9.0, np.inf), "b": of_margins(-1e-9)})
    assert found.tolist() == pytest.approx([0, 0.3, 0.5, 0.5, 0])


def test_difr_catches_a_mean_that_healthy_engines_hardly_reach() -> None:
    healthy = [scored(*[0.0] * 499, 0.01), scored(*[0.0] * 500)]
    near_tie, fault = scored(*[0.0] * 199, 0.01), scored(*[0.0] * 180, *[0.4] * 20)
    assert rules.token_difr(near_tie, healthy).word is Word.EQUAL
    said = rules.token_difr(fault, healthy)
    assert said.word is Word.CAUGHT
    assert said.number == pytest.approx(0.04)
    assert "20 of them not the reference's own choice" in said.why


def test_difr_has_its_false_alarm_rate() -> None:
    """1 % of draws of 300 tokens from the pool are beyond the threshold: between .5 and 1.5 % of
    4,000 fresh ones, which chance leaves in less than 1 of 400 runs; the seed is fixed."""
    rng = np.random.default_rng(3)
    pool = np.where(rng.random(2_000) < 0.03, rng.random(2_000) / 10, 0.0)
    limit = rules.difr_threshold(pool, 300)
    fresh = rng.choice(pool, size=(4_000, 300)).mean(axis=1)
    assert 0.005 < (fresh > limit).mean() < 0.015


def test_difr_has_no_threshold_without_a_healthy_engine() -> None:
    assert rules.token_difr(probe(), []).word is Word.CANNOT_SAY
    unscored = replace(probe(), rescored=None)
    assert rules.token_difr(unscored, [probe()]).word is Word.CANNOT_SAY


# ---------------------------------------------------------------- what is not answered


def test_a_request_that_fails_is_caught_by_the_rules_that_ask_it_and_by_no_other() -> None:
    part = {CASES[1]: answer(0, 0, 0, 0)}
    dead = replace(probe(), greedy=part, failures={f"greedy {CASES[0]}": "answered 500"})
    said = {one.rule: one for one in rules.all_of(probe(), dead, [probe()])}
    caught = {name.split(",")[0] for name, one in said.items() if one.word is Word.CAUGHT}
    assert caught == {"vLLM", "SGLang", "Token-DiFR"}
    assert (
        "1 requests fail: greedy chat-001: answered 500" in said[rules.vllm(probe(), dead).rule].why
    )


def test_a_reference_that_fails_proves_nothing() -> None:
    dead = replace(probe(), greedy={}, failures={f"greedy {CASES[0]}": "answered 500"})
    assert rules.vllm(dead, probe()).word is Word.CANNOT_SAY
    assert rules.sglang(dead, probe()).word is Word.CANNOT_SAY


def test_an_engine_that_cannot_be_asked_is_none_of_equal_and_caught() -> None:
    silent = replace(probe(), scores=None, greedy=None, answers=None, rescored=None)
    for said in rules.all_of(probe(), silent, [probe()]):
        assert (said.word, said.number, said.tokens) == (Word.CANNOT_SAY, None, 0)
