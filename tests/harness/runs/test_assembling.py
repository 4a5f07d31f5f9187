"""Streams of both APIs, cut at every byte: the whole is the same however it comes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.runs import assembling
from harness.runs.answer import Answer
from harness.runs.assembling import MalformedError, Stream, ToldError

STOPPED = {"finish_reason": "stop", "done": True}
USAGE = {"prompt_tokens": 7, "completion_tokens": 5}


def event(**chunk: Any) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


def chat(**delta: Any) -> str:
    reason = delta.pop("finish_reason", None)
    return event(choices=[{"index": 0, "delta": delta, "finish_reason": reason}])


CALL = {"index": 0, "id": "f:0", "function": {"name": "find", "arguments": ""}}
MORE = {"index": 0, "id": None, "function": {"name": None, "arguments": '{"a"'}}
CHAT = (
    chat(role="assistant")
    + ": a comment\n\n"
    + chat(reasoning="Let ")
    + chat(reasoning_content="me — see")
    + chat(content="ü")
    + chat(tool_calls=[CALL])
    + chat(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}])
    + chat(content="", finish_reason="tool_calls")
    + event(choices=[], usage=USAGE)
    + "data: [DONE]\n\n"
).encode()
COMPLETION = (
    event(choices=[{"text": "one", "token_ids": [5, 6]}])
    + event(choices=[{"text": " two", "token_ids": [7], "finish_reason": "stop"}])
    + "data: [DONE]\n\n"
).encode()


ONCE = ("finish_reason", "half", "bare", "done")


def fed(pieces: list[bytes]) -> tuple[dict[str, Any], Stream]:
    stream, found = Stream(), dict[str, Any]()
    for piece in pieces:
        for name, value in stream.feed(piece).items():
            found[name] = value if name in ONCE else found.get(name, type(value)()) + value
    return found, stream


@given(cuts=st.lists(st.integers(0, len(CHAT)), max_size=8))
def test_a_stream_says_the_same_however_it_is_cut(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(CHAT)]
    found, stream = fed([CHAT[a:b] for a, b in itertools.pairwise(ends)])
    assert found == {
        "reasoning": "Let me — see",
        "content": "ü",
        "calls": [CALL, MORE],
        "finish_reason": "tool_calls",
        "done": True,
    }
    assert (stream.finish_reason, stream.usage, stream.done) == ("tool_calls", USAGE, True)
    assert stream.missing(ends_with_done=True) is None


def test_windows_line_ends_and_data_without_a_space_are_read_too() -> None:
    same, _ = fed([CHAT.replace(b"\n", b"\r\n").replace(b"data: ", b"data:")])
    assert same == fed([CHAT])[0]


def test_a_completion_brings_its_token_ids() -> None:
    found, stream = fed([COMPLETION])
    assert found == {"content": "one two", "token_ids": [5, 6, 7], **STOPPED}
    assert (stream.finish_reason, stream.chunks) == ("stop", 2)


@pytest.mark.parametrize("whole", [CHAT, COMPLETION])
def test_a_stream_that_ends_anywhere_before_done_is_no_whole_answer(whole: bytes) -> None:
    end = whole.index(b"[DONE]") + len(b"[DONE]\n")
    for cut in range(end):
        assert fed([whole[:cut]])[1].missing(ends_with_done=True) is not None, whole[:cut]
    assert fed([whole[:end]])[1].missing(ends_with_done=True) is None


def test_where_an_engine_sends_no_done_a_reason_is_enough_and_half_an_event_is_not() -> None:
    without = CHAT.replace(b"data: [DONE]\n\n", b"")
    assert fed([without])[1].missing(ends_with_done=False) is None
    assert fed([without])[1].missing(ends_with_done=True) == "without [DONE]"
    assert "middle" in (fed([without[:-3]])[1].missing(ends_with_done=False) or "")
    early = CHAT[: CHAT.index(b'tool_calls"}')]
    assert fed([early])[1].missing(ends_with_done=False) is not None


def test_what_comes_after_done_adds_nothing() -> None:
    found, stream = fed([CHAT, chat(content="garbage").encode(), b"data: {{{\n\n"])
    assert found == fed([CHAT])[0] and stream.done


@pytest.mark.parametrize(
    "wrong",
    [
        "data: <html>\n\n",
        "data: [1]\n\n",
        'data: {"choices": 5}\n\n',
        'data: {"choices": [{"delta": {"content": [1]}}]}\n\n',
        'data: {"choices": [{"text": "a", "token_ids": ["x"]}]}\n\n',
        'data: {"choices": [{"text": "a", "token_ids": [2147483648]}]}\n\n',
        'data: {"choices": [{"text": "a", "token_ids": [1.0]}]}\n\n',
        'data: {"choices": [{"index": 1, "text": "a"}]}\n\n',
        'data: {"choices": [{"message": {"content": "a"}}]}\n\n',
        'data: {"choices": [{"delta": {"tool_calls": [{"index": "0"}]}}]}\n\n',
        'data: {"choices": [{"delta": {"tool_calls": [{"function": "f"}]}}]}\n\n',
        'data: {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": {}}}]}}]}\n\n',
    ],
)
def test_an_event_that_is_no_part_of_an_answer_is_malformed(wrong: str) -> None:
    with pytest.raises(MalformedError, match=r"no JSON|no part of an answer"):
        fed([chat(content="a").encode(), wrong.encode()])


@pytest.mark.parametrize("came", ["<html>\n<body>no</body>", '{"object": "error"}', "<html>"])
def test_what_is_no_stream_of_events_at_all_is_shown(came: str) -> None:
    stream = fed([came.encode()])[1]
    assert stream.missing(ends_with_done=True) is not None
    assert stream.stranger() == came.split("\n")[0].encode()
    for events in (CHAT, COMPLETION, b"", b": a comment\n\n"):
        assert fed([events])[1].stranger() is None


def test_a_server_may_say_in_the_stream_that_it_has_failed() -> None:
    with pytest.raises(ToldError, match="overloaded"):
        fed([chat(content="a").encode(), event(error={"message": "overloaded"}).encode()])


@pytest.mark.parametrize(
    ("error", "refused"),
    [({"code": 400}, True), ({"code": 422}, True), ({"code": 500}, False), ("400", False)],
)
def test_or_that_it_refuses_what_was_asked(error: object, refused: bool) -> None:
    with pytest.raises(ToldError) as told:
        fed([event(error=error).encode()])
    assert told.value.refused is refused


def test_a_flood_without_an_end_of_line_is_malformed_and_not_kept() -> None:
    stream = Stream()
    with pytest.raises(MalformedError, match="more than"):
        for _ in range(20):
            stream.feed(b"x" * (1 << 20))


ODD = {
    "a byte-order mark": (b"\xef\xbb\xbf" + COMPLETION, "one two"),
    "heartbeats": (COMPLETION.replace(b"data: {", b"data:\n\n: beat\n\ndata: {"), "one two"),
    "ids of events": (COMPLETION.replace(b"\n\n", b"\nid: 7\n\n"), "one two"),
    "white space": (COMPLETION.replace(b"[DONE]", b" [DONE] "), "one two"),
    "no errors": (COMPLETION.replace(b'{"choices"', b'{"error": null, "choices"'), "one two"),
    "a reason twice": (
        COMPLETION.replace(
            b"data: [D",
            event(choices=[{"text": "", "finish_reason": "stop"}]).encode() + b"data: [D",
        ),
        "one two",
    ),
    "counts that are none": (
        event(usage="many").encode() + event(usage=[1]).encode() + COMPLETION,
        "one two",
    ),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_what_is_odd_and_allowed_is_read_however_it_comes(name: str, size: int) -> None:
    stream, text = ODD[name]
    found, read = fed([stream[i : i + size] for i in range(0, len(stream), size)])
    assert (found["content"], read.usage) == (text, None)
    assert read.missing(ends_with_done=True) is None


def test_a_key_that_is_echoed_is_hidden_also_where_json_escapes_it() -> None:
    key = "sk-a/very/secret"
    stream = Stream(key)
    found = stream.feed(chat(content=f"the {key}").replace("/", "\\/").encode())
    assert found["content"] == "the ***"
    with pytest.raises(ToldError) as told:
        stream.feed(event(error={"message": key}).encode())
    with pytest.raises(MalformedError) as malformed:
        stream.feed(f"data: {{{key}\n\n".encode())
    assert key not in f"{told.value} {malformed.value}"


ECHOES: tuple[dict[str, Any], ...] = (
    {"tool_calls": [{"index": 0, "id": "sk-a+key", "function": {"name": "sk-a+key"}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": "sk-a+key"}'}}]},
    {"content": "sk-a+key", "reasoning": "sk-a+key"},
)


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("escaped", [False, True])
def test_a_key_is_hidden_wherever_it_is_echoed(echo: dict[str, Any], escaped: bool) -> None:
    """Calls and logprobs are handed on too; some servers escape what need not be."""
    key = "sk-a+key"
    token = {"token": key, "logprob": -1.5, "top_logprobs": [{"token": key, "logprob": -1.5}]}
    choice = {"delta": echo, "logprobs": {"content": [token]}, "finish_reason": key}
    text = event(choices=[choice], usage={"prompt_tokens": 7, "of": [key]})
    stream = Stream(key, more=True)
    found = stream.feed((text.replace("+", "\\u002b") if escaped else text).encode())
    shown = json.dumps([found, stream.usage])
    assert key not in shown and "***" in shown
    assert found["logprobs"][0]["logprob"] == -1.5
    (plain,) = Stream(more=True).feed(text.encode())["logprobs"]
    assert plain == token


@pytest.mark.parametrize("key", ["0", "null", "a", "index", "-"])
def test_a_key_that_json_is_made_of_breaks_no_event(key: str) -> None:
    """A server that wants none is given any."""
    stream = Stream(key)
    for piece in (chat(content="1"), chat(tool_calls=[CALL])):
        stream.feed(piece.encode())
    assert stream.chunks == 2


def test_an_event_that_is_nested_without_end_is_malformed_where_a_key_is_hidden() -> None:
    deep = b'{"x": ' + b"[" * 900 + rb'"\u0041"' + b"]" * 900 + b"}"
    with pytest.raises(MalformedError, match="no part of an answer"):
        Stream("sk-secret").feed(b"data: " + deep + b"\n\n")


def test_an_event_without_an_end_is_not_held_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembling, "MOST_BYTES", 1000)
    for piece in (b"x" * 100, b"data: x\n"):
        stream = Stream()
        with pytest.raises(MalformedError, match="more than 1,000 bytes"):
            for _ in range(2000):
                stream.feed(piece)


def test_an_answer_is_never_gone_on_with_behind_half_a_character_however_it_comes() -> None:
    """A token without a text may be one."""
    two = [event(choices=[{"text": text, "token_ids": [1]}]).encode() for text in ("a", "")]
    safe: list[int] = []
    for pieces in (two, [b"".join(two)]):
        answer, stream = Answer(), Stream()
        for piece in pieces:
            answer.add(stream.feed(piece))
        safe.append(answer.safe)
    assert safe == [1, 0]
