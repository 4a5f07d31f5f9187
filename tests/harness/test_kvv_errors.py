"""The eight errors of Kimi Vendor Verifier, numbered as PEERS.md has them: each is provoked here,
and not made. `enginediff run` as a user calls it, with the openai package, on a server that does
what a test wants.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import pytest

from harness.base.held import How
from harness.cli import main
from harness.nodes import prepared
from harness.runs import journal
from harness.runs import spec as specs
from harness.runs.story import told
from harness.verifying import triggered
from harness.verifying.holding import rows
from launchers.openai_api import CHAT, COMPLETIONS
from launchers.probes import HELLO, LETTERS
from suites import trigger_cases
from tests.building import answer, serving
from tests.harness.test_run import (
    NUMBERS,
    TASKS,
    journal_of,
    lines,
    only,
    received,
    require_no_results,
    require_once,
    say,
    stream,
)

SPEC = """\
schema = 1
seed = 3
epochs = 1
transport = "openai"
nodes = ["local"]
{suites}
[[engines]]
name = "{url}"

[sampling]
max_tokens = 64
seeded = false
thinking = {{ temperature = {temperature}, top_p = 0.95 }}
instant = {{ temperature = 0.6, top_p = 0.95 }}

[limits]
in_flight = 8
attempts = {attempts}
retries = {retries}
idle_s = {idle_s}
total_s = 30.0
restarts = 0
"""
USUAL: Mapping[str, Any] = {"temperature": 1.0, "attempts": 2, "retries": 1000, "idle_s": 10.0}
PROMPT = [5, 6, 7]  # the token ids of every chat
GREETED = {
    "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}

Body = dict[str, Any]
Reply = Callable[[BaseHTTPRequestHandler, Body], None]


@dataclass(slots=True, kw_only=True)
class Server:
    """Any vendor's: it lists a model, greets, and answers a suite's requests as a test wants."""

    reply: Reply
    model: str = "vendor-1"
    silent: bool = False  # it closes every connection, as one that is dead
    asked: list[tuple[float, Body]] = field(default_factory=list[tuple[float, Body]])  # by suites
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        body: Body = json.loads(received(handler) or b"{}")
        if self.silent:
            handler.close_connection = True
        elif handler.path == "/v1/models":
            answer(handler, 200, json.dumps({"data": [{"id": self.model}]}).encode())
        elif handler.path == "/tokenize":
            answer(handler, 200, json.dumps({"tokens": PROMPT}).encode())
        elif of_a_suite(handler.path, body):
            with self.lock:
                self.asked.append((time.monotonic(), body))
            self.reply(handler, body)
        else:
            known = handler.path == CHAT
            answer(handler, 200 if known else 404, json.dumps(GREETED).encode())

    def die(self, handler: BaseHTTPRequestHandler) -> None:
        """Nobody listens there any more."""
        with self.lock:
            first, self.silent = not self.silent, True
        if first:
            assert isinstance(handler.server, TCPServer)
            handler.server.shutdown()
            handler.server.socket.close()
        handler.close_connection = True


def of_a_suite(path: str, body: Body) -> bool:
    """And not of who finds out what the server can do."""
    if path == COMPLETIONS:
        return bool(body.get("stream"))
    return path == CHAT and body["messages"][-1]["content"] not in (HELLO, LETTERS)


def number(body: Body) -> int:
    """Of the tiny task that is asked."""
    return NUMBERS[json.dumps(body["messages"][-1]["content"])]


def suite(name: str, **fields: str | int) -> str:
    table = {"name": name, **fields}
    return "\n".join(["[[suites]]", *(f"{key} = {json.dumps(table[key])}" for key in table), ""])


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What the command line came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder of one test, and the command line in it."""

    path: Path
    call: Callable[..., Done]

    @property
    def folder(self) -> Path:
        return self.path / "run"

    def spec(self, url: str, *suites: str, **changes: Any) -> Path:
        path = self.path / "run.toml"
        text = SPEC.format(**{**USUAL, "url": url, "suites": "\n".join(suites), **changes})
        path.write_text(text, "utf-8")
        return path

    def run(self, spec: Path) -> Done:
        return self.call("run", spec, "--run", self.folder)

    def cases(self, *rows: Mapping[str, Any]) -> Path:
        """A file of them, for tool-trigger."""
        path = self.path / "cases.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    def engine(self) -> dict[str, Any]:
        """Of summary.json."""
        (engine,) = json.loads((self.folder / "summary.json").read_bytes())["engines"]
        return engine

    def answers(self) -> dict[str, dict[str, Any]]:
        """By case."""
        return {one["case"]: one for one in lines(only(self.folder / "answers"))}

    def scores(self) -> Counter[float | None]:
        return Counter(one["score"] for one in lines(only(self.folder / "scores")))

    def held(self, spec: Path) -> Counter[How]:
        """How every case was held, by what the run left."""
        cases = prepared.cases(specs.load(spec))
        path = next((self.folder / "answers").glob("*"), self.folder / "none")
        return Counter(row.held["engine"].how for row in rows(cases, {"engine": path}))


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Generator[Place]:
    """The command line is called in this process, which saves a second each time."""
    monkeypatch.setenv("ENGINEDIFF_HOME", str(tmp_path / "home"))
    kept = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["enginediff", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Done(code=int(ended.value.code or 0), out=out, err=err)

    yield Place(path=tmp_path, call=call)
    for name, handler in kept.items():
        signal.signal(name, handler)


def failing(status: int, *headers: tuple[str, str]) -> Callable[[BaseHTTPRequestHandler], None]:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in (*headers, ("content-length", "2")):
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"no")

    return respond


def cut(handler: BaseHTTPRequestHandler, *events: str) -> None:
    """A stream of these, whose connection ends before its answer does."""
    content = "".join(f"data: {event}\n\n" for event in events).encode()
    handler.send_response(200)
    handler.send_header("content-length", str(len(content) + 100))
    handler.end_headers()
    handler.wfile.write(content)


def closed(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def chunk(choice: Mapping[str, Any]) -> str:
    return json.dumps({"choices": [{"index": 0, **choice}]})


def said(text: str, finish_reason: str | None = None) -> str:
    return chunk({"delta": {"content": text}, "finish_reason": finish_reason})


# 14 right of 20; of the others 2 are wrong, and 4 fail, each in a way of its own.
WRONG = (3, 11)
FAILS: Mapping[int, Callable[[BaseHTTPRequestHandler], None]] = {
    0: failing(500),
    7: failing(403),
    12: cut,
    19: closed,
}


def test_1_a_request_that_fails_on_every_try_stays_in_the_denominator(place: Place) -> None:
    def reply(handler: BaseHTTPRequestHandler, body: Body) -> None:
        n = number(body)
        if n in FAILS:
            FAILS[n](handler)
        else:
            say(handler, "no idea" if n in WRONG else TASKS[n].expected)

    with serving(Server(reply=reply)) as url:
        done = place.run(place.spec(url, suite("tiny-tasks", cases=20)))
    assert done.code == 4, done.err
    require_once(place.folder, 20)
    for text in (done.out, (place.folder / "report.md").read_text("utf-8")):
        assert "tiny-tasks: 0.700 (" in text and "14 of 20" in text
        assert "4 failed and counted as not right" in text and "0.875" not in text
    (row,) = place.engine()["suites"]
    assert (row["score"], row["points"], row["over"]) == (0.7, 14.0, 20)
    assert row["failed"] == {"server": 1, "refused": 1, "truncated": 1, "connect": 1}
    assert place.scores() == {1.0: 14, 0.0: 2, None: 4}


def test_2_a_stream_that_ends_without_finish_reason_is_not_scored_as_stop(place: Place) -> None:
    """Each says what is right, and how it ends is all that is wrong with it; the last is whole."""

    def reply(handler: BaseHTTPRequestHandler, body: Body) -> None:
        if "max_tokens" in body and body["max_tokens"] < 64:  # of the parameters
            if body.get("stream"):
                stream(handler, said("yes"), "[DONE]")
            else:
                whole = [{"index": 0, "message": {"content": "yes"}, "finish_reason": None}]
                answer(handler, 200, json.dumps({"choices": whole}).encode())
            return
        n = number(body)
        right = TASKS[n].expected
        endings: list[Callable[[], None]] = [
            lambda: stream(handler, said(right)),
            lambda: stream(handler, said(right), "[DONE]"),
            lambda: cut(handler, said(right)),
            lambda: stream(handler, said(right, "abort"), "[DONE]"),
            lambda: stream(handler, said(right, "stop"), "[DONE]"),
        ]
        endings[n]()

    with serving(server := Server(reply=reply)) as url:
        spec = place.spec(
            url,
            suite("tiny-tasks", cases=5),
            suite("parameters", cases=2, contract="kimi-k2.6"),
        )
        done = place.run(spec)
    assert done.code == 4, done.err
    assert len(server.asked) == 2 * 6 + 1  # each that was not whole was asked for once more
    answers = place.answers()
    whole = answers.pop(TASKS[4].id)
    assert (whole["outcome"], whole["score"], whole["finish_reason"]) == ("answered", 1.0, "stop")
    assert len(answers) == 6
    assert {(one["outcome"], one["score"]) for one in answers.values()} == {("truncated", None)}
    assert {one.get("finish_reason") for one in answers.values()} == {None, "abort"}
    assert place.held(spec) == {How.UNANSWERED: 2}
    tasks, parameters = place.engine()["suites"]
    assert (tasks["points"], tasks["over"], tasks["failed"]) == (1.0, 5, {"truncated": 4})
    assert (parameters["points"], parameters["over"]) == (0.0, 2)


PARAMETERS = suite("parameters", contract="kimi-k2.6")


def require_none_kept(place: Place, spec: Path) -> None:
    """KVV says 14 of 18."""
    found = place.held(spec)
    assert found == {How.UNANSWERED: len(prepared.cases(specs.load(spec)))}
    assert found.total() > 40


def test_3_the_parameters_suite_is_not_satisfied_by_a_dead_server(place: Place) -> None:
    """One that dies under the first request."""
    server = Server(reply=lambda handler, _: server.die(handler))
    with serving(server) as url:
        spec = place.spec(url, PARAMETERS)
        done = place.run(spec)
        assert done.code == 4, done.err
        assert "INCOMPLETE: 0 of " in done.out and f"given up: {url}: does not answer" in done.out
        require_none_kept(place, spec)
        assert place.scores() == {}
        (row,) = place.engine()["suites"]
        assert (row["score"], row["points"], row["over"]) == (None, 0.0, 0)

        again = place.run(spec)  # and nobody listens from the start
    assert again.code == 2 and "no HTTP server answers there" in again.err
    assert again.out == ""
    require_none_kept(place, spec)


def test_3_nor_by_one_that_never_was_there(place: Place) -> None:
    with serving(Server(reply=lambda handler, _: closed(handler))) as url:
        pass
    spec = place.spec(url, PARAMETERS)
    done = place.run(spec)
    assert done.code == 2 and "no HTTP server answers there" in done.err
    require_no_results(place.folder)
    require_none_kept(place, spec)


def test_3_nor_by_one_that_fails_at_all_it_is_asked(place: Place) -> None:
    with serving(Server(reply=lambda handler, _: failing(500)(handler))) as url:
        spec = place.spec(url, PARAMETERS, attempts=1)
        done = place.run(spec)
    assert done.code == 4, done.err
    require_none_kept(place, spec)
    (row,) = place.engine()["suites"]
    assert (row["score"], row["failed"]) == (0.0, {"server": row["cases"]})
    assert row["over"] == row["cases"] > 40 and "parameters: 0.000 (" in done.out
    assert place.scores() == {None: row["cases"]}


def test_4_a_stall_ends_a_5xx_is_tried_again_and_retry_after_is_obeyed(place: Place) -> None:
    released = threading.Event()
    tries: dict[int, list[float]] = {n: [] for n in range(4)}

    def reply(handler: BaseHTTPRequestHandler, body: Body) -> None:
        n = number(body)
        tries[n].append(time.monotonic())
        if n == 3:
            failing(500)(handler)
        elif len(tries[n]) > 1:
            say(handler, TASKS[n].expected)
        elif n == 0:
            cut(handler, said("4"))
            handler.wfile.flush()
            released.wait(20)
        elif n == 1:
            failing(503, ("retry-after", "1"))(handler)
        else:
            failing(429, ("retry-after", "1"))(handler)

    with serving(Server(reply=reply)) as url:
        try:
            began = time.monotonic()
            done = place.run(place.spec(url, suite("tiny-tasks", cases=4), attempts=3, idle_s=1.0))
            took = time.monotonic() - began
        finally:
            released.set()
    assert done.code == 4, done.err
    assert took < 15
    outcomes = [place.answers()[TASKS[n].id]["outcome"] for n in range(4)]
    assert outcomes == ["answered", "answered", "answered", "server"]
    ended = [line for line in journal.read(journal_of(place.folder)) if line["kind"] == "ended"]
    first = next(line["outcome"] for line in ended if line["n"] == 0)
    assert first in ("stalled", "client")  # ours, where this machine was late meanwhile
    waits = {n: at[1] - at[0] for n, at in tries.items()}
    assert waits[0] >= 1.0  # the idle time, and no 24 h
    assert waits[1] >= 1.0 and waits[2] >= 1.0
    assert len(tries[3]) == 3


def test_4_what_is_tried_again_is_bounded_for_all_requests_together(place: Place) -> None:
    with serving(server := Server(reply=lambda handler, _: failing(500)(handler))) as url:
        spec = place.spec(url, suite("tiny-tasks", cases=8), attempts=99, retries=3)
        done = place.run(spec)
    assert done.code == 4, done.err
    assert len(server.asked) == place.engine()["attempts"] == 8 + 3
    assert place.scores() == {None: 8}


def test_4_an_answer_that_was_cut_is_gone_on_with_and_not_paid_for_twice(place: Place) -> None:
    right = TASKS[0].expected
    texts = [right[:3], right[3:6], right[6:]]

    def reply(handler: BaseHTTPRequestHandler, _: Body) -> None:
        first, second, last = (
            {"text": text, "token_ids": [11 + n], "finish_reason": None}
            for n, text in enumerate(texts)
        )
        if len(server.asked) == 1:
            cut(handler, chunk(first), chunk(second))
        else:
            stream(handler, chunk({**last, "finish_reason": "stop"}), "[DONE]")

    with serving(server := Server(reply=reply)) as url:
        done = place.run(place.spec(url, suite("tiny-tasks-raw", cases=1)))
    assert done.code == 0, done.err
    asked = [(body["prompt"], body["max_tokens"]) for _, body in server.asked]
    assert asked == [(PROMPT, 64), ([*PROMPT, 11, 12], 62)]
    (one,) = place.answers().values()
    assert (one["content"], one["score"], one["attempts"]) == (right, 1.0, 2)
    assert (one["continued"], one["tokens"]) == ([2], 3)


def asking(name: str, reason: str | None, *, streamed: bool = True, **more: Any) -> Body:
    """A line of a file of cases, whose tools are tool_0, tool_1 ..."""
    tools = [{"type": "function", "function": {"name": f"tool_{n}"}} for n in range(12)]
    request = {"messages": [{"role": "user", "content": name}], "tools": tools, "stream": streamed}
    return {"id": name, "request": {**request, **more}, "reference": {"finish_reason": reason}}


def piece(n: int, arguments: str, *, begun: bool = False) -> Body:
    """A call, or more of one that has begun: of that, only the index tells which."""
    told = {"id": f"functions.f:{n}", "type": "function"} if not begun else {}
    name = {} if begun else {"name": f"tool_{n}"}
    return {"index": n, **told, "function": {**name, "arguments": arguments}}


def test_5_calls_stand_by_their_index_and_both_names_of_the_reasoning_are_read(
    place: Place,
) -> None:
    def reply(handler: BaseHTTPRequestHandler, body: Body) -> None:
        name = body["messages"][0]["content"]
        if not body.get("stream"):
            calls = [piece(n, f'{{"n": {n}}}') for n in range(12)]
            message = {"content": None, "reasoning": "so it is", "tool_calls": calls}
            whole = {"index": 0, "message": message, "finish_reason": "tool_calls"}
            answer(handler, 200, json.dumps({"choices": [whole]}).encode())
            return
        deltas: list[Body] = [{name: "so "}, {name: "it is"}]
        deltas += [{"tool_calls": [piece(n, '{"n": ')]} for n in range(12)]
        deltas += [{"tool_calls": [piece(n, f"{n}}}", begun=True)]} for n in reversed(range(12))]
        end = chunk({"delta": {}, "finish_reason": "tool_calls"})
        stream(handler, *(chunk({"delta": delta}) for delta in deltas), end, "[DONE]")

    path = place.cases(
        asking("reasoning", "tool_calls"),
        asking("reasoning_content", "tool_calls"),
        asking("whole", "tool_calls", streamed=False),
    )
    with serving(Server(reply=reply)) as url:
        done = place.run(place.spec(url, suite("tool-trigger", file=str(path))))
    assert done.code == 0, done.err
    answers = place.answers()
    assert set(answers) == {"reasoning", "reasoning_content", "whole"}
    for one in answers.values():
        assert one["reasoning"] == "so it is"
        assert one["calls"] == [
            {"id": f"functions.f:{n}", "name": f"tool_{n}", "arguments": f'{{"n": {n}}}'}
            for n in range(12)
        ]


def test_6_a_run_is_gone_on_with_as_it_was_begun_or_not_at_all(place: Place) -> None:
    def reply(handler: BaseHTTPRequestHandler, body: Body) -> None:
        del body
        if len(server.asked) > 1 and not answering.is_set():
            server.silent = True
            closed(handler)
        else:
            stream(handler, said("no", "stop"), "[DONE]")

    def trigger(url: str, thinking: str, **changes: Any) -> Path:
        lines = (asking(f"case {n}", "stop", thinking={"type": thinking}) for n in range(4))
        path = place.cases(*lines)
        return place.spec(url, suite("tool-trigger", file=str(path)), **changes)

    answering, other = threading.Event(), Server(reply=lambda handler, _: closed(handler))
    server = Server(reply=reply)
    with serving(server) as url, serving(other) as other_url:
        begun = place.run(trigger(url, "enabled", attempts=1))
        assert begun.code == 4 and "INCOMPLETE: " in begun.out
        server.silent = False
        answering.set()
        asked, before = len(server.asked), journal_of(place.folder).read_bytes()

        def refused(spec: Path, *words: str) -> None:
            done = place.run(spec)
            assert (done.code, done.out) == (2, "")
            for word in words:
                assert word in done.err, done.err

        refused(trigger(other_url, "enabled", attempts=1), "another spec", url, other_url)
        changes: Mapping[str, Any] = {"attempts": 1, "temperature": 0.5}
        refused(trigger(url, "enabled", **changes), "sampling.thinking.temperature: 1.0 became 0.5")
        refused(trigger(url, "disabled", attempts=1), "suite tool-trigger: ", "would mix both")
        server.model = "vendor-2"  # another one at the same address
        refused(trigger(url, "enabled", attempts=1), "'vendor-1'", "'vendor-2'")
        server.model = "vendor-1"
        assert (len(server.asked), len(other.asked)) == (asked, 0)
        assert journal_of(place.folder).read_bytes() == before
        assert len(list((place.folder / "records").iterdir())) == 1

        done = place.run(trigger(url, "enabled", attempts=1))
    assert done.code == 0, done.err
    require_once(place.folder, 4)
    assert place.scores() == {1.0: 4}


# Both call in 4 of ten (TP), the candidate alone in 1 (FP), the reference alone in 2 (FN):
# F1 = 2 x 4 / (2 x 4 + 1 + 2) = 8/11. Of its 5 calls one is of an unknown tool, one no JSON: 3/5.
REFERENCE, CANDIDATE = "1111011000", "1111100000"
INVALID = {1: piece(40, "{}"), 2: piece(2, '{"n": ')}


def test_7_f1_is_computed_and_a_last_chunk_without_choices_is_counted(place: Place) -> None:
    def reply(handler: BaseHTTPRequestHandler, body: Body) -> None:
        n = int(body["messages"][0]["content"])
        calls = CANDIDATE[n] == "1"
        one = INVALID.get(n, piece(n, '{"n": 1}'))
        delta = {"tool_calls": [{**one, "index": 0}]} if calls else {"content": "No."}
        end = chunk({"delta": {}, "finish_reason": "tool_calls" if calls else "stop"})
        usage = {"prompt_tokens": 7, "completion_tokens": 10 + n, "total_tokens": 17 + n}
        last = json.dumps({"choices": [], "usage": usage})
        stream(handler, chunk({"delta": delta}), end, last, "[DONE]")

    reasons = {"1": "tool_calls", "0": "stop"}
    path = place.cases(*(asking(str(n), reasons[one]) for n, one in enumerate(REFERENCE)))
    with serving(Server(reply=reply)) as url:
        spec = place.spec(url, suite("tool-trigger", file=str(path)))
        done = place.run(spec)
    assert done.code == 0, done.err

    engine = place.engine()
    assert (engine["prompt_tokens"], engine["completion_tokens"]) == (70, 145)
    assert "70 + 145 tokens" in done.out
    (row,) = engine["suites"]
    assert (row["score"], row["over"]) == (0.7, 10)  # they agree in 7

    cases = prepared.cases(specs.load(spec))
    recorded = list(trigger_cases.load(path))
    ten = triggered.found(recorded, cases, only(place.folder / "answers"), "tool-trigger", 0)
    assert (ten.tp, ten.fp, ten.fn, ten.tn) == (4, 1, 2, 3)
    assert ten.f1.estimate == pytest.approx(8 / 11)
    assert ten.f1_resampled is not None
    low, high = ten.f1_resampled
    assert 0 <= low < 8 / 11 < high <= 1
    assert ten.schema.estimate == pytest.approx(3 / 5)
    assert ten.usage.prompt_tokens == 70 and ten.usage.completion_tokens == 145
    assert ten.usage.untold == 0


def test_8_a_cell_comes_from_records_with_an_interval_and_no_hand_moves_it(place: Place) -> None:
    """7 right of 10, one of which fails: 0.7, and by Wilson (1927) 0.397 to 0.892."""

    def reply(handler: BaseHTTPRequestHandler, body: Body) -> None:
        n = number(body)
        if n == 0:
            failing(500)(handler)
        else:
            say(handler, "no idea" if n < 3 else TASKS[n].expected)

    with serving(Server(reply=reply)) as url:
        spec = place.spec(url, suite("tiny-tasks", cases=10), attempts=1)
        done = place.run(spec)
    assert done.code == 4, done.err
    (row,) = place.engine()["suites"]
    assert (row["score"], row["over"]) == (0.7, 10)
    assert (row["low"], row["high"]) == (
        pytest.approx(0.3968, abs=1e-4),
        pytest.approx(0.8922, abs=1e-4),
    )
    assert "tiny-tasks: 0.700 (0.397 to 0.892), 7 of 10" in done.out

    # By hand, from what was written while it was asked.
    ends = list(told(journal.read(journal_of(place.folder))))
    right = [one.answer.get("content") == TASKS[one.n].expected for one in ends]
    assert (sum(right), len(right)) == (7, 10)
    scores = only(place.folder / "scores")
    assert all(one["score"] in (None, 0.0, 1.0) for one in lines(scores))

    # A slip of units does not pass for a score, and is gone when the run is read again.
    report, summary = place.folder / "report.md", place.folder / "summary.json"
    made = {
        path: path.read_bytes()
        for path in (scores, report, summary, only(place.folder / "answers"))
    }
    scores.write_bytes(made[scores].replace(b'"score":1.0', b'"score":67.8', 1))
    assert scores.read_bytes() != made[scores]
    compared = place.call("compare", scores, scores)
    assert compared.code == 2 and "score is 67.8; it must lie in [0, 1]" in compared.err
    report.write_bytes(made[report].replace(b"0.700", b"0.900"))
    summary.write_bytes(made[summary].replace(b'"score":0.7', b'"score":70.0'))
    assert all(path.read_bytes() != made[path] for path in (report, summary))
    assert place.run(spec).code == 4  # the server is gone: nothing is asked
    assert {path: path.read_bytes() for path in made} == made

    # The records themselves are chained.
    records = journal_of(place.folder)
    text = records.read_bytes()
    records.write_bytes(text.replace(b"no idea", TASKS[1].expected.encode()))
    assert records.read_bytes() != text
    forged = place.run(spec)
    assert forged.code == 2 and "its chain is broken" in forged.err
    assert {path: path.read_bytes() for path in made} == made
