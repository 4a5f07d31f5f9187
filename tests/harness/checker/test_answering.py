"""What an answer owes whatever its text: no right answer is accused, in any of its forms."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.checker import answering
from launchers.openai_api import Answered, Choice, ToolCall

TEXT = st.text(alphabet="ab cd\n", max_size=40)


def said(
    content: str = "",
    *,
    reasoning: str = "",
    reason: str = "stop",
    count: int | None = 5,
    calls: tuple[ToolCall, ...] = (),
) -> Answered:
    choice = Choice(content=content, reasoning=reasoning, tool_calls=calls, finish_reason=reason)
    return Answered(choices=(choice,), prompt_tokens=3, completion_tokens=count)


@given(reasoning=TEXT, content=TEXT)
def test_an_answer_that_ends_before_its_stop_string_is_right(reasoning: str, content: str) -> None:
    whole = said(content, reasoning=reasoning).choices[0]
    stop = answering.stop_of(whole)
    if stop is None:
        return
    text = reasoning + content
    assert text.startswith(stop.before + stop.string)
    assert stop.string not in stop.before
    assert stop.string in reasoning or stop.string in content  # a marker lies between the two
    cut = said(stop.before[len(reasoning) :], reasoning=stop.before[: len(reasoning)]).choices[0]
    assert answering.stopped(stop, cut) is None
    assert answering.stopped(stop, whole) is not None


def test_a_long_answer_has_a_stop_string_and_one_with_calls_has_none() -> None:
    assert answering.stop_of(said("one two three four five six").choices[0]) is not None
    assert answering.stop_of(said("one two").choices[0]) is None
    assert answering.stop_of(said("one <|tool_call_begin|> three four five").choices[0]) is None
    call = ToolCall(id="1", name="f", arguments="{}")
    assert answering.stop_of(said("one two three four five six", calls=(call,)).choices[0]) is None


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(("stop", "length", "tool_calls")))
def test_a_count_is_right_just_where_the_limit_allows_it(
    count: int, limit: int, reason: str
) -> None:
    calls = (ToolCall(id="1", name="f", arguments="{}"),) if reason == "tool_calls" else ()
    wrong = answering.by_itself(
        said("a", reason=reason, count=count, calls=calls), max_tokens=limit
    )
    right = count == limit if reason == "length" else count <= limit
    assert (not wrong) is right


def test_what_is_not_counted_is_not_held_against_a_limit() -> None:
    assert answering.by_itself(said("a", reason="length", count=None), max_tokens=1) == []


ANSWER = st.builds(
    said,
    st.sampled_from(("", "a", "b")),
    reasoning=st.sampled_from(("", "r")),
    reason=st.sampled_from(("stop", "length")),
    count=st.sampled_from((None, 1, 2)),
)


@given(st.lists(ANSWER, min_size=1, max_size=8), st.lists(ANSWER, min_size=1, max_size=8))
def test_one_answer_in_common_excuses_all(whole: list[Answered], streamed: list[Answered]) -> None:
    assert answering.disagreement([*whole, streamed[0]], streamed) == []


def test_what_never_agrees_is_named_and_white_space_that_means_nothing_is_not() -> None:
    assert answering.disagreement([said("a", reasoning="r\n")], [said("\na ", reasoning="r")]) == []
    one = ToolCall(id="1", name="f", arguments='{"a": 1}')
    same = ToolCall(id="1", name="f", arguments='{"a":1}')
    other = ToolCall(id="1", name="f", arguments='{"a": 2}')
    calls = [said(calls=(call,), reason="tool_calls") for call in (one, same, other)]
    assert answering.disagreement(calls[:1], calls[1:2]) == []
    assert answering.disagreement(calls[:1], calls[2:]) == [
        "tool calls is [('f', {'a': 1})] unstreamed and [('f', {'a': 2})] streamed"
    ]
    assert answering.disagreement([said("a")], [said("b", count=None)]) == [
        "content is 'a' unstreamed and 'b' streamed"
    ]


def test_an_answer_that_is_not_counted_may_have_been_cut_off() -> None:
    cut = [said(count=96), said(count=None), said(reason="length", count=4)]
    assert all(answering.cut_off(answer, max_tokens=96) for answer in cut)
    assert not answering.cut_off(said(count=95), max_tokens=96)
