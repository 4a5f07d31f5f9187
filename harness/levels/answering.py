"""L0b, last part: a few chats answered at T = 0, streamed and unstreamed, stopped and cut off.

What no text excuses is wrong at once. What another text might excuse is asked again: an answer can
change where two tokens are nearly as probable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from harness.base.case import Chat
from harness.base.errors import RequestError
from harness.checker import answering, forced
from harness.checker.answering import Stop
from harness.checker.outcome import Word
from harness.client import in_parallel
from harness.levels import askable
from harness.levels.state import Check
from launchers import openai_api
from launchers.openai_api import Answered

CHATS = 2  # of each stratum
LOOKED_AT = 12  # prompts of a stratum, in search of chats
LONGEST = 400  # tokens of a sequence that is looked at: what is asked here, no length changes
MOST_TOKENS = 96  # of an answer: every engine's context has room for both
LIMITS = (1, 6)  # tokens, for max_tokens
ASKINGS = 8  # of each kind before two kinds are said to differ: a chance under 2 / 4^8
AT_ONCE = 4  # somebody else's server has a rate limit
SHOWN = 4  # faults that are told in full

GREEDY: Mapping[str, Any] = {"temperature": 0}
# A raw answer of `suites.streams`: a parser that is known to read its id otherwise (KTransformers
# 0.7.2 adds the calls of the history to an index that counts them already, unstreamed alone) gives
# ids after earlier calls that a stream does not.
LATER_TURN = "id-of-a-later-turn"
KNOWN = f"its release is known to give others (serving.known_deviations: {LATER_TURN})"


@dataclass(slots=True, kw_only=True)
class _Asked:
    """One chat, and what its answers showed."""

    case_id: str
    body: Mapping[str, Any]
    streamed: Mapping[str, Any]  # what a request for a stream has more; empty: none can be had
    known: tuple[str, ...]  # fields that its release is known to stream otherwise
    faults: list[str] = field(default_factory=list[str])
    refused: str | None = None
    counted: bool = False
    compared: bool = False
    stopped: bool = False
    called: bool = False
    tokens: int = 0


class _RefusedError(Exception):
    """The server takes no such request."""


def run(check: Check) -> tuple[Word | None, list[str]]:
    """Limits, stop strings, finish reasons, counts; a stream says what a whole answer says."""
    chats = _chosen(check)
    if not chats:
        return None, ["no chat is answered: the engine has no chat API, or the trace no chats"]
    unasked = askable.missing(check, "chat")
    if unasked:
        return Word.INCONCLUSIVE, unasked
    unstreamed = askable.missing(check, "streaming")
    check.announce(f"L0b answers: of {len(chats)} chats, streamed and unstreamed")
    streamed = {} if unstreamed else _stream_fields(check)
    asked = [
        _Asked(case_id=name, body=body, streamed=streamed, known=_known(check, body))
        for name, body in chats
    ]
    in_parallel(lambda one: _ask(check, one), asked, AT_ONCE)
    check.tokens += sum(one.tokens for one in asked)
    faults = [f"case {one.case_id}: {fault}" for one in asked for fault in one.faults]
    if faults:
        more = [f"{len(faults)} such faults in {len(asked)} chats"] if len(faults) > SHOWN else []
        return Word.DIFFERENT, [*faults[:SHOWN], *more]
    right = [_right(asked)] if any(one.compared or one.stopped for one in asked) else []
    return askable.at_best_inconclusive(Word.EQUIVALENT, right, [*unstreamed, *_lacking(asked)])


def _stream_fields(check: Check) -> Mapping[str, Any]:
    """A server may refuse to be asked for the count in a stream."""
    return {"stream": True} if askable.missing(check, "stream_usage") else openai_api.STREAMED


def _chosen(check: Check) -> list[tuple[str, dict[str, Any]]]:
    """Some chats of each stratum: case id, and the body of a request."""
    found: list[tuple[str, dict[str, Any]]] = []
    for stratum in check.trace.strata:
        order = forced.permutation(
            check.trace.members(stratum), seed=check.settings.seed, name=f"answers {stratum}"
        )
        short = [row for row in order if check.trace.tokens_of[row] <= LONGEST]
        cases = (check.trace[row].case for row in (short or order)[:LOOKED_AT])
        chats = ((case.id, case.prompt) for case in cases if isinstance(case.prompt, Chat))
        bodies = [(name, check.asker.dialect.chat(chat)) for name, chat in islice(chats, CHATS)]
        found += [(name, body) for name, body in bodies if body is not None]
    return found


def _known(check: Check, body: Mapping[str, Any]) -> tuple[str, ...]:
    pin = check.opened.pin
    if pin is None or LATER_TURN not in pin.pin.serving.known_deviations:
        return ()
    later = any(message.get("tool_calls") for message in body["messages"])
    return (answering.CALL_IDS,) if later else ()


def _lacking(asked: list[_Asked]) -> list[str]:
    """What could not be looked at, in words."""
    refused = [one.refused for one in asked if one.refused is not None]
    lacking = [
        f"cannot be asked: {refused.count(why)} of {len(asked)} chats ({why})"
        for why in dict.fromkeys(refused)
    ]
    answered = [one for one in asked if one.refused is None]
    if not answered:
        return lacking
    if not any(one.counted for one in answered):
        lacking.append("cannot be asked: how many tokens an answer has (usage.completion_tokens)")
    if answered[0].streamed and not any(one.compared for one in answered):
        lacking.append("no chat was answered twice with the same text: no stream was compared")
    if not any(one.stopped for one in answered):
        lacking.append("no answer at T = 0 was met again up to a stop string in its middle")
    return lacking


def _right(asked: list[_Asked]) -> str:
    compared, stopped = (
        sum(getattr(one, name) for one in asked) for name in ("compared", "stopped")
    )
    known = sum(one.called and bool(one.known) for one in asked)
    return (
        f"{compared} of {len(asked)} chats say the same streamed and unstreamed, {stopped} end at "
        f"a stop string, all within max_tokens; {sum(one.called for one in asked)} call tools"
        + (f", {known} of them in a later turn, whose ids are not compared: {KNOWN}" * bool(known))
    )


def _ask(check: Check, one: _Asked) -> None:
    try:
        whole = _unstreamed_and_streamed(check, one)
        for limit in LIMITS:
            _limit(check, one, whole, limit)
        stop = answering.stop_of(whole.choices[0])
        if stop is not None:
            _stop(check, one, stop)
    except _RefusedError as refusal:
        one.refused = str(refusal)
    one.faults = list(dict.fromkeys(one.faults))


def _ways(one: _Asked) -> dict[str, Mapping[str, Any]]:
    return {"unstreamed": {}, **({"streamed": one.streamed} if one.streamed else {})}


def _unstreamed_and_streamed(check: Check, one: _Asked) -> Answered:
    """A whole answer, after it was held against streamed ones."""
    whole = [_answer(check, one, MOST_TOKENS), _answer(check, one, MOST_TOKENS)]
    one.counted = whole[0].completion_tokens is not None
    one.called = bool(whole[0].choices[0].tool_calls)
    for answer in whole:
        one.faults += answering.by_itself(answer, max_tokens=MOST_TOKENS)
    if one.streamed and (first := _streamed(check, one, MOST_TOKENS)) is not None:
        one.faults += _told("streamed", answering.by_itself(first, max_tokens=MOST_TOKENS))
        if "tools" not in one.body or not answering.cut_off(whole[0], max_tokens=MOST_TOKENS):
            one.compared = answering.agree(whole)
            one.faults += _persisting(check, one, whole, [first])
    return whole[0]


def _persisting(
    check: Check, one: _Asked, whole: list[Answered], streamed: list[Answered]
) -> list[str]:
    """What differs however often both are asked."""
    while found := answering.disagreement(whole, streamed, known=one.known):
        if len(streamed) == ASKINGS:
            return found
        if len(whole) <= len(streamed):
            whole.append(_answer(check, one, MOST_TOKENS))
        else:
            again = _streamed(check, one, MOST_TOKENS)
            if again is None:
                return []  # it is told as what it is
            streamed.append(again)
    return []


def _limit(check: Check, one: _Asked, whole: Answered, limit: int) -> None:
    for way, fields in _ways(one).items():
        short = _answer(check, one, limit, fields) if not fields else _streamed(check, one, limit)
        if short is not None:
            wrong = answering.by_itself(short, max_tokens=limit)
            one.faults += _told(way, wrong + answering.cut(whole, short, max_tokens=limit))


def _stop(check: Check, one: _Asked, stop: Stop) -> None:
    fields = {"stop": [stop.string]}
    for way, more in _ways(one).items():

        def ask(more: Mapping[str, Any] = more) -> Answered | None:
            if more:
                return _streamed(check, one, MOST_TOKENS, fields)
            return _answer(check, one, MOST_TOKENS, fields)

        fault = _confirmed(ask, stop, one)
        one.faults += _told(way, [] if fault is None else [fault])


def _confirmed(ask: Callable[[], Answered | None], stop: Stop, one: _Asked) -> str | None:
    """A fault at a stop string that is met each of three times."""
    fault: str | None = None
    for _ in range(3):
        answer = ask()
        if answer is None:
            return None
        choice = answer.choices[0]
        fault = answering.stopped(stop, choice)
        if fault is None:
            one.stopped |= (choice.reasoning + choice.content).rstrip() == stop.before.rstrip()
            return None
    return fault


def _told(way: str, faults: list[str]) -> list[str]:
    return [f"{way}, {fault}" for fault in faults]


def _streamed(
    check: Check, one: _Asked, limit: int, fields: Mapping[str, Any] | None = None
) -> Answered | None:
    """None where what comes is no whole stream, a fault that is told once it is met twice."""
    why = ""
    for _ in range(2):
        body = _send(check, one, limit, {**(fields or {}), **one.streamed})
        try:
            return _counted(one, openai_api.streamed(body))
        except RequestError as error:
            why = str(error)
    one.faults.append(f"streamed, no whole answer comes: {why[:200]}")
    return None


def _answer(
    check: Check, one: _Asked, limit: int, fields: Mapping[str, Any] | None = None
) -> Answered:
    return _counted(one, openai_api.answered(_send(check, one, limit, fields or {})))


def _send(check: Check, one: _Asked, limit: int, fields: Mapping[str, Any]) -> bytes:
    request = openai_api.chat(one.body, {**GREEDY, "max_tokens": limit, **fields})
    endpoint = check.asker.endpoint
    reply = endpoint.ask(request)
    if reply.status is not None and 400 <= reply.status < 500:
        said = " ".join(reply.body.decode(errors="replace").split())
        raise _RefusedError(f"{reply.status}: {said[:160]}")
    if reply.status != 200:
        what = reply.problem or f"answered {reply.status}: {reply.body[:300]!r}"
        raise RequestError(f"{endpoint.url}{request.path}: {what}")
    return reply.body


def _counted(one: _Asked, answer: Answered) -> Answered:
    one.tokens += (answer.prompt_tokens or 0) + (answer.completion_tokens or 0)
    return answer
