"""The features of the chat API: each does what it says."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.base.held import How
from harness.base.reply import Reply
from tests.suites.replies import CUT, NEITHER, answer, calling, held, refusal, suite

FAMILIES = ("kimi-k2.6", "kimi-k2.7", "kimi-k3")
MADE = {family: suite("features", family) for family in FAMILIES}
LONG = "a_rather_long_name_of_a_tool_" + "x" * 35
OSLO, YES = ("weather", '{"city": "Oslo"}'), ("confirm", '{"yes": true}')
REQUIRES_INSTANT = "tool_choice 'required' is incompatible with thinking enabled"
TAKEN = [
    *("unicode", "astral", "control-characters", "special-tokens-as-text", "content-in-parts"),
    "text",
]
EFFORTS = ("effort-low", "effort-high", "effort-max")


def how(case: str, reply: Reply, family: str = "kimi-k2.6") -> How:
    return held(MADE[family], case, reply).how


def few(tokens: object, finish_reason: str = "length") -> Reply:
    return answer("Hel", finish_reason, usage={"prompt_tokens": 9, "completion_tokens": tokens})


def entry(
    logprob: object = -0.5, *others: object, token: object = "Hel", first: object = None
) -> dict[str, Any]:
    """Of a token and its alternatives; `first`: of those, where it is not the token itself."""
    values = (logprob if first is None else first, *others)
    top = [{"token": str(n), "logprob": value, "bytes": None} for n, value in enumerate(values)]
    return {"token": token, "logprob": logprob, "bytes": None, "top_logprobs": top}


def logged(*entries: Any, tokens: object = 3) -> Reply:
    return answer("Hello", usage={"completion_tokens": tokens}, logprobs=entries)


@pytest.mark.parametrize("case", [*TAKEN, *EFFORTS])
def test_what_is_right_is_answered_in_whatever_words(case: str) -> None:
    for reply, expected in (
        (answer(), How.KEPT),
        (answer(""), How.KEPT),
        (answer("Ye", "length"), How.KEPT),
        (refusal("messages: not understood"), How.BROKEN),
        (refusal("reasoning_effort: not supported", 422), How.BROKEN),
        (refusal("aborted", None), How.BROKEN),
        *((neither, How.UNANSWERED) for neither in NEITHER),
    ):
        assert how(case, reply, "kimi-k3") is expected, reply


@pytest.mark.parametrize(
    ("case", "reply", "expected"),
    [
        ("unknown-field", answer(), How.KEPT),
        ("unknown-field", answer("Ye", "length"), How.KEPT),
        ("unknown-field", refusal("unheard_of: extra fields not permitted"), How.KEPT),
        ("unknown-field", refusal("unheard_of: extra fields not permitted", 422), How.KEPT),
        ("unknown-field", refusal("extra fields not permitted"), How.UNANSWERED),
        ("unknown-field", refusal("max_tokens: too few"), How.UNANSWERED),
        ("unknown-field", refusal("unheard_of", None), How.NOT_ENFORCED),
        *(("unknown-field", neither, How.UNANSWERED) for neither in NEITHER),
        ("stop", answer(""), How.KEPT),
        ("stop", answer("H"), How.KEPT),
        ("stop", answer("H", "length"), How.KEPT),
        ("stop", answer("H", reasoning="The user. Hello."), How.KEPT),  # not of the answer
        ("stop", answer("Ha "), How.BROKEN),
        ("stop", answer(" "), How.BROKEN),
        ("stop", answer("H."), How.BROKEN),
        ("stop", answer("He"), How.BROKEN),
        ("stop", answer("Hello", "length"), How.BROKEN),
        ("stop", refusal("stop: at most 2"), How.BROKEN),
        ("stop", CUT, How.UNANSWERED),
        ("tool-choice-auto", calling(OSLO), How.KEPT),
        ("tool-choice-auto", calling(("nobody", "{")), How.KEPT),  # a detector's to notice
        ("tool-choice-auto", answer("It rains."), How.KEPT),
        ("tool-choice-auto", calling(OSLO, finish_reason="stop"), How.BROKEN),
        ("tool-choice-auto", answer("It rains.", "tool_calls"), How.BROKEN),
        ("tool-choice-auto", answer("It r", "length"), How.UNFINISHED),
        ("tool-choice-auto", calling(OSLO, finish_reason="length"), How.UNFINISHED),
        ("tool-choice-auto", refusal("tools: not supported"), How.BROKEN),
        ("tool-choice-auto", CUT, How.UNANSWERED),
        ("tool-choice-none", answer("It rains."), How.KEPT),
        ("tool-choice-none", answer("It r", "length"), How.KEPT),
        ("tool-choice-none", calling(OSLO), How.BROKEN),
        ("tool-choice-none", calling(OSLO, finish_reason="stop"), How.BROKEN),
        ("tool-choice-none", calling(OSLO, finish_reason="length"), How.BROKEN),
        ("tool-choice-none", refusal("tool_choice: not supported"), How.BROKEN),
        ("tool-choice-none", CUT, How.UNANSWERED),
        ("tool-choice-required", calling(OSLO), How.KEPT),
        ("tool-choice-required", calling(YES, OSLO), How.KEPT),
        ("tool-choice-required", answer("It rains."), How.BROKEN),
        ("tool-choice-required", calling(OSLO, finish_reason="stop"), How.BROKEN),
        ("tool-choice-required", calling(("nobody", "{}")), How.BROKEN),
        ("tool-choice-required", calling(("weather", '{"city": "Bonn"}')), How.BROKEN),
        ("tool-choice-required", calling(("weather", '{"city": "Oslo", "a": 1}')), How.BROKEN),
        ("tool-choice-required", calling(OSLO, ("confirm", "{}")), How.BROKEN),
        ("tool-choice-required", answer("", "length"), How.UNFINISHED),
        ("tool-choice-required", refusal(REQUIRES_INSTANT), How.BROKEN),
        ("tool-choice-required", CUT, How.UNANSWERED),
        ("tool-choice-weather", calling(OSLO), How.KEPT),
        ("tool-choice-weather", calling(OSLO, finish_reason="stop"), How.KEPT),
        ("tool-choice-weather", calling(OSLO, finish_reason="content_filter"), How.BROKEN),
        ("tool-choice-weather", calling(YES), How.BROKEN),
        ("tool-choice-weather", calling(OSLO, YES), How.BROKEN),
        ("tool-choice-weather", calling(("weather", "{}")), How.BROKEN),
        ("tool-choice-weather", answer("It rains."), How.BROKEN),
        ("tool-choice-weather", answer("", "length"), How.UNFINISHED),
        ("tool-choice-weather", refusal("tool_choice: not supported"), How.BROKEN),
        ("tool-choice-confirm", calling(YES), How.KEPT),
        ("tool-choice-confirm", calling(YES, finish_reason="stop"), How.KEPT),
        ("tool-choice-confirm", calling(OSLO), How.BROKEN),
        ("tool-choice-confirm", calling(("confirm", '{"yes": 1}')), How.BROKEN),
        ("tool-choice-confirm", calling(("confirm", '{"yes": true, "a": 1}')), How.BROKEN),
        ("parallel-calls-off", calling(OSLO), How.KEPT),
        ("parallel-calls-off", calling(YES), How.KEPT),
        ("parallel-calls-off", calling(OSLO, YES), How.BROKEN),
        ("parallel-calls-off", calling(OSLO, OSLO), How.BROKEN),
        ("parallel-calls-off", calling(OSLO, finish_reason="stop"), How.BROKEN),
        ("parallel-calls-off", calling(("weather", "{}")), How.BROKEN),
        ("parallel-calls-off", answer("It rains."), How.BROKEN),
        ("parallel-calls-off", answer("", "length"), How.UNFINISHED),
        ("parallel-calls-off", refusal("parallel_tool_calls: not supported"), How.BROKEN),
        ("long-tool-name", calling((LONG, '{"yes": true}')), How.KEPT),
        ("long-tool-name", calling((LONG[:-1], '{"yes": true}')), How.BROKEN),
        ("long-tool-name", calling((LONG, '{"yes": "true"}')), How.BROKEN),
        ("long-tool-name", answer("Yes."), How.BROKEN),
        ("long-tool-name", answer("", "length"), How.UNFINISHED),
        ("long-tool-name", refusal("name is too long"), How.BROKEN),
        ("json-object", answer('{"yes": true}'), How.KEPT),
        ("json-object", answer(' {"no": [1]}\n'), How.KEPT),
        ("json-object", answer("{}"), How.KEPT),
        ("json-object", answer(""), How.BROKEN),
        ("json-object", answer("Yes."), How.BROKEN),
        ("json-object", answer("[]"), How.BROKEN),
        ("json-object", answer("null"), How.BROKEN),
        ("json-object", answer('"{}"'), How.BROKEN),
        ("json-object", answer("{"), How.BROKEN),
        ("json-object", answer("{}{}"), How.BROKEN),
        ("json-object", answer('```json\n{"yes": true}\n```'), How.BROKEN),
        ("json-object", answer('{"yes": 1, "yes": 2}'), How.BROKEN),
        ("json-object", answer('{"yes": NaN}'), How.BROKEN),
        ("json-object", answer("[" * 100_000), How.BROKEN),
        ("json-object", answer("", reasoning='{"yes": true}'), How.BROKEN),
        ("json-object", answer('{"yes":', "length"), How.UNFINISHED),
        ("json-object", refusal("response_format: not supported"), How.BROKEN),
        ("json-schema", answer('{"yes": true}'), How.KEPT),
        ("json-schema", answer('{\n  "yes": false\n}'), How.KEPT),
        ("json-schema", answer("{}"), How.BROKEN),
        ("json-schema", answer('{"no": true}'), How.BROKEN),
        ("json-schema", answer('{"yes": "true"}'), How.BROKEN),
        ("json-schema", answer('{"yes": 1}'), How.BROKEN),
        ("json-schema", answer('{"yes": true, "no": false}'), How.BROKEN),
        ("json-schema", answer("[true]"), How.BROKEN),
        ("json-schema", answer("yes: true"), How.BROKEN),
        ("json-schema", answer('{"yes": tr', "length"), How.UNFINISHED),
        ("json-schema", refusal("response_format: not supported"), How.BROKEN),
        ("max-tokens", few(3), How.KEPT),
        ("max-tokens", few(3, "stop"), How.KEPT),
        ("max-tokens", few(1, "stop"), How.KEPT),
        ("max-tokens", few(4), How.BROKEN),
        ("max-tokens", few(16, "stop"), How.BROKEN),
        ("max-tokens", few(0), How.BROKEN),
        ("max-tokens", few(-1), How.BROKEN),
        ("max-tokens", few(3, "tool_calls"), How.BROKEN),
        ("max-tokens", few(3.0), How.BROKEN),
        ("max-tokens", few(True), How.BROKEN),
        ("max-tokens", few("3"), How.BROKEN),
        ("max-tokens", few(None), How.BROKEN),
        ("max-tokens", answer("Hel", "length", usage={"prompt_tokens": 3}), How.BROKEN),
        ("max-tokens", answer("Hel", "length"), How.BROKEN),
        ("max-tokens", refusal("max_tokens: too few"), How.BROKEN),
        ("max-tokens", CUT, How.UNANSWERED),
        ("logprobs", logged(entry(-0.5, -1.0, -2), entry(0, -9.5), entry(-3)), How.KEPT),
        ("logprobs", logged(entry(), entry(), entry(), tokens=4), How.KEPT),
        ("logprobs", answer("H", "length", logprobs=(entry(),)), How.KEPT),
        ("logprobs", logged(entry(-0.5, -0.5, -0.5)), How.KEPT),
        ("logprobs", logged(entry(-2, -0.5, -1.0)), How.KEPT),  # vLLM: what is chosen first
        ("logprobs", logged(entry(-2, -1.0, first=-0.5)), How.KEPT),
        ("logprobs", logged(entry(1e-7)), How.KEPT),  # of float32
        ("logprobs", logged(), How.BROKEN),
        ("logprobs", logged(entry(), entry(), entry(), entry()), How.BROKEN),
        ("logprobs", logged(entry(), tokens=0), How.BROKEN),
        ("logprobs", logged(entry(), "Hel"), How.BROKEN),
        ("logprobs", logged(None), How.BROKEN),
        ("logprobs", logged(entry(), entry(token=None)), How.BROKEN),
        ("logprobs", logged({**entry(), "token": 7}), How.BROKEN),
        ("logprobs", logged(entry(), entry(0.5)), How.BROKEN),
        ("logprobs", logged(entry(1e-5)), How.BROKEN),
        ("logprobs", logged(entry(math.nan)), How.BROKEN),
        ("logprobs", logged({**entry(), "logprob": None}), How.BROKEN),
        ("logprobs", logged({**entry(), "logprob": "-0.5"}), How.BROKEN),
        ("logprobs", logged({**entry(), "logprob": math.nan}), How.BROKEN),
        ("logprobs", logged({**entry(), "logprob": 0.5}), How.BROKEN),
        ("logprobs", logged({**entry(), "top_logprobs": None}), How.BROKEN),
        ("logprobs", logged({**entry(), "top_logprobs": []}), How.BROKEN),
        ("logprobs", logged({**entry(), "top_logprobs": ["Hel"]}), How.BROKEN),
        ("logprobs", logged({"token": "Hel", "logprob": -0.5}), How.BROKEN),
        ("logprobs", logged(entry(-0.5, -1.0, -2, -3)), How.BROKEN),
        ("logprobs", logged(entry(-0.5, None)), How.BROKEN),
        ("logprobs", logged(entry(-0.5, 0.5)), How.BROKEN),
        ("logprobs", logged(entry(-0.5, math.nan)), How.BROKEN),
        ("logprobs", logged(entry(-0.5, -2, -1.0)), How.BROKEN),
        ("logprobs", logged(entry(-0.5, -0.1, first=-2)), How.BROKEN),
        ("logprobs", logged(entry(), entry(-0.5, -2, -1.0)), How.BROKEN),
        ("logprobs", refusal("logprobs: not supported"), How.BROKEN),
        ("logprobs", CUT, How.UNANSWERED),
    ],
)
def test_each_feature_does_what_it_says(case: str, reply: Reply, expected: How) -> None:
    assert how(case, reply) is expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer("It rains."), How.KEPT),
        (calling(OSLO), How.KEPT),
        (calling(OSLO, OSLO), How.KEPT),
        (calling(YES), How.BROKEN),
        (calling(("weather", '{"city": "Bonn"}')), How.BROKEN),
        (calling(OSLO, finish_reason="stop"), How.BROKEN),
        (answer("It r", "length"), How.UNFINISHED),
        (refusal("messages.1.content: missing"), How.BROKEN),
        (CUT, How.UNANSWERED),
    ],
)
def test_calls_are_of_the_tools_that_a_system_message_declares(reply: Reply, expected: How) -> None:
    assert how("dynamic-tools", reply, "kimi-k3") is expected


@pytest.mark.parametrize(
    ("family", "choice", "message", "expected"),
    [
        ("kimi-k2.6", "required", REQUIRES_INSTANT, How.BROKEN),  # it was asked in instant mode
        ("kimi-k2.6", "weather", REQUIRES_INSTANT, How.BROKEN),
        ("kimi-k3", "required", REQUIRES_INSTANT, How.BROKEN),  # it takes this one
        ("kimi-k3", "weather", REQUIRES_INSTANT, How.UNFINISHED),
        ("kimi-k3", "confirm", REQUIRES_INSTANT, How.UNFINISHED),
        ("kimi-k3", "confirm", "tools: not supported", How.BROKEN),
        ("kimi-k2.7", "required", REQUIRES_INSTANT, How.UNFINISHED),
        ("kimi-k2.7", "weather", REQUIRES_INSTANT, How.UNFINISHED),
        ("kimi-k2.7", "required", "tools: not supported", How.BROKEN),
    ],
)
def test_a_family_that_only_thinks_may_refuse_to_be_forced(
    family: str, choice: str, message: str, expected: How
) -> None:
    case = f"tool-choice-{choice}"
    assert how(case, refusal(message), family) is expected
    assert how(case, refusal(message, None), family) is How.BROKEN
    assert how(case, CUT, family) is How.UNANSWERED
    assert how(case, answer("It rains."), family) is How.BROKEN
    assert how(case, calling(YES if choice == "confirm" else OSLO), family) is How.KEPT
    if choice == "required":
        for other in ("parallel-calls-off", "long-tool-name"):
            assert how(other, refusal(message), family) is expected


@pytest.mark.parametrize(
    ("case", "reply", "why"),
    [
        ("stop", answer("He"), "'He' has 'e'"),
        ("tool-choice-none", calling(OSLO), "weather is called"),
        ("tool-choice-auto", answer("", "tool_calls"), "0 calls, and finish_reason 'tool_calls'"),
        ("parallel-calls-off", calling(OSLO, YES), "2 calls"),
        ("json-schema", answer('{"yes": 1}'), "$.yes: 1 is not of type 'boolean'"),
        ("json-object", answer("Yes."), "no JSON, Expecting value"),
        ("max-tokens", few(4), "4 tokens"),
        ("max-tokens", few(None), "no usage.completion_tokens"),
        ("logprobs", logged(), "no logprobs"),
        ("logprobs", logged(entry(), entry(), tokens=1), "2 entries for 1 tokens"),
        ("logprobs", logged(entry(), entry(0.5)), "entry 1: logprob is 0.5"),
        ("logprobs", logged(entry(-0.5, -2, -1.0)), "entry 0: top_logprobs in no order"),
    ],
)
def test_what_is_broken_tells_why(case: str, reply: Reply, why: str) -> None:
    found = held(MADE["kimi-k2.6"], case, reply)
    assert found.how is How.BROKEN and found.why.startswith(why)
