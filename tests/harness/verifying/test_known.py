"""What a release is known not to keep is excused up to its share, and by name."""

from __future__ import annotations

import pytest

from harness.base.held import Held, How, broken, kept
from harness.verifying.holding import NOT_ASKED, Row
from harness.verifying.known import excused, judged
from launchers.pins import KnownTable

GONE = Held(how=How.UNANSWERED, why="500")


def rows(bad: int, whole: int = 10, held: Held | None = None) -> list[Row]:
    made = [held or broken("no")] * bad + [kept("yes")] * (whole - bad)
    return [
        Row(suite="schemas", case=f"{n}/streamed", what="conforms", held={"e": one})
        for n, one in enumerate(made)
    ]


@pytest.mark.parametrize(("bad", "allowed"), [(0, True), (3, True), (4, False), (10, False)])
def test_a_share_is_excused_whole_or_not_at_all(bad: int, allowed: bool) -> None:
    line = KnownTable(cases="schemas/*", why="markers", share=0.3)
    (found,) = judged(rows(bad), "e", [line])
    assert (found.of, found.found, found.exceeded) == (10, bad, not allowed)
    assert excused([found]) == ({"schemas": {How.BROKEN: bad}} if allowed and bad else {})


def test_a_case_is_excused_by_the_first_line_that_names_it_and_once() -> None:
    lines = [
        KnownTable(cases="schemas/0/*", why="500", how=("unanswered",)),
        KnownTable(cases="schemas/*", why="markers", share=0.2),
    ]
    first, second = judged(rows(3, held=GONE), "e", lines)
    assert (first.of, first.found) == (1, 1)
    assert (second.of, second.found, second.exceeded) == (9, 2, True)
    assert excused((first, second)) == {"schemas": {How.UNANSWERED: 1}}


def test_another_engine_and_another_suite_are_not_excused() -> None:
    (found,) = judged(rows(2), "e", [KnownTable(cases="features/*", why="no")])
    assert (found.of, found.found, found.counts) == (0, 0, {})


def test_only_what_is_known_of_it_is_excused_and_each_suite_for_itself() -> None:
    line = KnownTable(cases="schemas*/*", why="markers", share=0.5, how=("broken",))
    (found,) = judged(rows(3, held=GONE), "e", [line])
    assert (found.found, found.counts) == (0, {})
    more = [
        Row(suite="schemas-b", case=f"{n}/whole", what="", held={"e": kept("yes")})
        for n in range(90)
    ]
    (found,) = judged([*rows(6), *more], "e", [line])
    assert (found.found, found.exceeded, found.counts) == (6, True, {})


def test_what_was_never_asked_is_known_of_no_release() -> None:
    (found,) = judged(rows(2, held=NOT_ASKED), "e", [KnownTable(cases="schemas/*", why="500")])
    assert (found.found, found.counts) == (0, {})
