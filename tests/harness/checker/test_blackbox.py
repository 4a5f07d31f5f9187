"""Greedy texts that must be the same, and sampled ones that one model could have given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.record import Floats
from harness.checker import blackbox
from harness.checker.blackbox import Answers, Greedy, answers, departs

ALPHA = 0.05
LETTERS = np.array(list("abcdefgh"))
texts = st.lists(st.text(max_size=30), min_size=2, max_size=6)


def drawn(rng: np.random.Generator, count: int, temperature: float, favourite: int) -> list[str]:
    """Texts of 24 letters, each letter drawn alone; one letter is likelier than the others."""
    logits: Floats = np.where(np.arange(len(LETTERS)) == favourite, 1.5, 0.0) / temperature
    chances = np.exp(logits) / np.exp(logits).sum()
    return ["".join(rng.choice(LETTERS, 24, p=chances)) for _ in range(count)]


def prompts(rng: np.random.Generator, temperature: float = 1.0) -> list[Answers]:
    """12 prompts, each with a favourite letter of its own, so that prompts are far apart."""
    return [
        answers(drawn(rng, 8, 1.0, number % 8), drawn(rng, 4, temperature, number % 8))
        for number in range(12)
    ]


def p_of(found: list[Answers], seed: int) -> float:
    return blackbox.equality(found, alpha=ALPHA, rng=np.random.default_rng(seed)).p


def test_one_model_is_accused_no_more_often_than_alpha() -> None:
    """300 seeded runs at alpha 5 %: 15 expected at most, 26 or more has a chance of .5 %."""
    rng = np.random.default_rng(11)
    accused = sum(p_of(prompts(rng), seed) <= ALPHA for seed in range(300))
    assert 2 <= accused <= 25


def test_a_lower_temperature_is_found_and_its_direction() -> None:
    rng = np.random.default_rng(12)
    found = [
        blackbox.equality(prompts(rng, 0.6), alpha=ALPHA, rng=np.random.default_rng(seed))
        for seed in range(20)
    ]
    assert sum(one.p <= ALPHA for one in found) >= 19
    assert all(one.concentration > 0 for one in found)


def test_a_higher_temperature_is_found_too() -> None:
    rng = np.random.default_rng(13)
    found = blackbox.equality(prompts(rng, 3.0), alpha=ALPHA, rng=np.random.default_rng(0))
    assert found.p <= ALPHA
    assert found.concentration < 0


def test_labels_are_permuted_within_prompts_only() -> None:
    """Every answer to a prompt is the same, and each prompt has another: whose it is tells nothing.
    Labels that crossed prompts would find all answers of one side to be of other prompts."""
    found = [answers([letter * 9] * 8, [letter * 9] * 4) for letter in LETTERS]
    assert p_of(found, 0) == 1.0
    one_swapped = [answers(["a" * 9] * 8, ["b" * 9] * 4), *found[1:]]
    odd = blackbox.equality(one_swapped, alpha=0.001, rng=np.random.default_rng(0))
    assert odd.p > 1 / 495  # the labels that a prompt of 8 and 4 answers can have


@given(texts, texts, st.integers(0, 9))
def test_p_is_never_zero_and_never_above_one(mine: list[str], theirs: list[str], seed: int) -> None:
    found = blackbox.equality([answers(mine, theirs)], alpha=ALPHA, rng=np.random.default_rng(seed))
    for p in (found.p, found.p_discrepancy, found.p_concentration):
        assert 1 / (1 + found.permutations) <= p <= 1


@given(texts, texts)
def test_the_statistics_are_means_over_pairs(mine: list[str], theirs: list[str]) -> None:
    def same(x: str, y: str) -> float:
        length = blackbox.CHARACTERS
        padded = (x[:length].ljust(length, "\0"), y[:length].ljust(length, "\0"))
        return sum(a == b for a, b in zip(*padded, strict=True)) / length

    def within(side: list[str]) -> float:
        pairs = [(i, j) for i in range(len(side)) for j in range(len(side)) if i != j]
        return float(np.mean([same(side[i], side[j]) for i, j in pairs]))

    across = float(np.mean([same(x, y) for x in mine for y in theirs]))
    one = answers(mine, theirs)
    discrepancy, concentration = blackbox.statistics(one, one.labels)[:, 0].tolist()
    assert discrepancy == pytest.approx(within(mine) + within(theirs) - 2 * across, abs=1e-6)
    assert concentration == pytest.approx(within(theirs) - within(mine), abs=1e-6)


@given(texts, texts, st.integers(1, 5000))
def test_every_permutation_keeps_the_number_of_the_candidates_answers(
    mine: list[str], theirs: list[str], count: int
) -> None:
    """Of texts that are all the same, any labels of the right number give zero."""
    one = answers(["x"] * len(mine), ["x"] * len(theirs))
    shuffled = blackbox.permuted(one, count, np.random.default_rng(0))
    assert shuffled.shape == (2, count)
    assert np.abs(shuffled).max() < 1e-6


def test_answers_that_share_nothing_have_the_smallest_p_there_is() -> None:
    found = [answers([letter * 24] * 8, ["z" * 24] * 8) for letter in LETTERS]
    result = blackbox.equality(found, alpha=ALPHA, rng=np.random.default_rng(0))
    assert result.p_discrepancy == 1 / (1 + result.permutations)


def test_there_are_enough_permutations_for_alpha() -> None:
    for alpha in (0.05, 0.00025):
        assert 2 * 3 / (1 + blackbox.permutations(alpha)) <= alpha * 1.001


def test_what_parsers_do_to_a_text_is_not_compared() -> None:
    whole = "I think.</think>\n\nThe answer  is\t4.\ufffd"
    assert blackbox.canonical(whole) == blackbox.canonical("I think." + "The answer is 4.")


PREFIXES, MARGINS = ("The", "The cat", "The cat sat"), (2.0, 0.01, 3.0)


def test_a_greedy_text_is_decisive_up_to_the_first_near_tie() -> None:
    greedy = blackbox.decisive(PREFIXES, MARGINS, True, near_tie=0.1)
    assert greedy == Greedy(text="The", tokens=1, ended=False)
    assert not departs(greedy, "Thedog")
    assert departs(greedy, "A")
    assert departs(greedy, "")


def test_a_greedy_text_that_ends_must_end() -> None:
    greedy = blackbox.decisive(PREFIXES, MARGINS, True, near_tie=0.001)
    assert greedy == Greedy(text="Thecatsat", tokens=3, ended=True)
    assert not departs(greedy, "Thecatsat")
    assert departs(greedy, "Thecatsatdown")
    assert departs(greedy, "Thecat")
    cut = blackbox.decisive(PREFIXES, MARGINS, False, near_tie=0.001)
    assert not departs(cut, "Thecatsatdown")


def test_a_first_token_that_nearly_tied_asks_for_nothing() -> None:
    assert blackbox.decisive(PREFIXES, (0.0, 2.0, 3.0), True, near_tie=0.1).tokens == 0


def test_one_in_twenty_may_depart_and_half_may_not() -> None:
    healthy, faulty = (blackbox.exactness(48, bad, alpha=0.00025) for bad in (2, 24))
    assert healthy.p > 0.5
    assert faulty.p < 1e-9
    none = blackbox.exactness(48, 0, alpha=0.00025)
    assert none.at_most == pytest.approx(1 - 0.00025 ** (1 / 48))
    assert none.p == 1.0
