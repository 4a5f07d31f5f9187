"""One reply held: what is taken, what is refused, and what says nothing of the contract."""

from __future__ import annotations

import json

import pytest

from harness.base.held import Held, How, broken, kept, refused, taken, unanswered
from harness.base.reply import ANSWERED, REFUSED, Call, Reply

SEEN = kept("seen")
ANSWER = Reply(outcome=ANSWERED, content="Yes", finish_reason="stop")
CUT_AT_LENGTH = Reply(outcome=ANSWERED, reasoning="The user", finish_reason="length")
TOO_LONG = "This model's maximum context length is 128 tokens, the messages have 160."
NEITHER = [  # no answers, and they refuse nothing
    *(Reply(outcome=REFUSED, status=status, said="top_p") for status in (401, 403, 404, 413)),
    *(Reply(outcome="server", status=status, said="top_p") for status in (500, 503, 400, 422)),
    Reply(outcome="busy", status=429, said="top_p"),
    *(Reply(outcome="cut", content="Yes", finish_reason=end, said="top_p") for end in (None, "x")),
    Reply(outcome="stalled", said="top_p"),
    Reply(outcome="connection", said="top_p"),
]


def rejected(said: str, status: int | None = 400) -> Reply:
    return Reply(outcome=REFUSED, status=status, said=said)


def error(message: str, **others: object) -> str:
    """As OpenAI's API and vLLM write one."""
    return json.dumps({"error": {"message": message, "code": 400, **others}})


def never(_: Reply) -> Held:
    raise AssertionError("only an answer is judged")


def test_what_is_not_kept_scores_nothing_and_what_says_nothing_has_no_score() -> None:
    scores = {how: Held(how=how, why="").score for how in How}
    assert list(scores.items()) == [  # the worst first
        (How.BROKEN, 0.0),
        (How.NOT_ENFORCED, 0.0),
        (How.UNANSWERED, None),
        (How.UNFINISHED, None),
        (How.KEPT, 1.0),
    ]


@pytest.mark.parametrize("judged", [SEEN, broken("seen")])
def test_an_answer_is_what_its_judge_says(judged: Held) -> None:
    for whole in (True, False):
        assert taken(ANSWER, lambda _: judged, whole=whole) == judged
    assert taken(CUT_AT_LENGTH, lambda _: judged, whole=False) == judged


def test_the_judge_is_given_the_answer() -> None:
    assert taken(ANSWER, lambda reply: kept(reply.content)) == kept("Yes")


def test_what_was_cut_at_its_length_is_not_judged_where_it_must_be_whole() -> None:
    found = taken(CUT_AT_LENGTH, never)
    assert found == Held(how=How.UNFINISHED, why="cut at its length: length, 'The user'")


@pytest.mark.parametrize("status", [400, 422, None])
@pytest.mark.parametrize("whole", [True, False])
def test_what_must_be_answered_and_is_refused_is_broken(status: int | None, whole: bool) -> None:
    found = taken(rejected("top_p\nis wrong", status), never, whole=whole)
    assert found == broken(r"refused: top_p\nis wrong")
    assert taken(rejected("", status), never, whole=whole).how is How.BROKEN


@pytest.mark.parametrize("reply", NEITHER)
def test_what_is_neither_says_nothing_whatever_was_asked(reply: Reply) -> None:
    for found in (taken(reply, never), taken(reply, never, whole=False), refused(reply, ["top_p"])):
        assert found == unanswered(reply)
        assert found.how is How.UNANSWERED


@pytest.mark.parametrize(
    "said",
    [
        TOO_LONG,
        "Requested token count exceeds the model's maximum context length of 128 tokens.",
        "The input (160 tokens) is longer than the model's context length (128 tokens).",
        "the prompt is longer than the model takes",
        error("too long", code="context_length_exceeded"),
        "Maximum Context: 128",
    ],
)
@pytest.mark.parametrize("status", [400, 422, 413, None])
def test_a_context_that_is_too_short_breaks_nothing(said: str, status: int | None) -> None:
    found = taken(rejected(said, status), never)
    assert found == unanswered(rejected(said, status))
    assert found.how is How.UNANSWERED


def test_an_answer_that_speaks_of_a_context_is_an_answer() -> None:
    reply = Reply(outcome=ANSWERED, content=TOO_LONG, said=TOO_LONG, finish_reason="stop")
    assert taken(reply, lambda _: SEEN) == SEEN


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (ANSWER, "stop, 'Yes'"),
        (CUT_AT_LENGTH, "length, 'The user'"),
        (Reply(outcome=ANSWERED, finish_reason="stop"), "stop, ''"),
        (
            Reply(
                outcome=ANSWERED,
                reasoning="The user",
                calls=(
                    Call(id="1", name="a", arguments="{}"),
                    Call(id="2", name="b", arguments=""),
                ),
                finish_reason="tool_calls",
            ),
            "tool_calls, 'a({}), b()'",
        ),
    ],
)
def test_what_must_be_refused_and_is_answered_is_not_enforced(reply: Reply, shown: str) -> None:
    assert refused(reply, ["Yes"]) == Held(how=How.NOT_ENFORCED, why=f"answered: {shown}")


@pytest.mark.parametrize("said", ["top_p: must be 0.95", "no"])
def test_a_refusal_behind_a_status_of_200_enforces_nothing(said: str) -> None:
    found = refused(rejected(said, None), ["top_p"])
    assert found == Held(how=How.NOT_ENFORCED, why=f"refused behind a status of 200: {said}")


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("top_p: must be 0.95", "top_p"),
        ("top_p", "top_p"),
        ("Top_P must be 0.95", "top_p"),
        (error("invalid top_p: only 0.95 is allowed"), "top_p"),
        (error('Invalid value for "top_p"'), "top_p"),
        (error("Invalid value for 'top_p'"), "top_p"),
        (error("it is wrong", param="top_p"), "top_p"),
        (json.dumps({"detail": [{"loc": ["body", "top_p"], "msg": "wrong"}]}), "top_p"),
        (error("[{'type': 'missing', 'loc': ('body', 'top_p'), 'msg': 'wrong'}]"), "top_p"),
        (error("n must be 1, got 2"), "n"),
        (error("top_p.0: wrong"), "top_p"),
        (error("messages[0].role: wrong"), "role"),
    ],
)
def test_a_refusal_that_names_what_is_wrong_keeps(said: str, named: str, status: int) -> None:
    found = refused(rejected(said, status), [named])
    assert (found.how, found.why[:9]) == (How.KEPT, "refused: ")
    assert refused(rejected(said, status), ["nobody", named]).how is How.KEPT
    assert refused(rejected(said, status), ["nobody"]).how is How.UNANSWERED


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("", "top_p"),
        (error("Bad Request"), "top_p"),
        (error("invalid temperature: only 1 is allowed"), "top_p"),
        (error("invalid temperature: only 1 is allowed in thinking"), "n"),  # in many others
        (error("top_psi"), "top_p"),
        (error("my_top_p"), "top_p"),
        (error("topxp"), "top.p"),
        (error(r"line\n"), "n"),
        (json.dumps({"error": {"message": "line\nbreak"}}), "n"),
        (error("Bad Request"), "message"),  # the keys of JSON
        (error("Bad Request", type="BadRequestError"), "type"),
        (json.dumps({"detail": [{"msg": "wrong", "input": {"top_p": 2}}]}), "top_p"),
        ('{"message" : "wrong"}', "message"),
        (error("wrong: {'temperature': 2, 'top_p': 2}"), "top_p"),
        (error("wrong, of application/json"), "json"),
        (error("no POST at /v1/messages"), "messages"),
        (error("see tools/list"), "tools"),
    ],
)
def test_a_refusal_that_does_not_name_it_says_nothing(said: str, named: str, status: int) -> None:
    found = refused(rejected(said, status), [named])
    assert found.how is How.UNANSWERED
    assert found.why.startswith(f"refused, and not for {named}: ")


def test_of_what_it_was_refused_for_all_that_would_do_is_told() -> None:
    found = refused(rejected("no"), ["top_p", "n"])
    assert found == Held(how=How.UNANSWERED, why="refused, and not for top_p or n: no")


def test_what_is_unanswered_tells_its_kind_its_status_and_its_text() -> None:
    for reply, why in (
        (Reply(outcome="server", status=500, said="dead\n"), r"server (500): dead\n"),
        (Reply(outcome="stalled", said="no byte for 60 s"), "stalled: no byte for 60 s"),
    ):
        assert unanswered(reply) == Held(how=How.UNANSWERED, why=why)


def test_a_long_text_is_shortened() -> None:
    long = "top_p " * 1000
    answer = Reply(outcome=ANSWERED, content=long, finish_reason="length")
    for found in (
        taken(rejected(long), never),
        taken(answer, never),
        refused(answer, ["top_p"]),
        refused(rejected(long), ["top_p"]),
        refused(rejected(long), ["nobody"]),
        refused(rejected(long, None), ["top_p"]),
        unanswered(Reply(outcome="server", said=long)),
    ):
        assert len(found.why) < 300
    far = "x" * 5000 + " top_p " + "x" * 5000  # not in what is shown
    assert refused(rejected(far), ["top_p"]).how is How.KEPT


@pytest.mark.parametrize(
    "said",
    [
        'answered 400: {"error": {"message": "Invalid \'temperature\': decimal above maximum"}}',
        "an error for an answer: {'message': \"Invalid 'temperature': above 2\", 'code': 400}",
    ],
)
def test_a_name_in_quotes_is_named_and_a_key_is_not(said: str) -> None:
    reply = Reply(outcome=REFUSED, status=400, said=said)
    assert refused(reply, ("temperature",)).how is How.KEPT
    assert refused(reply, ("message",)).how is How.UNANSWERED


def test_a_prompt_that_is_too_long_was_not_asked_and_is_no_refusal_of_what_is_wrong() -> None:
    said = 'answered 400: {"error": {"message": "maximum context length: shorten the messages"}}'
    reply = Reply(outcome=REFUSED, status=400, said=said)
    assert refused(reply, ("messages",)).how is How.UNANSWERED
    assert taken(reply, lambda _: kept("answered")).how is How.UNANSWERED
