"""Parsed answers against what a stream holds: what counts, what does not, and what is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.stream import Call, Parsed, ParsedCall, Stream
from harness.checker.parsing import Deviation, deviation, judge

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def stream(**parts: Any) -> Stream:
    fixed: dict[str, Any] = {"thinking": False, "tools": True, "letters": False, "finish": "stop"}
    return Stream(id="s", text="", **{**fixed, **parts})


def parsed(*calls: ParsedCall, cuttings: str = "unstreamed", **parts: Any) -> Parsed:
    fixed: dict[str, Any] = {"error": None, "reasoning": "", "content": ""}
    return Parsed(calls=calls, cuttings=tuple(cuttings.split(", ")), **{**fixed, **parts})


def call(arguments: str, *, name: str = "search", id_: str = "search:0") -> ParsedCall:
    return ParsedCall(id=id_, name=name, arguments=arguments)


def told(given_: Stream, *answers: Parsed) -> str:
    found = deviation(given_, answers)
    assert found is not None
    return found.told()


def test_white_space_around_a_part_does_not_count_and_within_it_does() -> None:
    given_ = stream(reasoning="", content="a\n\nb")
    assert deviation(given_, [parsed(content="\n a\n\nb ")]) is None
    assert told(given_, parsed(content="a\nb")) == (
        'stream s, however it is cut: content "a\\nb", where it ought to be "a\\n\\nb"'
    )


@given(arguments=st.dictionaries(st.text(), JSON), indent=st.sampled_from([None, 0, 3]))
def test_arguments_are_compared_as_json_values(arguments: dict[str, Any], indent: int) -> None:
    given_ = stream(calls=(Call(name="search", arguments=arguments, id="search:0"),))
    mixed = dict(reversed(arguments.items()))
    for text in (json.dumps(mixed, indent=indent), json.dumps(mixed, ensure_ascii=False)):
        assert deviation(given_, [parsed(call(text))]) is None
    more = json.dumps({**arguments, "\N{SNOWMAN} more": 1})
    assert deviation(given_, [parsed(call(more))])


@pytest.mark.parametrize("part", ["reasoning", "content", "calls", "error"])
def test_every_part_counts_whether_it_is_laid_down_or_not(part: str) -> None:
    laid_down = stream(reasoning="", content="", calls=())
    more: dict[str, Any] = {"calls": call("{}")} if part == "calls" else {part: "more"}
    calls = (more.pop("calls"),) if part == "calls" else ()
    assert told(laid_down, parsed(*calls, **more)).startswith(
        f"stream s, however it is cut: {part}"
    )
    assert deviation(stream(), [parsed(), parsed(*calls, cuttings="in one piece", **more)])


def test_true_is_not_one() -> None:
    given_ = stream(calls=(Call(name="search", arguments={"n": True}, id="search:0"),))
    assert deviation(given_, [parsed(call('{"n": 1}'))])


def test_of_an_answer_that_was_cut_off_a_call_that_is_not_whole_is_left_out() -> None:
    for text in ('{"query": "wea', ""):
        assert deviation(stream(finish="length", calls=()), [parsed(call(text))]) is None
        assert deviation(stream(finish="stop", calls=()), [parsed(call(text))])
    assert told(stream(finish="length", calls=()), parsed(call("{}"))).endswith("to be nothing")


def test_what_is_not_laid_down_must_be_the_same_however_it_is_cut() -> None:
    first, other = parsed(content="a"), parsed(content="b", cuttings="token by token, in one piece")
    assert deviation(stream(), [first]) is None
    assert deviation(stream(), [first, other]) == Deviation(
        stream="s",
        cuttings=("token by token", "in one piece"),
        of=3,
        ways=1,
        part="content",
        expected='"a"',
        found='"b"',
    )
    assert told(stream(content="b"), first, other).startswith("stream s, unstreamed: content")


def test_an_id_that_is_not_laid_down_must_be_there_and_the_same() -> None:
    given_ = stream(calls=(Call(name="search", arguments={}),))
    same = [parsed(call("{}", id_="x:2")), parsed(call("{}", id_="x:2"), cuttings="token by token")]
    assert deviation(given_, same) is None
    assert deviation(given_, [same[0], parsed(call("{}", id_="x:0"), cuttings="token by token")])
    assert deviation(given_, [parsed(call("{}", id_=""))])


def test_an_error_is_a_deviation_and_says_what_the_server_would() -> None:
    said = told(stream(content="a"), parsed(error="KeyError: 'x'"))
    assert said.startswith("stream s, however it is cut: error \"KeyError: 'x'\", where")


def test_cuttings_are_named_and_many_of_them_counted() -> None:
    names = ", ".join(f"cut after token {n}" for n in range(1, 6))
    same, other = parsed(content="a"), parsed(content="c", cuttings="token by token")
    assert told(stream(), same, parsed(content="b", cuttings=names), other) == (
        "stream s, in 6 of 7 cuttings (cut after token 1, cut after token 2, ...): "
        'content "b" (and 1 other ways), where it ought to be "a"'
    )


def test_of_long_parts_the_place_where_they_part_is_shown() -> None:
    long = "x" * 1000
    said = told(stream(content=f"{long}right{long}"), parsed(content=f"{long}wrong{long}"))
    assert "xxright" in said
    assert "xxwrong" in said
    assert len(said) < 600


SAME = parsed(content="a")
TOKENS = parsed(content="b", cuttings="token by token")
PIECES = parsed(content="b", cuttings="in one piece, cut after token 1 of 2")


@pytest.mark.parametrize(
    ("known", "undeclared", "declared", "unmet"),
    [
        ([], 3, 0, []),
        (["s"], 0, 3, []),
        (["s/tokens"], 2, 0, []),
        (["s/pieces"], 1, 0, []),
        (["s/pieces", "s/tokens"], 0, 3, []),
        (["s", "s/unstreamed"], 0, 3, ["s/unstreamed"]),
        (["other"], 3, 0, ["other"]),
    ],
)
def test_what_a_pin_declares_is_told_apart_by_kinds_of_cuttings(
    known: list[str], undeclared: int, declared: int, unmet: list[str]
) -> None:
    said = judge([stream()], {"s": [SAME, TOKENS, PIECES]}, known)
    assert sum(len(one.cuttings) for one in said.undeclared) == undeclared
    assert sum(len(one.cuttings) for one in said.declared) == declared
    assert list(said.unmet) == unmet


def test_what_is_declared_and_does_not_occur_is_said() -> None:
    said = judge([stream()], {"s": [SAME]}, ["s", "s/pieces"])
    assert (said.undeclared, said.declared, said.unmet) == ((), (), ("s", "s/pieces"))
