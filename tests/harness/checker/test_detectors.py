"""What an answer shows by itself: the table of detectors, and those that look at its ending."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.reply import ANSWERED, REFUSED, Call, Reply
from harness.checker.asked import Asked
from harness.checker.detectors import DETECTORS, SHOWN, detect

TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]
ASKED = Asked(messages=[{"role": "user", "content": "What is the capital of France?"}], tools=TOOLS)
CALL = Call(id="search:0", name="search", arguments="{}")
PIECES = ["<think>", "<|", "|>", "[EOS]", "<tool_call>", '{"name": "search", "arguments": {', "```"]
LETTERS = ["`", "(", '"', "\n", " ", "あ", "漢字", "привет", "ha ", "a", "\ud800", "\x00", "\ufffd"]
ANY_TEXT = st.text(st.characters()) | st.lists(st.sampled_from([*PIECES, *LETTERS])).map("".join)


def names(**parts: Any) -> list[str]:
    fixed: dict[str, Any] = {"outcome": ANSWERED, "finish_reason": "stop"}
    reply = Reply(**{**fixed, **parts})
    return [found.name for found in detect(reply, ASKED)]


@pytest.mark.parametrize(
    "parts",
    [
        {"content": "Paris."},
        {"content": "Paris.", "reasoning": "France: Paris."},
        {"calls": (CALL,), "finish_reason": "tool_calls", "reasoning": "I look it up."},
        {"calls": (CALL,), "finish_reason": "stop"},
        {"content": "Paris, of course. 🇫🇷", "finish_reason": "stop"},
        {"content": "", "finish_reason": "content_filter"},
        {"content": "", "finish_reason": None},
    ],
)
def test_an_answer_as_it_should_be_shows_nothing(parts: dict[str, Any]) -> None:
    assert names(**parts) == []


@pytest.mark.parametrize("content", ["", " ", "\n\n", "\u3000"])
def test_reasoning_without_an_answer_and_nothing_at_all_are_told_apart(content: str) -> None:
    assert names(content=content, reasoning="The user wants 巴黎.") == ["reasoning_only"]
    assert names(content=content, reasoning=content) == ["empty"]


def test_an_empty_answer_tells_how_many_tokens_it_took() -> None:
    reply = Reply(outcome=ANSWERED, finish_reason="stop", usage={"completion_tokens": 7})
    assert detect(reply, ASKED)[0].evidence == "nothing, of 7 tokens"


@pytest.mark.parametrize("parts", [{}, {"reasoning": "Let me"}, {"content": "Paris is th"}])
def test_an_answer_that_was_cut_off_is_truncated_and_not_empty(parts: dict[str, str]) -> None:
    assert names(**parts, finish_reason="length") == ["truncated"]


@pytest.mark.parametrize("outcome", [REFUSED, "stalled", "server", "cut"])
def test_nothing_is_found_in_what_is_no_answer(outcome: str) -> None:
    assert names(outcome=outcome) == []
    assert names(outcome=outcome, content="<think>", finish_reason="length") == []


def test_all_that_is_found_is_told_in_the_order_of_the_table() -> None:
    found = names(
        content="</think>" + "wait, 让我再想一想这个问题到底应该怎么做<|im_end|>" * 40,
        calls=(
            Call(id="1", name="serach", arguments="{}"),
            Call(id="2", name="search", arguments=""),
        ),
        finish_reason="length",
    )
    assert found == [name for name in DETECTORS if name in found]
    assert set(found) >= {
        *("truncated", "think_tags", "control_tokens", "unknown_name", "language_leak", "loop"),
        "repetition",
    }


def test_the_names_are_what_readers_of_counts_know() -> None:
    assert list(DETECTORS) == [
        *("reasoning_only", "empty", "truncated", "think_tags", "control_tokens", "call_in_text"),
        *("unknown_name", "invalid_json", "schema_mismatch", "unjudged_call", "property_order"),
        *("language_leak", "stray_letters", "loop", "repetition"),
    ]


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT, st.sampled_from(["stop", "length", None]))
def test_any_text_is_looked_through_and_evidence_is_a_short_line(
    content: str, reasoning: str, arguments: str, prompt: str, reason: str | None
) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": prompt}]}
    for calls in ((), (CALL, Call(id=prompt, name="search", arguments=arguments))):
        reply = Reply(
            outcome=ANSWERED,
            content=content * 9,
            reasoning=reasoning,
            calls=calls,
            finish_reason=reason,
        )
        for found in detect(reply, Asked(messages=[message], tools=TOOLS)):
            assert len(found.evidence) <= SHOWN
            assert found.evidence.isprintable()
            found.evidence.encode()
