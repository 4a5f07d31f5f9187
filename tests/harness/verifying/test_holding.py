"""Cases that are held beside each other, as a run's answers are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from harness.base.held import Held, How, broken, kept, taken
from harness.base.reply import Reply
from harness.base.suite import Suite
from harness.runs.plan import Asked, Cases
from harness.verifying.holding import Row, counts, rows
from suites import owed
from suites.owed import Beside, Owed

EPOCHS = 2


def one(name: str, beside: Beside | None = None) -> Owed:
    return Owed(
        id=name,
        what=f"{name} is answered",
        body={"messages": [], "max_tokens": 1},
        hold=lambda reply: taken(reply, lambda _: kept("answered"), whole=False),
        ways=(owed.WHOLE,),
        beside=beside,
    )


def longer(reply: Reply, other: Reply) -> Held:
    seen = f"{reply.content} beside {other.content}"
    return kept(seen) if len(reply.content) > len(other.content) else broken(seen)


ALONE = owed.suite("alone", "1", [one("only")])
PAIR = owed.suite("pair", "1", [one("short"), one("long", Beside(id="short", hold=longer))])


def cases(*suites: Suite) -> Cases:
    asked = [Asked(suite=suite, tasks=suite.tasks, continues=False) for suite in suites]
    return Cases(asked, EPOCHS)


def answer(n: int, content: str) -> dict[str, Any]:
    return {"n": n, "outcome": "answered", "content": content, "finish_reason": "stop"}


def found(folder: Path, answers: list[dict[str, Any]]) -> list[Row]:
    """The numbers of `pair`: short 2 and 4, long 3 and 5, of the epochs 0 and 1."""
    path = folder / "e.jsonl"
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in answers))
    return rows(cases(ALONE, PAIR), {"e": path})


def of_long(folder: Path, answers: list[dict[str, Any]]) -> Held:
    (row,) = (row for row in found(folder, answers) if row.case == "long/whole")
    return row.held["e"]


def test_a_case_is_held_beside_the_other_of_its_own_epoch(tmp_path: Path) -> None:
    first, second = [answer(2, "a"), answer(3, "aa")], [answer(4, "bb"), answer(5, "bbb")]
    assert of_long(tmp_path, [*first, *second]) == kept("aa beside a")
    assert of_long(tmp_path, [*second, *reversed(first)]) == kept("bbb beside bb")
    same = [answer(3, "aa"), answer(4, "aa"), answer(5, "aa"), answer(2, "a")]
    assert of_long(tmp_path, same) == broken("aa beside aa (1 of 2)")


def test_a_case_whose_other_has_no_answer_says_nothing(tmp_path: Path) -> None:
    failed = {"n": 4, "outcome": "server", "status": 500, "why": "dead"}
    held = of_long(tmp_path, [answer(2, "a"), answer(3, "aa"), failed, answer(5, "bb")])
    assert held.how is How.UNANSWERED
    assert held.why == "nothing to hold it beside: short/whole: server (500): dead (1 of 2)"


def test_a_case_that_was_not_asked_in_every_epoch_is_unanswered(tmp_path: Path) -> None:
    held = of_long(tmp_path, [answer(2, "a"), answer(3, "aa"), answer(4, "b")])
    assert held == Held(how=How.UNANSWERED, why="not asked (1 of 2)")
    assert of_long(tmp_path, []) == Held(how=How.UNANSWERED, why="not asked")


def test_no_case_leaves_its_suite_s_count(tmp_path: Path) -> None:
    all_rows = found(tmp_path, [answer(0, "x"), answer(1, "x"), answer(3, "aa")])
    alone, pair = counts(all_rows, "e")
    assert (alone.counts, alone.cases) == ({How.KEPT: 1}, 1)
    assert (pair.counts, pair.cases) == ({How.UNANSWERED: 2}, 2)
