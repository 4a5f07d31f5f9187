"""Reasoning in history: accepted, and rendered or dropped as the contract says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness.base.held import Held, How
from harness.base.reply import ANSWERED, REFUSED, Reply
from harness.base.suite import Given, Suite
from launchers.contracts import rules
from suites import registry
from suites.thinking_history import MUCH, WORD

SHORT, LONG = 40, 97  # tokens of a prompt with a word of reasoning, and with much
LOOP, EARLIER, ASKED = "tool-loop", "earlier-turn", "earlier-turn/asked"
REJECTED = Reply(outcome=REFUSED, status=400, said="reasoning_content: extra fields not permitted")


def suite(family: str = "kimi-k2.6") -> Suite:
    return registry.suite(Given(name="thinking-history", rules=rules(family)))


def counted(tokens: int | None) -> Reply:
    usage = None if tokens is None else {"prompt_tokens": tokens, "completion_tokens": 16}
    return Reply(outcome=ANSWERED, content="It", finish_reason="length", usage=usage)


def held(replies: Mapping[str, Reply], family: str = "kimi-k2.6") -> Mapping[str, Held]:
    """By case, of its streamed way; the other way answers as it should."""
    made = suite(family)
    assert made.relate is not None
    found = made.relate({f"{case}/streamed": reply for case, reply in replies.items()})
    return {case.removesuffix("/streamed"): one for case, one in found.items()}


def pair(case: str, end: str, *, word: Reply, much: Reply, family: str = "kimi-k2.6") -> Held:
    return held({case: word, f"{case}/{end}": much}, family)[f"{case}/{end}"]


@pytest.mark.parametrize(
    ("family", "cases"),
    [
        ("kimi-k2-thinking", [LOOP, f"{LOOP}/rendered", EARLIER, f"{EARLIER}/dropped"]),
        ("kimi-k2.5", [LOOP, f"{LOOP}/rendered", EARLIER, f"{EARLIER}/dropped"]),
        (
            "kimi-k2.6",
            [LOOP, f"{LOOP}/rendered", EARLIER, f"{EARLIER}/dropped", ASKED, f"{ASKED}/rendered"],
        ),
        (
            "kimi-k3",
            [LOOP, f"{LOOP}/rendered", EARLIER, f"{EARLIER}/rendered", ASKED, f"{ASKED}/rendered"],
        ),
        ("tiny", [LOOP, f"{LOOP}/rendered", EARLIER, f"{EARLIER}/rendered"]),
    ],
)
def test_a_family_is_asked_what_its_contract_says_streamed_and_whole(
    family: str, cases: list[str]
) -> None:
    ids = [f"{case}/{way}" for case in cases for way in ("streamed", "whole")]
    assert sorted(task.id for task in suite(family).tasks) == sorted(ids)


def test_a_family_of_which_nothing_is_known_is_only_asked_to_accept() -> None:
    unknown = replace(rules("kimi-k2.6"), history=None)
    made = registry.suite(Given(name="thinking-history", rules=unknown))
    assert [task.id for task in made.tasks if task.id.endswith("/whole")] == [
        f"{LOOP}/whole",
        f"{EARLIER}/whole",
    ]
    assert made.relate is None


def test_two_cases_that_are_held_beside_each_other_differ_in_the_reasoning_alone() -> None:
    bodies = {task.id: task.exact.body for task in suite().tasks if task.exact}
    for case, end in ((LOOP, "rendered"), (EARLIER, "dropped"), (ASKED, "rendered")):
        word, much = bodies[f"{case}/whole"], bodies[f"{case}/{end}/whole"]
        assert word["messages"][1]["reasoning_content"] == WORD
        assert much["messages"][1]["reasoning_content"] == MUCH
        assert str(word).replace(WORD, MUCH) == str(much)
    assert len(MUCH.split()) >= 30
    assert bodies[f"{ASKED}/whole"]["chat_template_kwargs"] == {"preserve_thinking": True}
    assert bodies[f"{LOOP}/whole"]["messages"][1]["tool_calls"]


@pytest.mark.parametrize(("case", "family"), [(LOOP, "kimi-k2.6"), (EARLIER, "kimi-k3")])
def test_reasoning_that_is_to_be_rendered_makes_a_longer_prompt(case: str, family: str) -> None:
    word = counted(SHORT)
    for tokens, how in ((LONG, How.KEPT), (SHORT, How.BROKEN), (SHORT - 1, How.BROKEN)):
        found = pair(case, "rendered", word=word, much=counted(tokens), family=family)
        assert found.how is how
        assert f"{tokens} prompt tokens with much reasoning, {SHORT} with a word" in found.why


def test_reasoning_that_is_to_be_dropped_makes_no_longer_prompt() -> None:
    for tokens, how in ((SHORT, How.KEPT), (LONG, How.BROKEN), (SHORT - 1, How.BROKEN)):
        assert pair(EARLIER, "dropped", word=counted(SHORT), much=counted(tokens)).how is how


def test_reasoning_is_kept_where_it_is_asked_for() -> None:
    for tokens, how in ((LONG, How.KEPT), (SHORT, How.BROKEN)):
        assert pair(ASKED, "rendered", word=counted(SHORT), much=counted(tokens)).how is how


@pytest.mark.parametrize("case", [(LOOP, "rendered"), (EARLIER, "dropped")])
def test_an_engine_that_counts_nothing_is_broken(case: tuple[str, str]) -> None:
    for word, much in ((None, None), (SHORT, None), (None, SHORT)):
        found = pair(*case, word=counted(word), much=counted(much))
        assert found == Held(how=How.BROKEN, why="usage has no prompt_tokens")


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (None, "not asked"),
        (REJECTED, "refused (400)"),
        (Reply(outcome="server", status=500, said="CUDA error"), "server (500): CUDA error"),
        (Reply(outcome="cut", said="no finish_reason"), "cut: no finish_reason"),
    ],
)
def test_without_the_other_answer_nothing_is_known(other: Reply | None, why: str) -> None:
    replies = {f"{EARLIER}/dropped": counted(SHORT)}
    found = held(replies if other is None else {**replies, EARLIER: other})
    of = found[f"{EARLIER}/dropped"]
    assert of.how is How.UNANSWERED
    assert of.why.startswith(f"nothing to hold it beside: {EARLIER}/streamed: {why}")


def test_the_other_way_of_asking_is_not_the_other_case() -> None:
    made = suite()
    assert made.relate is not None
    found = made.relate({"tool-loop/whole": counted(1), "tool-loop/rendered/streamed": counted(2)})
    assert found["tool-loop/rendered/streamed"].how is How.UNANSWERED


@pytest.mark.parametrize(
    ("reply", "how"),
    [
        (REJECTED, How.BROKEN),
        (Reply(outcome=REFUSED, status=422, said="reasoning_content"), How.BROKEN),
        (Reply(outcome=REFUSED, status=401, said="no key"), How.UNANSWERED),
        (Reply(outcome="server", status=500, said="reasoning_content"), How.UNANSWERED),
        (Reply(outcome="cut", content="It"), How.UNANSWERED),
        (Reply(outcome="stalled"), How.UNANSWERED),
    ],
)
def test_reasoning_that_is_not_accepted_is_held_as_any_request(reply: Reply, how: How) -> None:
    found = held({LOOP: reply, f"{LOOP}/rendered": reply})
    assert [one.how for one in found.values()] == [how, how]
    assert held({LOOP: counted(SHORT), f"{LOOP}/rendered": reply})[f"{LOOP}/rendered"].how is how


def test_a_score_is_of_acceptance_alone() -> None:
    made = suite()
    task = next(task for task in made.tasks if task.id == f"{EARLIER}/dropped/whole")
    scores = [made.score(task, reply) for reply in (counted(LONG), REJECTED, Reply(outcome="cut"))]
    assert scores == [1.0, 0.0, None]
