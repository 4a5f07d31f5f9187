"""Long prompts are nearly as long as asked, never longer, and the same each time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.base.errors import ConfigError
from suites import long_contexts
from suites.long_contexts import PROMPTS, RESERVE, cases, lengths


def words(prompts: Sequence[str]) -> list[int]:
    return [len(prompt.split()) for prompt in prompts]


def uneven(prompts: Sequence[str]) -> list[int]:
    """A tokenizer to which no two prompts of as many words are as long."""
    return [len(prompt.split()) + 3 * prompt.count("lantern") for prompt in prompts]


@pytest.mark.parametrize("tokens_of", [words, uneven])
@pytest.mark.parametrize("length", [2048, 8192])
def test_every_prompt_fits_and_nearly_fills_its_length(
    tokens_of: long_contexts.TokensOf, length: int
) -> None:
    made = cases(length, tokens_of)
    assert len(made) == PROMPTS == 80
    found = tokens_of([str(case.prompt) for case in made])
    assert max(found) <= length - RESERVE
    assert min(found) > 0.85 * (length - RESERVE)
    assert {case.stratum for case in made} == {f"long-{length // 1024}k"}
    assert len({case.prompt for case in made}) == PROMPTS
    assert cases(length, tokens_of) == made


def test_the_question_is_about_a_fact_of_the_text_near_or_far() -> None:
    places: list[float] = []
    for case in cases(2048, words):
        text, question = str(case.prompt).split("\n\nQuestion: Where is the ")
        asked = question.split("?")[0]
        assert text.count(f"The {asked} is in the ") == 1
        places.append(text.index(f"The {asked} is") / len(text))
    assert min(places) < 0.1 and max(places) > 0.9


def test_lengths_double_up_to_the_longest() -> None:
    assert lengths(2048, 4096) == [2048]
    assert lengths(40_000, 131_072) == [2048, 4096, 8192, 16_384, 32_768]


@pytest.mark.parametrize(("longest", "words"), [(4097, "takes 4096 tokens"), (2000, "2048 tokens")])
def test_more_than_the_model_takes_or_less_than_a_long_one_is_refused(
    longest: int, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        lengths(longest, 4096)
