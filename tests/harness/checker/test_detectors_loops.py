"""Texts that run in circles are found, and texts that only have much in common are not."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.base.reply import ANSWERED, Call, Reply
from harness.checker import detectors_loops
from harness.checker.asked import Asked
from harness.checker.detectors_loops import (
    LAST,
    LOOP_CHARACTERS,
    LOOP_TIMES,
    loop,
    period,
    repetition,
)

NOTHING = Asked(messages=(), tools=None)
PROSE = (
    "The river rises in the hills above the town, and in spring it carries more water than the old "
    "bridge was built for. In the year of the great flood the council had a wall of stone put up, "
    "which still stands. Children walk along it to school, though they are told every autumn that "
    "they should not. Nobody has ever fallen, and so nobody has ever had it closed. "
)
ESSAY = (
    "河流从镇子上方的山丘发源，春天水量比老桥所能承受的还要多。大洪水那年，镇议会修了一道石墙，"
    "至今仍在。孩子们沿着它去上学，尽管每年秋天都有人告诫他们不要这样做。从来没有人掉下去过，"
    "所以也从来没有人把它关掉。"
)
VERSES = (
    "Река берёт начало в холмах над городом, и весной в ней больше воды, чем выдержит старый мост. "
    "В год большого наводнения совет велел поставить каменную стену, которая стоит и поныне. "
)
TABLE = "| day | state | remark |\n|---|---|---|\n" + "".join(
    f"| {day} | fine | nothing happened on this day, and nobody was seen |\n" for day in range(90)
)
BLANK = (
    "| Name | Date | Signature |\n|------|------|-----------|\n"
    + "|      |      |           |\n" * 20
)
LIST = "".join(f"{n}. Add the {n}th number to the sum and write it down.\n" for n in range(1, 80))
CODE = "def add(a, b):\n    return a + b\n\n\n" + "".join(
    f"assert add({n}, 1) == {n + 1}\n" for n in range(60)
)
BRACES = "{\n" * 40 + "    return 0;\n" + "}\n" * 60
ROWS = "```html\n" + "<tr><td></td><td></td><td></td></tr>\n" * 60 + "```\n"
MATHS = "$$\\sum_{i=1}^{n} i = \\frac{n(n+1)}{2}$$ " + " + ".join(str(n) for n in range(400))


def reply(content: str, reasoning: str = "") -> Reply:
    return Reply(outcome=ANSWERED, content=content, reasoning=reasoning, finish_reason="length")


@pytest.mark.parametrize(
    "end",
    [
        "I should check this again. " * 20,
        "Wait, maybe not.\n\n" * 30,
        "no " * 120 + "\n\n",
        "让我再想一想。" * 60,
        "もう一度考えてみましょう。" * 30,
        "Подождите, я проверю ещё раз. " * 15,
        "!" * 400,
        "0, 0, 1, " * 60,
        "哈" * 400,
        "<td></td>" * 50,
        " \n" * 400,
        "\n" * 300,
        "|  |\n" * 300,
        PROSE * 4,
        "ab" * 5000 + "a",
    ],
)
def test_a_piece_that_comes_again_and_again_at_the_end_is_a_loop(end: str) -> None:
    for before in ("", PROSE, ESSAY, CODE):
        assert loop(reply(before + end), NOTHING) is not None
        assert loop(reply("", reasoning=before + end), NOTHING) is not None
        call = Call(id="1", name="write", arguments='{"text": "' + before + end)
        first = Call(id="0", name="write", arguments="{}")
        called = Reply(outcome=ANSWERED, calls=(first, call), finish_reason="length")
        assert loop(called, NOTHING) is not None


@pytest.mark.parametrize(
    "text",
    [
        *("", PROSE, PROSE * 3, ESSAY, VERSES, TABLE, BLANK, LIST, CODE, BRACES, ROWS, MATHS),
        *("ha " * 50, "=" * 120, "A" * 250, "\n" * 200, "________ " * 30, "1/3 = 0." + "3" * 200),
        *("no, " * 60 + "no!", "I will not talk in class.\n" * 10),
    ],
)
def test_prose_tables_lists_and_code_are_no_loops(text: str) -> None:
    assert loop(reply(text), NOTHING) is None
    assert loop(reply(text, reasoning=text), NOTHING) is None


def test_the_evidence_says_where_how_often_and_what() -> None:
    assert loop(reply("So: " + "Wait, no. " * 50), NOTHING) == (
        "the answer ends in 50.1 times 'Wait, no. '"
    )
    assert loop(reply("a", reasoning="b" * 301), NOTHING) == "the reasoning ends in 301.0 times 'b'"
    assert (
        loop(reply("a" + "\n" * 300), NOTHING) == "the answer ends in 300 characters of white space"
    )


def test_what_had_looped_and_went_on_is_no_loop_but_repetition() -> None:
    text = "Wait, let me count them again from the start, one by one. " * 60 + PROSE
    assert loop(reply(text), NOTHING) is None
    assert repetition(reply(text), NOTHING) is not None


@given(st.text(), st.text(st.characters(), min_size=1, max_size=80), st.integers(0, 3))
def test_a_loop_behind_any_text_is_found(before: str, piece: str, more: int) -> None:
    assume(any(map(str.isalnum, piece)))
    times = max(LOOP_TIMES, -(-LOOP_CHARACTERS // len(piece))) + more
    assert loop(reply(before + piece * times), NOTHING) is not None


@given(st.lists(st.sampled_from(["a", "b", "ab", "aab", "abab"])).map("".join))
def test_the_period_is_the_shortest_that_there_is(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors_loops, "LOOP_CHARACTERS", 5)
        patch.setattr(detectors_loops, "LOOP_TIMES", 2)
        assert period(text) == slowly(text, characters=5, times=2)


def slowly(text: str, *, characters: int, times: int) -> tuple[str, int] | None:
    for shift in range(1, len(text) // times + 1):
        pairs = zip(reversed(text), reversed(text[:-shift]), strict=False)
        length = shift + sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        if length >= max(characters, times * shift):
            return text[-shift:], length
    return None


@pytest.mark.parametrize(
    "text",
    [
        "Let me think about the first case once more, for it may be that I have missed one. " * 30,
        (PROSE * 2 + "So it is. ") * 3,
        ESSAY * 3,
        "让我再想一想，这个问题其实并不难，只要把前面的条件都列出来，然后一个一个地检查就可以了。"
        * 9,
        VERSES * 15,
        LIST * 4,
    ],
)
def test_a_text_that_is_mostly_said_before_is_repetition(text: str) -> None:
    assert repetition(reply(text + "And that is all there is to say."), NOTHING) is not None
    assert repetition(reply("", reasoning=text), NOTHING) is not None


@pytest.mark.parametrize(
    "text",
    [
        *("", PROSE, PROSE * 2, ESSAY, ESSAY * 2, VERSES, TABLE, TABLE * 2, BLANK, LIST, CODE),
        *(LIST + PROSE + LIST, ROWS, BRACES, MATHS, "ha " * 100, "哈" * 100),
    ],
)
def test_what_is_said_twice_or_differs_by_a_number_is_no_repetition(text: str) -> None:
    assert repetition(reply(text), NOTHING) is None


def test_the_share_of_a_repetition_is_told_with_the_words_that_come_most() -> None:
    words = " ".join(f"w{n}" for n in range(20))
    told = repetition(reply((words + " ") * 20), NOTHING)
    assert told is not None
    assert told.startswith("95% of the answer; 20 times 'w0 w1 ")  # 20 of 381 runs are new


def test_a_hundred_thousand_characters_are_looked_at_from_the_end() -> None:
    rng = random.Random(1)
    noise = "".join(rng.choice("abcdefgh ") for _ in range(2 * LAST))
    assert loop(reply(noise), NOTHING) is None
    assert loop(reply(noise + "Again. " * 50), NOTHING) is not None
    assert loop(reply(noise[: LAST // 4] * 4), NOTHING) is not None
    assert loop(reply(noise[: LAST // 3] * 3), NOTHING) is None
    assert loop(reply("字" * 2 * LAST), NOTHING) == f"the answer ends in {LAST}.0 times '字'"
