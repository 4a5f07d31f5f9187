"""Whatever goes wrong while a request is under way has its kind, is sent again as the rules say,
and stands once in the journal, however often the engine or this process ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.runs import life
from harness.runs.life import End
from harness.runs.retry import RULES, Failure
from harness.runs.sdk import Sdk
from harness.runs.transport import UnansweredError
from tests.harness.runs import made_up
from tests.harness.runs.scripted import (
    CHATTED,
    DONE,
    HANG,
    PROMPT,
    WHOLE,
    Rig,
    Scripted,
    Step,
    always,
    chat,
    event,
    in_order,
    raw,
    requests,
)

LOOK_S = 0.02


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle times of a tenth of a second need more looks than idle times of a minute."""
    monkeypatch.setattr(life, "LOOK_S", LOOK_S)


def rig(
    folder: Path,
    transport: Scripted,
    *,
    count: int = 1,
    as_raw: bool = True,
    continues: bool = True,
    supervised: bool = False,
    ends_with_done: bool = True,
    in_flight: int = 4,
    attempts: int = 99,
    retries: int = 999,
    idle_s: float = 30.0,
    total_s: float = 60.0,
) -> Rig:
    return Rig(
        path=folder / "0.jsonl",
        transport=transport,
        requests=requests(count, raw=as_raw, continues=continues),
        limits=replace(
            made_up.LIMITS,
            in_flight=in_flight,
            attempts=attempts,
            retries=retries,
            idle_s=idle_s,
            total_s=total_s,
        ),
        supervised=supervised,
        ends_with_done=ends_with_done,
    )


def failing(kind: Failure, status: int | None = None) -> UnansweredError:
    return UnansweredError(kind, f"it is {kind}", status=status)


def test_an_answer_stands_once_and_whole_in_the_journal(tmp_path: Path) -> None:
    run = rig(tmp_path, in_order((0.01, *WHOLE)), count=9)
    assert run.lived() is End.DONE
    found = run.answers()
    assert sorted(found) == list(range(9))
    assert all(
        one.answer == {"content": "abc", "token_ids": [1, 2, 3], "finish_reason": "stop"}
        for one in found.values()
    )
    assert run.transport.bodies[0]["prompt"] == list(PROMPT)
    assert run.transport.most_inside == 4
    assert (run.watch.done, run.watch.failed, run.watch.tokens) == (9, 0, 27)


@pytest.mark.parametrize("kind", [kind for kind in Failure if kind is not Failure.CLIENT])
def test_a_failure_is_sent_again_as_its_rule_says_and_no_more(
    tmp_path: Path, kind: Failure
) -> None:
    most = RULES[kind].retries
    run = rig(tmp_path, in_order((failing(kind),)))
    assert run.lived() is End.DONE
    assert run.outcomes() == [(kind, False)] * most + [(kind, True)]
    assert len(run.transport.bodies) == most + 1
    assert run.told.over == {0: kind}
    assert run.watch.failures[kind] == most + 1
    assert run.told.retries == (0 if kind is Failure.ENGINE else most)


@pytest.mark.parametrize("kind", [kind for kind in Failure if RULES[kind].retries])
def test_an_answer_that_comes_at_the_last_attempt_counts(tmp_path: Path, kind: Failure) -> None:
    most = RULES[kind].retries
    run = rig(tmp_path, in_order(*[(failing(kind),)] * most, WHOLE))
    assert run.lived() is End.DONE
    (one,) = run.answers().values()
    assert (one.outcome, one.attempts, one.answer["content"]) == ("answered", most + 1, "abc")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_the_engine_refuses_is_asked_once(tmp_path: Path, status: int) -> None:
    run = rig(tmp_path, in_order((failing(Failure.REFUSED, status),), WHOLE), in_flight=1, count=2)
    assert run.lived() is End.DONE
    assert [(one.n, one.outcome, one.attempts) for one in run.answers().values()] == [
        (0, Failure.REFUSED, 1),
        (1, "answered", 1),
    ]


def test_the_attempts_of_a_request_and_the_retries_of_a_run_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    few = rig(tmp_path / "a", in_order((failing(Failure.SERVER),)), attempts=3)
    assert few.lived() is End.DONE
    assert few.outcomes() == [(Failure.SERVER, False)] * 2 + [(Failure.SERVER, True)]
    (tmp_path / "b").mkdir()
    poor = rig(tmp_path / "b", in_order((failing(Failure.SERVER),)), count=9, retries=5)
    assert poor.lived() is End.DONE
    assert poor.told.retries == 5
    assert sum(not final for _, final in poor.outcomes()) == 5
    assert len(poor.transport.bodies) == 9 + 5
    again = rig(tmp_path / "b", in_order((failing(Failure.SERVER),)), count=10, retries=5)
    assert again.lived(again=True) is End.DONE  # the budget is the run's, not the process's
    assert len(again.transport.bodies) == 1


def test_a_raw_answer_that_was_cut_goes_on_behind_its_safe_end(tmp_path: Path) -> None:
    """The token without a text may be half a character, and so may the replacement character."""
    cut = (raw("a", 1), raw("b", 2), raw("", 3), raw("\N{REPLACEMENT CHARACTER}", 4))
    more = (raw("c", 5, 6), failing(Failure.TRUNCATED))
    end = (raw("d", 7, finish="stop"), DONE)
    run = rig(tmp_path, in_order((*cut, failing(Failure.TRUNCATED)), more, end))
    assert run.lived() is End.DONE
    sent = [(body["prompt"], body["max_tokens"]) for body in run.transport.bodies]
    assert sent == [
        ([*PROMPT], 8),
        ([*PROMPT, 1, 2], 6),
        ([*PROMPT, 1, 2, 5, 6], 4),
    ]
    assert [line["from"] for line in run.lines("sent")] == [0, 2, 4]
    (one,) = run.answers().values()
    assert one.answer == {
        "content": "abcd",
        "token_ids": [1, 2, 5, 6, 7],
        "finish_reason": "stop",
    }
    assert (one.continued, one.attempts) == ((2, 4), 3)
    assert run.watch.continued == 2


@pytest.mark.parametrize("as_raw", [True, False])
def test_what_cannot_be_continued_begins_anew(tmp_path: Path, as_raw: bool) -> None:
    """A raw suite that is not to be, and any chat."""
    cut: Sequence[Step] = (raw("x", 9) if as_raw else chat("x"), failing(Failure.TRUNCATED))
    run = rig(
        tmp_path,
        in_order(cut, WHOLE if as_raw else CHATTED),
        as_raw=as_raw,
        continues=not as_raw,
    )
    assert run.lived() is End.DONE
    assert run.transport.bodies[0] == run.transport.bodies[1]
    assert [line["from"] for line in run.lines("sent")] == [0, 0]
    (one,) = run.answers().values()
    assert (one.answer["content"], one.continued) == ("abc", ())


def test_an_answer_of_all_its_tokens_without_its_end_begins_anew(tmp_path: Path) -> None:
    full = [raw("x", i) for i in range(8)]
    run = rig(tmp_path, in_order((*full, failing(Failure.TRUNCATED)), WHOLE))
    assert run.lived() is End.DONE
    assert run.transport.bodies[1]["max_tokens"] == 8
    assert run.answers()[0].answer["content"] == "abc"


@pytest.mark.parametrize("as_raw", [True, False])
def test_an_answer_whose_end_stood_in_the_journal_is_concluded_without_a_request(
    tmp_path: Path, as_raw: bool
) -> None:
    made_up.journalled(tmp_path / "0.jsonl", made_up.answered(0, "abc")[:2])
    run = rig(tmp_path, in_order(WHOLE), as_raw=as_raw)
    assert run.lived(again=True) is End.DONE
    assert run.transport.bodies == []
    (one,) = run.answers().values()
    assert (one.outcome, one.answer["content"], one.end["recovered"]) == ("answered", "abc", True)


def test_a_raw_answer_half_of_which_stood_in_the_journal_is_gone_on_with(tmp_path: Path) -> None:
    begun = made_up.answered(0, "ab")[:1]
    part = {"content": "ab", "token_ids": [1, 2]}
    made_up.journalled(tmp_path / "0.jsonl", [*begun, {"kind": "parts", "parts": [[0, part]]}])
    run = rig(tmp_path, in_order((raw("c", 3, finish="stop"), DONE)))
    assert run.lived(again=True) is End.DONE
    assert run.transport.bodies[0]["prompt"] == [*PROMPT, 1, 2]
    (one,) = run.answers().values()
    assert (one.answer["content"], one.continued, one.attempts) == ("abc", (2,), 2)


@pytest.mark.parametrize("as_raw", [True, False])
def test_an_answer_that_had_a_reason_and_no_done_is_not_concluded(
    tmp_path: Path, as_raw: bool
) -> None:
    """More may have been to come: a server may give its reason early."""
    sent, parts, _ = made_up.answered(0, "a", [1])
    del parts["parts"][0][1]["done"]
    made_up.journalled(tmp_path / "0.jsonl", [sent, parts])
    run = rig(tmp_path, in_order(WHOLE if as_raw else CHATTED), as_raw=as_raw)
    assert run.lived(again=True) is End.DONE
    assert [one.answer["content"] for one in run.answers().values()] == ["abc"]


@pytest.mark.parametrize("last", [failing(Failure.TRUNCATED), HANG])
def test_an_answer_whose_engine_died_before_done_lacks_nothing(
    tmp_path: Path, last: UnansweredError | float
) -> None:
    """In the same process: what it keeps in memory is what its journal tells."""

    def die() -> None:
        run.alive = False

    steps = (raw("a", 1), raw("b", 2), raw("c", 3, finish="stop"), die, last)
    run = rig(tmp_path, in_order(steps, (raw("c", 3, finish="stop"), DONE)), supervised=True)
    assert run.lived() is End.DIED
    run.alive = True
    assert run.lived() is End.DONE
    (one,) = run.answers().values()
    assert one.answer == {"content": "abc", "token_ids": [1, 2, 3], "finish_reason": "stop"}
    assert run.transport.bodies[1]["prompt"] == [*PROMPT, 1, 2]


def test_an_idle_time_and_a_whole_time_that_end_in_one_look_are_one_stall(tmp_path: Path) -> None:
    def block() -> None:
        time.sleep(0.5)

    run = rig(tmp_path, in_order((0.05, block, HANG)), idle_s=0.2, total_s=0.3, attempts=1)
    assert run.lived() is End.DONE
    assert {outcome for outcome, _ in run.outcomes()} <= {Failure.STALLED, Failure.CLIENT}


BEGUN = (raw("a", 1), raw("b", 2))
END = raw("c", 3, finish="stop")


@pytest.mark.parametrize(
    ("steps", "kind", "why"),
    [
        (BEGUN, Failure.TRUNCATED, "without finish_reason"),
        ((*BEGUN, DONE), Failure.TRUNCATED, "without finish_reason"),
        ((*BEGUN, END), Failure.TRUNCATED, "without [DONE]"),
        ((*BEGUN, END, b"data: [DO"), Failure.TRUNCATED, "middle of an event"),
        ((*BEGUN, END[:40]), Failure.TRUNCATED, "middle of an event"),
        ((), Failure.TRUNCATED, "without finish_reason"),
        ((*BEGUN, b"data: {]\n\n"), Failure.MALFORMED, "no JSON"),
        ((b'{"object": "text_completion"}',), Failure.MALFORMED, "no stream of events"),
        ((*BEGUN, b'data: {"error": {"code": 500}}\n\n'), Failure.SERVER, "an error"),
    ],
)
def test_what_is_no_whole_answer_is_none(
    tmp_path: Path, steps: Sequence[Step], kind: Failure, why: str
) -> None:
    run = rig(tmp_path, in_order(steps, WHOLE), continues=False)
    assert run.lived() is End.DONE
    first, last = run.lines("ended")
    assert (first["outcome"], first["final"], last["outcome"]) == (kind, False, "answered")
    assert why in first["why"]
    assert run.answers()[0].answer["content"] == "abc"


def test_of_a_stranger_done_is_asked_for_once_it_has_sent_it(tmp_path: Path) -> None:
    without = (*BEGUN, END)
    run = rig(
        tmp_path, in_order(without, WHOLE, without, WHOLE), count=3, in_flight=1,
        ends_with_done=False, continues=False,
    )  # fmt: skip
    assert run.lived() is End.DONE
    assert run.outcomes() == [
        ("answered", True),
        ("answered", True),
        (Failure.TRUNCATED, False),
        ("answered", True),
    ]


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_answer_that_the_engine_broke_off_is_not_whole(tmp_path: Path, reason: str) -> None:
    """vLLM and SGLang end the streams of a request that they abort with such a finish_reason."""
    run = rig(tmp_path, in_order((*BEGUN, raw("", finish=reason), DONE), WHOLE), continues=False)
    assert run.lived() is End.DONE
    assert run.outcomes()[0] != ("answered", True)


def test_what_was_truncated_for_want_of_done_is_so_at_resume_too(tmp_path: Path) -> None:
    cut = {"kind": "ended", "n": 0, "attempt": 1, "outcome": "truncated", "final": False}
    made_up.journalled(tmp_path / "0.jsonl", [*made_up.answered(0, "abc")[:2], cut])
    run = rig(tmp_path, in_order(WHOLE), as_raw=False)
    assert run.lived(again=True) is End.DONE
    assert len(run.transport.bodies) == 1


def test_the_time_of_a_request_counts_from_its_first_attempt_on(tmp_path: Path) -> None:
    run = rig(tmp_path, in_order((0.2, failing(Failure.SERVER)), WHOLE))
    assert run.lived() is End.DONE
    assert run.lines("ended")[-1]["whole_s"] >= 0.19
    assert run.watch.whole_s.sum >= 0.19


def test_an_engine_that_says_nothing_is_stalled_and_so_is_one_that_never_ends(
    tmp_path: Path,
) -> None:
    run = rig(tmp_path, in_order((*BEGUN, HANG), (END, DONE)), idle_s=0.1)
    assert run.lived() is End.DONE
    first = run.lines("ended")[0]
    assert (first["outcome"], first["final"]) == (Failure.STALLED, False)
    assert "nothing came for 0.1 s" in first["why"]
    assert run.answers()[0].answer["content"] == "abc"
    slow = rig(tmp_path, in_order([b": alive\n\n", 0.03] * 100, WHOLE), total_s=0.3)
    slow.path = tmp_path / "slow.jsonl"
    assert slow.lived() is End.DONE
    first = slow.lines("ended")[0]
    assert first["outcome"] == Failure.STALLED
    assert "no whole answer within 0.3 s" in first["why"]


def test_a_slow_engine_that_says_something_now_and_then_is_not_stalled(tmp_path: Path) -> None:
    slow: list[Step] = [step for piece in WHOLE for step in (piece, 0.12, b": here\n\n", 0.12)]
    run = rig(tmp_path, in_order(slow), idle_s=0.2)
    assert run.lived() is End.DONE
    assert run.outcomes() == [("answered", True)]


def test_an_engine_is_not_blamed_for_the_time_in_which_we_were_late(tmp_path: Path) -> None:
    """This process is blocked for longer than the idle time while the engine answers."""
    script = (raw("a", 1), lambda: time.sleep(0.5), 0.15, *WHOLE[1:])
    run = rig(tmp_path, in_order(script), idle_s=0.3)
    assert run.lived() is End.DONE
    assert run.outcomes() == [("answered", True)]
    assert run.lines("ended")[-1]["late_s"] >= 0.4  # a reader of times is told


def test_a_timeout_while_we_were_late_is_our_own(tmp_path: Path) -> None:
    """The whole time is over in a block; the kind says whose fault it was."""
    script = (raw("a", 1), 0.1, lambda: time.sleep(0.5), HANG)
    run = rig(tmp_path, in_order(script, WHOLE[1:]), idle_s=0.4, total_s=0.55)
    assert run.lived() is End.DONE
    first = run.lines("ended")[0]
    assert (first["outcome"], first["final"]) == (Failure.CLIENT, False)
    assert "we ourselves were" in first["why"]


def test_no_engine_is_blamed_while_there_is_no_room_on_the_disk(tmp_path: Path) -> None:
    """The writer says that it is full, for longer than the idle time, while the stream hangs."""
    run = rig(tmp_path, Scripted(lambda n, _: scripts[n]), idle_s=0.15)

    def full() -> None:
        assert run.asking is not None
        run.asking.writer._room.clear()  # pyright: ignore[reportPrivateUsage]

    def free() -> None:
        assert run.asking is not None
        run.asking.writer._room.set()  # pyright: ignore[reportPrivateUsage]

    scripts: list[Sequence[Step]] = [(raw("a", 1), full, 0.4, free, *WHOLE[1:])]
    assert run.lived() is End.DONE
    assert run.outcomes() == [("answered", True)]


def test_what_is_under_way_when_the_engine_dies_is_answered_in_its_next_life(
    tmp_path: Path,
) -> None:
    run = rig(tmp_path, Scripted(lambda n, body: script(n, body)), count=3, supervised=True)

    def die() -> None:
        run.alive = False

    def script(n: int, body: object) -> Sequence[Step]:
        del body
        if run.alive and n < 3:
            return (raw("a", 1), raw("b", 2), *((0.1, die) if n == 2 else ()), HANG)
        return (END, DONE)

    assert run.lived() is End.DIED
    assert run.outcomes() == [(Failure.ENGINE, False)] * 3
    assert sorted(run.told.begun) == [0, 1, 2]
    run.alive = True
    assert run.lived() is End.DONE
    found = run.answers()
    assert {n: one.answer["content"] for n, one in found.items()} == dict.fromkeys(range(3), "abc")
    assert all((one.attempts, one.continued) == (2, (2,)) for one in found.values())


def test_a_stream_that_breaks_because_the_engine_died_is_the_engines(tmp_path: Path) -> None:
    run = rig(tmp_path, always(lambda: script), supervised=True)

    def die() -> None:
        run.alive = run.reachable = False

    script: Sequence[Step] = (raw("a", 1), die, failing(Failure.TRUNCATED))
    assert run.lived() is End.DIED
    assert set(run.outcomes()) == {(Failure.ENGINE, False)}


def test_a_stream_that_breaks_before_its_engine_is_seen_to_be_dead_is_the_engines(
    tmp_path: Path,
) -> None:
    run = rig(tmp_path, always(lambda: script), supervised=True)

    def die() -> None:
        run.alive = run.reachable = False

    def dying() -> None:  # sooner than whoever asks who is to blame looks again
        asyncio.get_running_loop().call_later(0.05, die)

    script: Sequence[Step] = (raw("a", 1), dying, failing(Failure.TRUNCATED))
    assert run.lived() is End.DIED
    assert set(run.outcomes()) == {(Failure.ENGINE, False)}


def test_an_engine_that_dies_again_and_again_fails_no_request_for_good(tmp_path: Path) -> None:
    run = rig(tmp_path, always(lambda: script), supervised=True, attempts=3)

    def die() -> None:
        run.alive = run.reachable = False

    script: Sequence[Step] = (raw("a", 1), die, failing(Failure.TRUNCATED))
    for _ in range(6):
        run.alive = run.reachable = True
        assert run.lived() is End.DIED
    assert not any(final for _, final in run.outcomes())
    assert list(run.told.begun) == [0]


def test_a_supervised_engine_from_which_nothing_comes_hangs(tmp_path: Path) -> None:
    run = rig(tmp_path, in_order((HANG,)), count=6, supervised=True, idle_s=0.1)
    run.reachable = False
    assert run.lived() is End.HUNG
    assert set(run.outcomes()) == {(Failure.STALLED, False)}
    assert run.told.over == {}


def test_one_request_that_stalls_a_healthy_engine_is_the_only_one_that_fails(
    tmp_path: Path,
) -> None:
    """The others' answers show that the engine works; without them it would hang."""

    def script(n: int, body: Mapping[str, Any]) -> Sequence[Step]:
        del n
        return (HANG,) if "Say t0." in str(body) else (chat("a"), 0.05, chat("b", "stop"), DONE)

    run = rig(
        tmp_path,
        Scripted(script),
        count=20,
        as_raw=False,
        in_flight=2,
        attempts=3,
        supervised=True,
        idle_s=0.15,
    )
    assert run.lived() is End.DONE
    assert {n for n, one in run.answers().items() if one.outcome != "answered"} == {0}
    assert run.told.over[0] == Failure.STALLED


def test_stalls_between_which_answers_came_are_no_hung_engine(tmp_path: Path) -> None:
    scripts = [script for _ in range(4) for script in ((HANG,), CHATTED)]
    run = rig(
        tmp_path,
        in_order(*scripts),
        count=4,
        as_raw=False,
        in_flight=1,
        supervised=True,
        idle_s=0.1,
    )
    assert run.lived() is End.DONE
    assert [one.attempts for one in run.answers().values()] == [2] * 4


def test_a_url_where_nobody_listens_is_gone_and_no_request_has_failed_for_good(
    tmp_path: Path,
) -> None:
    run = rig(tmp_path, in_order((failing(Failure.CONNECT),)), count=9)
    run.reachable = False
    assert run.lived() is End.GONE
    assert run.told.over == {}
    assert set(run.outcomes()) == {(Failure.CONNECT, False)}
    assert run.engine is not None and run.engine.why_gone == "it is connect"


def test_a_supervised_engine_that_cannot_be_reached_hangs(tmp_path: Path) -> None:
    run = rig(tmp_path, in_order((failing(Failure.CONNECT),)), supervised=True)
    run.reachable = False
    assert run.lived() is End.HUNG
    assert run.told.over == {}


def test_a_stop_leaves_what_is_under_way_begun(tmp_path: Path) -> None:
    run = rig(tmp_path, always(lambda: (*BEGUN, 0.05, stop, HANG)), count=9)

    def stop() -> None:
        assert run.stop is not None
        run.stop.set()

    assert run.lived() is End.STOPPED
    assert run.told.over == {} and len(run.told.begun) == 4
    assert run.outcomes() == []  # nobody failed
    again = rig(tmp_path, in_order((END, DONE)), count=4)
    assert again.lived(again=True) is End.DONE
    assert {one.answer["content"] for one in again.answers().values()} == {"abc"}


def test_a_key_that_is_refused_five_times_in_a_row_is_no_requests_fault(tmp_path: Path) -> None:
    run = rig(tmp_path, in_order((failing(Failure.REFUSED, 401),)), count=30)
    assert run.lived() is End.GONE
    assert len(run.told.over) == 4
    assert run.engine is not None and run.engine.keys_refused >= 5


def test_a_key_that_no_question_is_answered_by_is_found_at_once(tmp_path: Path) -> None:
    """None of what was asked has failed for good: another key can go on with it."""
    run = rig(tmp_path, in_order((failing(Failure.REFUSED, 401),)), count=30)
    run.key_refused = True
    assert run.lived() is End.GONE
    assert not run.told.over


def test_an_answer_between_them_shows_that_the_key_is_right(tmp_path: Path) -> None:
    refused = failing(Failure.REFUSED, 401)
    run = rig(tmp_path, in_order(*[(refused,)] * 4, WHOLE, *[(refused,)] * 4, WHOLE), in_flight=1)
    run.requests = requests(10)
    assert run.lived() is End.DONE
    assert [one.outcome for one in run.answers().values()].count("answered") == 2


def test_a_storm_of_429_lets_fewer_in_and_loses_nothing(tmp_path: Path) -> None:
    storm = [(failing(Failure.RATE_LIMITED, 429),)] * 8
    run = rig(tmp_path, in_order(*storm, WHOLE), count=12, in_flight=8)
    assert run.lived() is End.DONE
    assert run.watch.allowed < 8
    assert [one.outcome for one in run.answers().values()] == ["answered"] * 12


@pytest.mark.parametrize(
    "answer",
    [
        b"{}",
        b"no JSON",
        b'{"tokens": null}',
        b'{"tokens": ["a"]}',
        b'{"tokens": []}',
    ],
)
def test_a_prompt_that_cannot_be_rendered_is_malformed(tmp_path: Path, answer: bytes) -> None:
    """The engine's answer to /tokenize is none; what is asked is not an empty prompt."""
    run = rig(tmp_path, in_order(WHOLE))
    run.transport.rendered = answer
    assert run.lived() is End.DONE
    (one,) = run.answers().values()
    assert one.outcome == Failure.MALFORMED
    assert run.transport.bodies == []


def test_a_piece_that_brings_several_events_counts_each_once(tmp_path: Path) -> None:
    together = b"".join([raw("a", 1), raw("b", 2), END, DONE])
    odd = [together[i : i + 7] for i in range(0, len(together), 7)]
    run = rig(tmp_path, in_order((together,), odd), count=2, in_flight=1)
    assert run.lived() is End.DONE
    assert [one.answer["token_ids"] for one in run.answers().values()] == [[1, 2, 3]] * 2


def test_events_after_the_usage_are_counted(tmp_path: Path) -> None:
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 3}}\n\n'
    run = rig(tmp_path, in_order((*WHOLE[:-1], usage, event({"text": ""}), DONE)))
    assert run.lived() is End.DONE
    assert run.answers()[0].end["usage"] == {"prompt_tokens": 3, "completion_tokens": 3}


def test_a_count_that_no_answer_has_is_kept_as_it_is_and_not_counted_with(tmp_path: Path) -> None:
    """Behind tokens that were there, more would not be written."""
    usage = b'data: {"choices": [], "usage": {"completion_tokens": %d}}\n\n' % (2**64 - 1)
    cut = (raw("a", 1), raw("b", 2))
    run = rig(tmp_path, in_order(cut, (END, usage, DONE)))
    assert run.lived() is End.DONE
    (one,) = run.answers().values()
    assert one.continued == (2,)
    assert one.end["usage"] == {"completion_tokens": 2**64 - 1}
    assert one.end["tokens"] == 2 + 1  # those before, and its chunks


def test_a_raw_prompt_can_be_rendered_by_the_openai_package_too() -> None:
    """Nobody listens there, which is a failure like any other; the run goes on."""

    async def rendered() -> None:
        sdk = Sdk("http://127.0.0.1:1", key="", most=1)
        try:
            async with sdk.stream("/tokenize", b'{"model": "m", "messages": []}'):
                pass
        finally:
            await sdk.close()

    with pytest.raises(UnansweredError):
        asyncio.run(rendered())
