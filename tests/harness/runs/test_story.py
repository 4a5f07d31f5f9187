"""What a journal tells: answers put together from parts, of attempts that went on or began anew."""

from __future__ import annotations

from typing import Any

import pytest

from harness.runs import story
from harness.runs.retry import Failure
from harness.runs.story import ANSWERED, Story


def sent(n: int, attempt: int, start: int = 0) -> dict[str, Any]:
    return {"kind": "sent", "n": n, "attempt": attempt, "from": start}


def parts(*found: tuple[int, str, list[int]]) -> dict[str, Any]:
    return {
        "kind": "parts",
        "parts": [[n, {"content": text, "token_ids": ids}] for n, text, ids in found],
    }


def ended(n: int, outcome: str, *, final: bool = True) -> dict[str, Any]:
    return {"kind": "ended", "n": n, "outcome": outcome, "final": final}


def test_answers_that_come_at_once_are_told_apart_and_in_the_order_of_their_ends() -> None:
    lines = [
        {"kind": "opened", "identity": {}},
        sent(0, 1),
        sent(1, 1),
        parts((0, "a", [1]), (1, "x", [7])),
        parts((1, "y", [8])),
        ended(1, ANSWERED),
        parts((0, "b", [2])),
        ended(0, ANSWERED),
    ]
    found = list(story.told(lines))
    assert [(one.n, one.answer) for one in found] == [
        (1, {"content": "xy", "token_ids": [7, 8]}),
        (0, {"content": "ab", "token_ids": [1, 2]}),
    ]
    assert all((one.attempts, one.continued) == (1, ()) for one in found)


def test_an_attempt_goes_on_behind_the_last_or_begins_anew() -> None:
    lines = [
        sent(0, 1),
        parts((0, "a", [1]), (0, "", [2])),
        ended(0, Failure.TRUNCATED, final=False),
        sent(0, 2, 1),  # the token without a text is asked for again
        parts((0, "b", [2, 3])),
        ended(0, Failure.STALLED, final=False),
        sent(0, 3, 3),
        parts((0, "c", [4])),
        ended(0, ANSWERED),
    ]
    (one,) = story.told(lines)
    assert one.answer == {"content": "abc", "token_ids": [1, 2, 3, 4]}
    assert (one.attempts, one.continued, one.outcome) == (3, (1, 3), ANSWERED)
    lines[6] = sent(0, 3)
    (anew,) = story.told(lines)
    assert (anew.answer, anew.continued) == ({"content": "c", "token_ids": [4]}, ())


def test_what_is_not_over_is_known_with_its_failures_and_all_that_had_come() -> None:
    told = Story()
    for line in (
        sent(0, 1),
        parts((0, "a", [1])),
        ended(0, Failure.SERVER, final=False),
        sent(0, 2, 1),
        parts((0, "b", [2])),
        sent(5, 1),
        ended(5, Failure.REFUSED),
    ):
        told.tell(line)
    assert told.over == {5: Failure.REFUSED}
    assert told.begun[0].answer.token_ids.tolist() == [1, 2]
    assert told.retries == 1
    assert (told.begun[0].attempts, told.begun[0].failures) == (2, {Failure.SERVER: 1})


def test_a_line_that_goes_on_where_nothing_can_be_gone_on_with_is_refused() -> None:
    with pytest.raises(ValueError, match=r"request 0 goes on behind token 2.* behind token 1"):
        list(story.told([sent(0, 1), parts((0, "a", [1]), (0, "", [2])), sent(0, 2, 2)]))
