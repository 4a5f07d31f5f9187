"""A server that owes its users something and gives them nothing satisfies no suite, whatever it
answers: every case keeps its place, what is unfinished has no score, and the word is not EQUIVALENT
even where the check's is.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import ConfigError
from harness.base.held import How
from harness.checker.outcome import Word
from harness.comparison import Row as Checked
from harness.nodes import prepared
from harness.run import Terminal, run
from harness.runs import spec as specs
from harness.verifying.holding import Row, SuiteCount, counts, rows
from harness.verifying.spec import SHORT, Asked, Engine, spec_text
from harness.verifying.verification import decided
from launchers import contracts
from launchers.openai_api import CHAT
from launchers.probes import HELLO, LETTERS
from launchers.process import free_port
from tests.building import answer, serving

FAMILY = "kimi-k2.6"
ALONE = ("parameters", "features", "tool-schemas", "ending")  # whose cases are held by themselves
EQUAL = Checked(
    name="made up",
    numerics="bf16",
    word=Word.EQUIVALENT,
    level="L1",
    reasons=("it computes what the reference computes",),
    tokens=1,
    seconds=1.0,
    launch_seconds=None,
    report=None,
    error=None,
    exit_code=0,
)
SMALLER: Mapping[str, str] = {
    '(name = "tool-schemas"\n.*\ncases) = .*': r"\1 = 12",
    '(name = "ending"\n.*\ncases) = .*': r"\1 = 5",
    "in_flight = .*": "in_flight = 48",
    "attempts = .*": "attempts = 1",
}
IMPATIENT = {
    "in_flight = .*": "in_flight = 200",
    "idle_s = .*": "idle_s = 0.5",
    "total_s = .*": "total_s = 1.0",
}

QUIET = Terminal(announce=lambda _: None, show=lambda _: None)
GREETING, SPELLING = ([{"role": "user", "content": text}] for text in (HELLO, LETTERS))
ALL = """invalid messages, message, role, content, stop, n, max_tokens, temperature, tools,
top_p, presence_penalty, frequency_penalty, logprobs, tool_choice, name, schema, response_format"""

Body = dict[str, Any]
Reply = Callable[[BaseHTTPRequestHandler, Body], None]


# What the servers do.


def refusing(status: int, said: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler, body: Body) -> None:
        del body
        handler.send_response(status)
        handler.send_header("retry-after", "0")
        handler.send_header("content-length", str(len(said)))
        handler.end_headers()
        handler.wfile.write(said.encode())

    return reply


def saying(content: str) -> Reply:
    """200, and the same bytes to everything."""
    return lambda handler, _: answer(handler, 200, content.encode())


def whole(content: str, finish_reason: str) -> str:
    choice = {"index": 0, "message": {"content": content}, "finish_reason": finish_reason}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 2}})


def streamed(content: str, finish_reason: str) -> str:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
    events = [json.dumps({"choices": [choice]}), json.dumps(usage), "[DONE]"]
    return "".join(f"data: {event}\n\n" for event in events)


def chatting(content: str, finish_reason: str) -> Reply:
    """The same chat to everything, in the form in which it is asked for."""

    def reply(handler: BaseHTTPRequestHandler, body: Body) -> None:
        form = streamed if body.get("stream") else whole
        answer(handler, 200, form(content, finish_reason).encode())

    return reply


def refusing_late(handler: BaseHTTPRequestHandler, body: Body) -> None:
    """By a text behind a status of 200, which vLLM may have sent when it finds a fault."""
    error = json.dumps({"error": {"code": 400, "message": ALL}})
    answer(handler, 200, (f"data: {error}\n\n" if body.get("stream") else error).encode())


def cutting(handler: BaseHTTPRequestHandler, body: Body) -> None:
    """Streamed or not: no answer comes to its end."""
    form = streamed if body.get("stream") else whole
    content = form("Hello there.", "stop").encode()
    handler.send_response(200)
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 3])


def closing(handler: BaseHTTPRequestHandler, body: Body) -> None:
    """As one that is dead."""
    del body
    handler.close_connection = True


let_go = threading.Event()


def hanging(handler: BaseHTTPRequestHandler, body: Body) -> None:
    del body
    let_go.wait(60)
    handler.close_connection = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A server, and what is to come of it once it is asked."""

    reply: Reply
    word: Word
    hows: frozenset[How]  # of its cases, all that there are
    kept: tuple[str, ...] = ()  # suites that it does satisfy, and rightly
    passes: bool = False  # who finds out what it can do finds nothing that ends it there


NO_ANSWER = frozenset({How.UNANSWERED})
REFUSED = frozenset({How.BROKEN, How.UNANSWERED})
ANSWERED = frozenset({How.KEPT, How.BROKEN, How.NOT_ENFORCED})
SERVERS: Mapping[str, Bad] = {
    "closes every connection": Bad(reply=closing, word=Word.INCONCLUSIVE, hows=NO_ANSWER),
    "hangs": Bad(reply=hanging, word=Word.INCONCLUSIVE, hows=NO_ANSWER),
    "cuts every answer": Bad(reply=cutting, word=Word.INCONCLUSIVE, hows=NO_ANSWER),
    "500": Bad(reply=refusing(500, ALL), word=Word.INCONCLUSIVE, hows=NO_ANSWER),
    "401": Bad(reply=refusing(401, ALL), word=Word.INCONCLUSIVE, hows=NO_ANSWER),
    "403": Bad(reply=refusing(403, ALL), word=Word.INCONCLUSIVE, hows=NO_ANSWER),
    "429": Bad(reply=refusing(429, ALL), word=Word.INCONCLUSIVE, hows=NO_ANSWER, passes=True),
    "200 and an empty object": Bad(reply=saying("{}"), word=Word.INCONCLUSIVE, hows=NO_ANSWER),
    "200 and a page": Bad(
        reply=saying("<html>Sign in.</html>"), word=Word.INCONCLUSIVE, hows=NO_ANSWER
    ),
    "400": Bad(reply=refusing(400, "bad request"), word=Word.DIFFERENT, hows=REFUSED),
    "400 that names the temperature": Bad(
        reply=refusing(400, "invalid temperature: only 1 is allowed"),
        word=Word.DIFFERENT,
        hows=REFUSED | {How.KEPT},
    ),
    "400 that names all there is": Bad(
        reply=refusing(400, ALL), word=Word.DIFFERENT, hows=REFUSED | {How.KEPT}
    ),
    "200 and a refusal in its text": Bad(
        reply=refusing_late,
        word=Word.DIFFERENT,
        hows=frozenset({How.BROKEN, How.NOT_ENFORCED, How.UNANSWERED}),
    ),
    "one answer, never streamed": Bad(
        reply=saying(whole("Hello.", "stop")),
        word=Word.DIFFERENT,
        hows=ANSWERED | {How.UNANSWERED},
        passes=True,
    ),
    # It says something whenever it is asked: that is all that `ending` asks for.
    "one answer": Bad(
        reply=chatting("Hello.", "stop"),
        word=Word.DIFFERENT,
        hows=ANSWERED,
        kept=("ending",),
        passes=True,
    ),
    "one answer, cut at its length": Bad(
        reply=chatting("Hello.", "length"),
        word=Word.DIFFERENT,
        hows=ANSWERED | {How.UNFINISHED},
        kept=("ending",),
        passes=True,
    ),
    "an empty answer": Bad(
        reply=chatting("", "stop"), word=Word.DIFFERENT, hows=ANSWERED, passes=True
    ),
}
NOWHERE = "nobody listens"


# What is asked of them.


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of one of them."""

    failed: str | None  # why it was given up
    sizes: Mapping[str, int]  # cases of each suite, by what was to be asked
    rows: Sequence[Row]
    suites: Sequence[SuiteCount]
    answers: Sequence[Mapping[str, Any]]
    scores: Sequence[Mapping[str, Any]]
    engine: str

    def hows(self) -> Counter[How]:
        return Counter(row.held[self.engine].how for row in self.rows)


def asked(folder: Path, urls: Mapping[str, str], limits: Mapping[str, str]) -> dict[str, Found]:
    """All that is owed, of the servers at these URLs, in one run; by their names."""
    engines = [f"{url}#any" for url in urls.values()]
    path = folder / "owed.toml"
    path.write_text(_spec(engines, {**SMALLER, **limits}), "utf-8")
    try:
        report = run(path, folder / "run", 0, QUIET)
    except ConfigError as error:  # of each of them
        problems, answers, scores = [f"{one}: {error}" for one in engines], {}, {}
    else:
        problems = report.problems
        answers, scores = (_files(folder / "run" / kind, engines) for kind in ("answers", "scores"))
    cases = prepared.cases(specs.load(path))
    nowhere = folder / "none"
    found = rows(cases, {one: answers.get(one, nowhere) for one in engines})
    return {
        name: Found(
            failed=next((text for text in problems if text.startswith(f"{engine}: ")), None),
            sizes={one.suite.name: len(one.tasks) for one in cases},
            rows=found,
            suites=counts(found, engine),
            answers=_lines(answers.get(engine, nowhere)),
            scores=_lines(scores.get(engine, nowhere)),
            engine=engine,
        )
        for name, engine in zip(urls, engines, strict=True)
    }


def _spec(engines: Sequence[str], smaller: Mapping[str, str]) -> str:
    text = spec_text(
        Asked(
            engines=tuple(Engine(name=o, changes=(), enforce=False, url=True) for o in engines),
            rules=contracts.rules(FAMILY),
            max_tokens=SHORT,
            quick=True,
            prompt_tokens=None,
            trigger=None,
            outside=(),
            seed=0,
        )
    )
    for pattern, new in smaller.items():
        text, count = re.subn(pattern, new, text)
        assert count == 1, pattern
    return text


def _files(folder: Path, engines: Sequence[str]) -> dict[str, Path]:
    """Of each engine, by the number that its name begins with."""
    paths = {int(path.name.split("-")[0]): path for path in folder.iterdir()}
    return {engine: paths[n] for n, engine in enumerate(engines, 1)}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


@contextmanager
def bad(names: Sequence[str], *, healthy: bool) -> Generator[dict[str, str]]:
    """These servers; yields their URLs. `healthy`: until the suites begin, unless they pass."""
    let_go.clear()
    with ExitStack() as last:
        urls: dict[str, str] = {}
        for name in names:
            one = SERVERS[name]
            respond = _respond(one.reply, healthy=healthy and not one.passes)
            urls[name] = last.enter_context(serving(respond))
        last.callback(let_go.set)
        yield urls


def _respond(reply: Reply, *, healthy: bool) -> Callable[[BaseHTTPRequestHandler], None]:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length", 0))
        body: Body = json.loads(handler.rfile.read(length) or b"{}")
        if healthy and (handler.command == "GET" or _probes(handler.path, body)):
            answer(handler, 200, whole("Hi.", "stop").encode())
        else:
            reply(handler, body)

    return respond


def _probes(path: str, body: Body) -> bool:
    """Whether it is asked what it can do; the suites ask chats alone, of other words."""
    if path != CHAT:
        return True
    messages = body.get("messages")
    return isinstance(messages, list) and messages[-1:] in (GREETING, SPELLING)


@pytest.fixture(scope="module")
def once_asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What comes of each that is found healthy, and then does what it does."""
    patient = [name for name in SERVERS if name != "hangs"]
    found: dict[str, Found] = {}
    for names, limits in ((patient, {}), (["hangs"], IMPATIENT)):
        with bad(names, healthy=True) as urls:
            found |= asked(tmp_path_factory.mktemp("asked"), urls, limits)
    return found


@pytest.fixture(scope="module")
def from_the_start(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What comes of each that never did anything else, and of none at all."""
    names = [name for name in SERVERS if not SERVERS[name].passes]
    with pytest.MonkeyPatch.context() as patch, bad(names, healthy=False) as urls:
        patch.setattr("harness.client.ANSWER_S", 0.5)
        patch.setattr("harness.candidate.PROBE_TIMEOUT_S", 0.5)
        urls[NOWHERE] = f"http://127.0.0.1:{free_port()}"
        return asked(tmp_path_factory.mktemp("start"), urls, {})


def require_honest(found: Found, kept: Sequence[str]) -> None:
    """What holds of every one of them. `kept`: the suites that it satisfies."""
    assert set(ALONE) <= set(found.sizes)
    assert {one.suite: one.cases for one in found.suites} == found.sizes
    for one in found.suites:
        assert sum(one.counts.values()) == one.cases > 0
        assert (one.how is How.KEPT) == (one.suite in kept), one
    answers = {(one["suite"], one["case"]): one for one in found.answers}
    assert len(answers) == len(found.answers) == len(found.scores)
    held = {(row.suite, row.case): row.held[found.engine].how for row in found.rows}
    for one in found.scores:
        key = one["suite"], one["case"]
        if answers[key]["outcome"] not in ("answered", "refused"):
            assert one["score"] is None, one
        if one["suite"] in ALONE:
            scored = held[key] not in (How.UNANSWERED, How.UNFINISHED)
            assert one["score"] == (float(held[key] is How.KEPT) if scored else None), one


def require_word(found: Found, word: Word) -> None:
    """Whatever its check says."""
    for enforced in (True, False):
        said, reasons = decided(EQUAL, found.suites, enforced=enforced, failed=found.failed)
        assert said is word and reasons, reasons


@pytest.mark.parametrize("name", SERVERS)
def test_one_that_is_asked_satisfies_no_suite(once_asked: dict[str, Found], name: str) -> None:
    found, one = once_asked[name], SERVERS[name]
    require_honest(found, one.kept)
    assert set(found.hows()) == one.hows
    require_word(found, one.word)


@pytest.mark.parametrize("name", [*(n for n in SERVERS if not SERVERS[n].passes), NOWHERE])
def test_one_that_cannot_be_asked_satisfies_no_suite(
    from_the_start: dict[str, Found], name: str
) -> None:
    found = from_the_start[name]
    assert found.failed is not None and found.answers == found.scores == []
    require_honest(found, ())
    assert found.hows() == {How.UNANSWERED: len(found.rows)}
    require_word(found, Word.INCONCLUSIVE)


def test_a_url_alone_where_nobody_listens_satisfies_no_suite(tmp_path: Path) -> None:
    found = asked(tmp_path, {NOWHERE: f"http://127.0.0.1:{free_port()}"}, {})[NOWHERE]
    assert found.failed is not None and "no HTTP server answers there" in found.failed
    require_honest(found, ())
    assert found.hows() == {How.UNANSWERED: len(found.rows)}
    require_word(found, Word.INCONCLUSIVE)
