"""L0b, exact: what an answer of the chat API owes whatever the model says. No statistics. Pure.

An answer at T = 0 may still change from one asking to the next, where two tokens are nearly as
probable and the server is busy. So nothing is held against another text: only against limits and
reasons that no text excuses, and against two ways of asking that never once agree.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from launchers.openai_api import Answered, Choice

REASONS = ("stop", "length", "tool_calls")
STOP_CHARACTERS = 5  # of a stop string: rare enough, and longer than most tokens
CALL_IDS = "ids of tool calls"  # a field of an answer
MARKER_PIECES = ("<|", "|>")
SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A stop string from the middle of an answer, and what comes before it."""

    string: str
    before: str


def by_itself(answer: Answered, *, max_tokens: int) -> list[str]:
    """What is wrong with one answer of a request with that limit, whatever its text."""
    choice, wrong = answer.choices[0], list[str]()
    reason, count = choice.finish_reason, answer.completion_tokens
    if reason not in REASONS:
        wrong.append(f"finish_reason is {reason!r}, which is none of {', '.join(REASONS)}")
    if reason == "stop" and choice.tool_calls:
        wrong.append("tools are called, and finish_reason is 'stop'")
    if reason == "tool_calls" and not choice.tool_calls:
        wrong.append("finish_reason is 'tool_calls', and no tool is called")
    if count is not None and count > max_tokens:
        wrong.append(f"max_tokens is {max_tokens}, and {count} tokens come")
    elif count is not None and reason == "length" and count < max_tokens:
        wrong.append(f"finish_reason is 'length' after {count} of {max_tokens} tokens")
    return wrong


def cut(whole: Answered, short: Answered, *, max_tokens: int) -> list[str]:
    """What is wrong with the reason of `short`, which ends within `whole` at its limit."""
    if whole.completion_tokens is None or whole.completion_tokens <= max_tokens:
        return []
    reason, text = short.choices[0].finish_reason, _text(short.choices[0])
    stopped = reason == "stop" and short.completion_tokens == max_tokens
    if (
        stopped
        and len(text) < len(_text(whole.choices[0]))
        and _text(whole.choices[0]).startswith(text)
    ):
        return [f"an answer cut off after max_tokens = {max_tokens} has finish_reason 'stop'"]
    return []


def stop_of(choice: Choice) -> Stop | None:
    """None where the answer is too short for one, calls tools, or has pieces of markers in its
    text: what a stream makes of these is the parser's business, and `parsing` asks it."""
    text = _text(choice)
    if choice.tool_calls or any(piece in text for piece in MARKER_PIECES):
        return None
    for start in range(len(text) // 2, len(text) - 2 * STOP_CHARACTERS):
        piece = text[start : start + STOP_CHARACTERS]
        split = start < len(choice.reasoning) < start + STOP_CHARACTERS  # a marker lies between
        if not split and piece == piece.strip() and text.find(piece) == start:
            return Stop(string=piece, before=text[:start])
    return None


def stopped(stop: Stop, choice: Choice) -> str | None:
    """What is wrong with an answer that should end before a stop string; white space apart."""
    text, reason = _text(choice), choice.finish_reason
    if stop.string in text:
        return f"the stop string {stop.string!r} stands in the answer: {_short(text)}"
    if text.rstrip() == stop.before.rstrip():
        return None if reason == "stop" else f"at a stop string finish_reason is {reason!r}"
    if text.startswith(stop.before) and stop.string.startswith(text[len(stop.before) :]):
        return f"a part of the stop string {stop.string!r} ends the answer: {_short(text)}"
    if stop.before.startswith(text.rstrip()) and reason == "stop":
        return (
            f"text before the stop string {stop.string!r} is lost: {len(text)} of "
            f"{len(stop.before)} characters come"
        )
    return None  # another answer


def disagreement(
    unstreamed: Sequence[Answered], streamed: Sequence[Answered], *, known: Collection[str] = ()
) -> list[str]:
    """Where all of the one agree, all of the other agree, and the two differ; in words. Fields that
    are `known` to differ are left out.

    Were both drawn alike, of n askings each, that would happen to a field with a chance under
    2 / 4^n, whatever its distribution: (p (1 - p))^n is greatest at p = 1/2.
    """
    one, other = [_fields(a) for a in unstreamed], [_fields(a) for a in streamed]
    return [
        f"{name} is {_short(one[0][name])} unstreamed and {_short(other[0][name])} streamed"
        for name in one[0]
        if name not in known
        if _agreed(one, name) and _agreed(other, name) and one[0][name] != other[0][name]
    ]


def cut_off(answer: Answered, *, max_tokens: int) -> bool:
    """Whether it may have ended at its limit. A call that is cut off there is no call unstreamed,
    and half of one streamed; and vLLM 0.32.0 says `tool_calls` or `length`, as it is streamed."""
    count = answer.completion_tokens
    return answer.choices[0].finish_reason == "length" or count is None or count >= max_tokens


def agree(answers: Sequence[Answered]) -> bool:
    """Whether the same was said each time; ids of calls may be made anew."""
    said = [_said(answer.choices[0]) for answer in answers]
    return all(one == said[0] for one in said)


def _said(choice: Choice) -> dict[str, Any]:
    """White space at the ends apart: KTransformers' parsers cut it off unstreamed alone."""
    return {
        "content": choice.content.strip(),
        "reasoning": choice.reasoning.strip(),
        "tool calls": [(call.name, _arguments(call.arguments)) for call in choice.tool_calls],
    }


def _fields(answer: Answered) -> dict[str, Any]:
    choice = answer.choices[0]
    return {
        **_said(choice),
        CALL_IDS: [call.id for call in choice.tool_calls],
        "finish_reason": choice.finish_reason,
        "usage.prompt_tokens": answer.prompt_tokens,
        "usage.completion_tokens": answer.completion_tokens,
    }


def _agreed(fields: Sequence[dict[str, Any]], name: str) -> bool:
    """None says nothing: a server need not count in a stream."""
    return fields[0][name] is not None and all(one[name] == fields[0][name] for one in fields)


def _arguments(text: str) -> Any:
    """As JSON, for white space between them means nothing; else as they are."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(choice: Choice) -> str:
    """All that was said, in its order."""
    return choice.reasoning + choice.content


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= SHOWN_CHARACTERS else f"{said[:SHOWN_CHARACTERS]}..."
