"""L0, exact: a raw answer becomes the same reasoning, content and tool calls, however it is cut.

White space around reasoning and content is nobody's fault, and arguments are compared as JSON
values. Of an answer that was cut off, calls that are not whole yet are left out: a client sees that
their arguments are no JSON.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.base.stream import Parsed, ParsedCall, Stream

SHOWN = 160  # characters of a part that is shown
SHOWN_CUTTINGS = 2
KINDS = ("unstreamed", "tokens", "pieces")  # of cuttings


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """What a stream became, in some cuttings, instead of what it holds."""

    stream: str
    cuttings: tuple[str, ...]  # in which it became something else
    of: int  # cuttings there are
    ways: int  # different things that it became; told is the one of the most cuttings
    part: str  # error, reasoning, content or calls
    expected: str
    found: str

    def told(self) -> str:
        """One line."""
        others = f" (and {self.ways - 1} other ways)" if self.ways > 1 else ""
        return (
            f"stream {self.stream}, {self._where()}: {self.part} {self.found}{others}, "
            f"where it ought to be {self.expected}"
        )

    def _where(self) -> str:
        count = len(self.cuttings)
        if count == self.of:
            return "however it is cut"
        named = ", ".join(self.cuttings[:SHOWN_CUTTINGS])
        if count <= SHOWN_CUTTINGS:
            return named
        return f"in {count} of {self.of} cuttings ({named}, ...)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All streams against what they hold, and against what was declared of the release."""

    undeclared: tuple[Deviation, ...]
    declared: tuple[Deviation, ...]
    unmet: tuple[str, ...]  # declared, and not so


def judge(
    streams: Sequence[Stream], answers: Mapping[str, Sequence[Parsed]], known: Sequence[str]
) -> Judgement:
    """`known`: STREAM or STREAM/KIND, which deviates in any cutting or in those of a kind."""
    undeclared: list[Deviation] = []
    declared: list[Deviation] = []
    met: set[str] = set()
    for stream in streams:
        every = deviation(stream, answers[stream.id])
        if every is None:
            continue
        names = {stream.id, *(f"{stream.id}/{kind(cutting)}" for cutting in every.cuttings)}
        met |= names & set(known)
        of_kinds = {name for name in KINDS if f"{stream.id}/{name}" in known}
        but = KINDS if stream.id in known else of_kinds
        left = deviation(stream, answers[stream.id], but=but)
        if left is not None:
            undeclared.append(left)
        else:
            declared.append(every)
    return Judgement(
        undeclared=tuple(undeclared),
        declared=tuple(declared),
        unmet=tuple(name for name in known if name not in met),
    )


def kind(cutting: str) -> str:
    """Which of the KINDS a cutting is: not streamed, every token alone, or larger pieces."""
    return {"unstreamed": "unstreamed", "token by token": "tokens"}.get(cutting, "pieces")


def deviation(
    stream: Stream, answers: Sequence[Parsed], *, but: Container[str] = ()
) -> Deviation | None:
    """How the answers leave what the stream holds, in cuttings of no kind among `but`; None: they
    do not. A part that is not laid down is held against the first answer, which nothing had cut.
    """
    expected = _parts(stream, answers[0])
    found: dict[tuple[str, str], list[str]] = {}
    for answer in answers:
        left = _left(expected, _found(stream, answer))
        cuttings = [cutting for cutting in answer.cuttings if kind(cutting) not in but]
        if left is not None and cuttings:
            found.setdefault(left, []).extend(cuttings)
    if not found:
        return None
    part, became = max(found, key=lambda way: len(found[way]))
    ought, shown = _shown(_json(expected[part]), became)
    return Deviation(
        stream=stream.id,
        cuttings=tuple(cutting for way in found.values() for cutting in way),
        of=sum(len(answer.cuttings) for answer in answers),
        ways=len(found),
        part=part,
        expected=ought,
        found=shown,
    )


def _parts(stream: Stream, first: Parsed) -> dict[str, Any]:
    """What each part ought to be: laid down, or as in the answer that was not streamed."""
    parts = _found(stream, first)
    parts["error"] = None
    if stream.reasoning is not None:
        parts["reasoning"] = stream.reasoning.strip()
    if stream.content is not None:
        parts["content"] = stream.content.strip()
    if stream.calls is not None:
        parts["calls"] = [
            {"id": call.id or _id(first, at), "name": call.name, "arguments": call.arguments}
            for at, call in enumerate(stream.calls)
        ]
    return parts


def _id(answer: Parsed, at: int) -> str | None:
    """The id that a call has there; None, which no call has, where there is none."""
    return answer.calls[at].id or None if at < len(answer.calls) else None


def _found(stream: Stream, answer: Parsed) -> dict[str, Any]:
    cut_off = stream.finish == "length"
    calls = [_call(call) for call in answer.calls]
    return {
        "error": answer.error,
        "reasoning": answer.reasoning.strip(),
        "content": answer.content.strip(),
        "calls": [call for call in calls if not cut_off or isinstance(call["arguments"], Mapping)],
    }


def _call(call: ParsedCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments)
    except ValueError:  # no JSON, or not yet
        arguments = call.arguments
    return {"id": call.id, "name": call.name, "arguments": arguments}


def _left(expected: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first part that is another, and what it is."""
    for part, value in expected.items():
        if _json(found[part]) != _json(value):
            return part, _json(found[part])
    return None


def _json(value: object) -> str:
    """Compared by, for to Python true is 1; and shown."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _shown(expected: str, found: str) -> tuple[str, str]:
    """Both in words, long ones from shortly before they part."""
    shorter = min(len(expected), len(found))
    pairs = zip(expected, found, strict=False)
    same = next((at for at, (a, b) in enumerate(pairs) if a != b), shorter)
    start = max(0, same - SHOWN // 4) if max(len(expected), len(found)) > SHOWN else 0
    return _from(expected, start), _from(found, start)


def _from(text: str, start: int) -> str:
    if text in ("null", '""', "[]"):
        return "nothing"
    end = start + SHOWN
    return f"{'... ' if start else ''}{text[start:end]}{' ...' if len(text) > end else ''}"
