"""A rendering is the same token ids, or the first difference is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.checker.contract import CONTEXT, compare_rendering, describe

IDS = st.lists(st.integers(0, 5), max_size=30)


@given(IDS)
def test_the_same_ids_are_no_difference(ids: list[int]) -> None:
    assert compare_rendering("c", tuple(ids), list(ids)) is None


@given(IDS, IDS)
def test_the_first_difference_is_found(expected: list[int], found: list[int]) -> None:
    difference = compare_rendering("c", expected, found)
    if difference is None:
        assert expected == found
        return
    at = difference.position
    assert expected[:at] == found[:at]
    assert expected[at : at + 1] != found[at : at + 1]
    assert (difference.expected_length, difference.found_length) == (len(expected), len(found))
    assert len(difference.expected) <= 2 * CONTEXT
    assert expected[max(0, at - CONTEXT) : at + CONTEXT] == list(difference.expected)


def test_a_rendering_that_stops_early_differs_where_it_stops() -> None:
    difference = compare_rendering("c", (1, 2, 3), (1, 2))
    assert difference is not None
    assert difference.position == 2


def test_a_difference_is_told_in_one_line_with_texts_and_unknown_ids() -> None:
    difference = compare_rendering("chat-7", (1, 2), (1, 9, 9))
    assert difference is not None
    assert describe(difference, {1: "<s>", 2: "a\nb"}) == (
        "case chat-7: the prompt is rendered otherwise from token 1 on: reference '<s>a\\nb' "
        "(2 tokens in all), candidate '<s><id 9><id 9>' (3)"
    )
