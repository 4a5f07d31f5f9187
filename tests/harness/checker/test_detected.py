"""Counts over many answers: of how many, and the first examples."""

from __future__ import annotations

from collections.abc import Generator

from harness.checker.detected import EXAMPLES, Example, Found, counted
from harness.checker.detectors import DETECTORS, Detection


def found(n: int, *names: str, answered: bool = True) -> Found:
    detections = tuple(Detection(name=name, evidence=f"{name} {n}") for name in names)
    return Found(n=n, case=f"c{n}", answered=answered, detections=detections)


def test_each_detector_is_counted_over_the_answers_and_not_over_the_failed() -> None:
    whole = counted(
        [found(0, "loop"), found(1, answered=False), found(2), found(3, "loop", "truncated")]
    )
    assert (whole.asked, whole.answered) == (4, 3)
    assert [row.name for row in whole.rows] == list(DETECTORS)
    assert {row.name: row.answers for row in whole.rows if row.answers} == {
        "truncated": 1,
        "loop": 2,
    }
    (loops,) = (row for row in whole.rows if row.name == "loop")
    assert loops.examples == (
        Example(n=0, case="c0", evidence="loop 0"),
        Example(n=3, case="c3", evidence="loop 3"),
    )


def test_many_are_read_once_and_only_the_first_are_kept() -> None:
    def stream() -> Generator[Found]:
        for n in range(10_000):
            yield found(n, "empty")

    (empty,) = (row for row in counted(stream()).rows if row.answers)
    assert empty.answers == 10_000
    assert [example.n for example in empty.examples] == list(range(EXAMPLES))


def test_of_nothing_nothing_is_counted() -> None:
    whole = counted([])
    assert (whole.asked, whole.answered) == (0, 0)
    assert not any(row.answers or row.examples for row in whole.rows)
