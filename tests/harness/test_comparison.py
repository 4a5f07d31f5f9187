"""What several words come to together, and the page that shows it."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from harness import comparison, evidence, lineup
from harness.checker.outcome import Word
from harness.comparison import Comparison, Pair, Row
from harness.report import comparison_page
from tests.building import distance

EQUAL = Row(
    name="tiny/one",
    numerics="fp32",
    word=Word.EQUIVALENT,
    level="L1",
    reasons=("all 16 statistics are within tolerance",),
    tokens=208_000,
    seconds=25.5,
    launch_seconds=16.0,
    report="candidates/0/report.html",
    error=None,
    exit_code=0,
)
OTHER = replace(EQUAL, name="tiny/two", word=Word.DIFFERENT, level="L2", exit_code=1)
OPEN = replace(EQUAL, name="tiny/three", word=Word.INCONCLUSIVE, level="L2", exit_code=3)
DEAD = replace(
    EQUAL,
    name="tiny/four",
    word=None,
    level=None,
    reasons=(),
    tokens=None,
    seconds=None,
    launch_seconds=None,
    report=None,
    error="The engine ended with exit code 1.\nlog: ...",
    exit_code=4,
)


@pytest.mark.parametrize(
    ("rows", "code", "word", "said"),
    [
        ([EQUAL, EQUAL], 0, Word.EQUIVALENT, "All 2 compute"),
        ([EQUAL, EQUAL, OTHER], 1, Word.DIFFERENT, "tiny/two is the odd one out"),
        ([EQUAL, OTHER], 1, Word.DIFFERENT, "sides with tiny/one; tiny/two"),
        ([OTHER, OTHER], 1, Word.DIFFERENT, "None of the 2"),
        ([EQUAL, OPEN], 3, Word.INCONCLUSIVE, "sides with tiny/one; the others"),
        ([EQUAL, DEAD], 4, Word.INCONCLUSIVE, "sides with tiny/one; the others"),
        ([OTHER, DEAD], 4, Word.DIFFERENT, "tiny/two computes something else"),
        ([OPEN, OPEN], 3, Word.INCONCLUSIVE, "Nothing is decided"),
        ([DEAD, DEAD], 4, Word.INCONCLUSIVE, "Nothing is decided"),
        ([EQUAL, replace(DEAD, exit_code=70)], 70, Word.INCONCLUSIVE, "sides with"),
    ],
)
def test_a_failure_is_no_word_and_one_difference_is_enough(
    rows: list[Row], code: int, word: Word, said: str
) -> None:
    assert comparison.exit_code(rows) == code
    assert comparison.word_of(rows) is word
    assert said in comparison.conclusions(rows)[0]


def test_who_failed_and_who_is_open_is_said_by_name() -> None:
    _, lines = comparison.conclusions([EQUAL, OPEN, DEAD])
    assert "tiny/three" in lines[0]
    assert "tiny/four" in lines[1] and "no verdict" in lines[1]


def whole(rows: tuple[Row, ...]) -> Comparison:
    headline, lines = comparison.conclusions(rows)
    return Comparison(
        schema=1,
        word=comparison.word_of(rows),
        headline=headline,
        conclusions=lines,
        against="tiny.trace",
        rows=rows,
        pairs=(Pair(first=0, second=1, mean_absolute_d=0.012, tokens=4834),),
        caveats=("nothing is corrected",),
        command="enginediff check a b --against tiny.trace",
        provenance={"enginediff": "0"},
    )


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href" and value is not None]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_names_every_candidate_links_its_report_and_shows_the_pair() -> None:
    reader = Reader()
    reader.feed(comparison_page.page(whole((EQUAL, OTHER, DEAD))))
    for words in ("tiny/one", "tiny/two", "tiny/four", "failed", "exit code 1", "4,834 tokens"):
        assert words in reader.text
    assert reader.links.count("candidates/0/report.html") == 2
    assert not any(link.startswith("http") for link in reader.links)


def test_a_hostile_name_stays_text() -> None:
    row = replace(EQUAL, name="<script>x</script>", report='"><script>')
    reader = Reader()
    reader.feed(comparison_page.page(whole((row, OTHER))))
    assert "script" not in reader.tags


def test_the_json_is_one_line_with_the_run(tmp_path: Path) -> None:
    line = comparison.to_json(whole((EQUAL, OTHER)), tmp_path)
    assert line.count(b"\n") == 1
    assert json.loads(line)["run"] == str(tmp_path)


def test_two_candidates_are_compared_on_the_tokens_that_both_scored(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = {case: rng.normal(size=9) for case in ("a", "b", "c")}
    for number, cases in enumerate(("abc", "bc")):
        path = tmp_path / "candidates" / str(number) / evidence.FILE
        path.parent.mkdir(parents=True)
        with evidence.written(path) as file:
            for case in cases:
                file.add("L2", "chat", case, distance(values[case] + 0.25 * number))
                file.add("L1", "repeat", case, distance(values[case] * 50))
    (pair,) = lineup.pairs(tmp_path, [EQUAL, OTHER])
    assert pair.tokens == 18
    assert pair.mean_absolute_d == pytest.approx(0.25)
    assert lineup.pairs(tmp_path, [EQUAL, DEAD]) == ()
