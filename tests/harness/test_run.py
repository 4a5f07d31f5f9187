"""`enginediff run` and `enginediff status` as a user calls them: on a fake engine in a process of
its own, that answers as its language says, and on servers of this file, that do what a test wants.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.base.suite import Given, Suite, Task
from harness.runs import journal
from harness.runs.story import told
from launchers.process import free_port
from launchers.vllm import VllmDialect
from scripts.chaos import chaos_model
from suites import registry
from tests.building import answer, serving

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("enginediff")
CHAOS = ROOT / "scripts" / "chaos" / "server.py"
SECRET = "sk-7Q9vXw2LmNb4RtYp8ZdKc3HsJf6GaE1u"
MOST_TOKENS = 64
SPEC = """\
schema = 1
seed = 3
epochs = {epochs}
transport = "{transport}"
nodes = ["local"]
{head}
[[suites]]
name = "{suite}"
cases = {cases}

[[engines]]
name = "{url}"
{engine}
[sampling]
max_tokens = 64
seeded = false
thinking = {{ temperature = {temperature}, top_p = 0.95 }}
instant = {{ temperature = 0.6, top_p = 0.95 }}

[limits]
in_flight = {in_flight}
attempts = {attempts}
retries = 1000
idle_s = 20.0
total_s = 60.0
restarts = 0
"""
USUAL: Mapping[str, Any] = {
    "epochs": 1,
    "transport": "aiohttp",
    "head": "",
    "suite": "tiny-tasks",
    "cases": 20,
    "engine": "",
    "temperature": 1.0,
    "in_flight": 8,
    "attempts": 4,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder of one test, and the command line in it."""

    path: Path
    folder: Path  # of the run
    before: Sequence[str] = ()  # the command, as `nsenter ...`
    key: str | None = None

    @property
    def home(self) -> Path:
        return self.path / "home"

    @property
    def told(self) -> Path:
        """What the commands of `begun` have said on stderr."""
        return self.path / "told"

    def spec(self, url: str, **changes: Any) -> Path:
        path = self.path / "run.toml"
        path.write_text(SPEC.format(**{**USUAL, "url": url, **changes}), "utf-8")
        return path

    def call(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.before, PROGRAM, *arguments],
            capture_output=True,
            text=True,
            cwd=self.path,
            env=self._environment(),
            timeout=60,
            check=False,
        )

    def run(self, spec: Path, *more: str) -> subprocess.CompletedProcess[str]:
        return self.call("run", spec, "--run", self.folder, *more)

    @contextmanager
    def begun(self, spec: Path, *more: str) -> Generator[subprocess.Popen[str]]:
        """A run in the background; killed where it is still there behind the block."""
        with (
            self.told.open("w") as stderr,
            subprocess.Popen(
                [*self.before, PROGRAM, "run", spec, "--run", self.folder, *more],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=self.path,
                env=self._environment(),
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def _environment(self) -> dict[str, str]:
        key = {} if self.key is None else {"ENGINEDIFF_API_KEY": self.key}
        return {**os.environ, "ENGINEDIFF_HOME": str(self.home), **key}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(path=tmp_path, folder=tmp_path / "run")


@contextmanager
def chaos(folder: Path, **plan: Any) -> Generator[str]:
    """The fake engine; yields its URL."""
    port, path = free_port(), folder / "plan.json"
    path.write_text(json.dumps({"token_s": 0.0, **plan}))
    process = subprocess.Popen(
        [sys.executable, "-S", str(CHAOS), "--port", str(port)],
        env={**os.environ, "CHAOS_PLAN": str(path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening")
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


Reply = Callable[[BaseHTTPRequestHandler, int], None]  # to a task of the suite, by its number


@dataclass(slots=True, kw_only=True)
class Scripted:
    """Speaks as vLLM does, and answers tasks as a test wants."""

    reply: Reply
    version: str = "0.32.0"
    whole: bytes = b"{}"  # for what is no stream: it is asked what it can do, and for token ids
    attached: bool = False  # a task has been asked

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(received(handler) or b"{}")
        if handler.command == "GET":
            self._tell(handler)
        elif not body.get("stream") or "max_tokens" not in body or body["max_tokens"] < MOST_TOKENS:
            answer(handler, 200, self.whole)
        else:
            self.attached = True
            self.reply(handler, NUMBERS[json.dumps(body["messages"][-1]["content"])])

    def _tell(self, handler: BaseHTTPRequestHandler) -> None:
        found = {
            "/version": {"version": self.version},
            "/v1/models": {"object": "list", "data": [{"id": "tiny-moe", "root": "tiny-moe"}]},
        }.get(handler.path)
        answer(handler, 404 if found is None else 200, json.dumps(found).encode())


def received(handler: BaseHTTPRequestHandler) -> bytes:
    return handler.rfile.read(int(handler.headers.get("content-length", 0)))


def tasks(count: int) -> Sequence[Task]:
    return registry.suite(Given(name="tiny-tasks")).tasks[:count]


TASKS = tasks(20)
NUMBERS = {json.dumps(task.chat.messages[-1]["content"]): n for n, task in enumerate(TASKS)}


def say(handler: BaseHTTPRequestHandler, text: str) -> None:
    """A whole answer of one chunk."""
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    stream(handler, json.dumps(chunk), "[DONE]")


def stream(handler: BaseHTTPRequestHandler, *events: str) -> None:
    answer(handler, 200, "".join(f"data: {event}\n\n" for event in events).encode())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]  # a text has U+2028 too


def only(folder: Path) -> Path:
    """A run of one engine has one file of each kind."""
    (path,) = folder.iterdir()
    return path


def journal_of(folder: Path) -> Path:
    return only(folder / "records") / "local.jsonl"


def require_once(folder: Path, requests: int) -> None:
    """Each has one final line of a journal that is whole, and stands once in all that is made."""
    final = [
        line["n"]
        for line in journal.read(journal_of(folder))
        if line["kind"] == "ended" and line["final"]
    ]
    assert sorted(final) == list(range(requests))
    answers = lines(only(folder / "answers"))
    assert sorted(one["n"] for one in answers) == list(range(requests))
    assert len(lines(only(folder / "scores"))) == requests


def require_right(folder: Path, url: str, suite: Suite) -> None:
    """Every answer is what the fake engine's language says, worked out here."""
    known = {task.id: task for task in suite.tasks}
    prompts = rendered(url, suite.tasks[:20])
    answers = {one["n"]: one for one in lines(only(folder / "answers"))}
    for ended in told(journal.read(journal_of(folder))):
        one = answers[ended.n]
        task = known[one["case"]]
        prompt = prompts[task.id]
        tokens, reason = chaos_model.generated(prompt, MOST_TOKENS)
        speech = chaos_model.Speech(prompt)
        texts = [speech.said(token) for token in tokens]
        thought = len(tokens) // 3 if task.chat.thinking and not suite.raw else 0
        assert (one["outcome"], one["finish_reason"]) == ("answered", reason)
        assert one.get("reasoning", "") == "".join(texts[:thought])
        assert one.get("content", "") == "".join(texts[thought:])
        if suite.raw:
            assert ended.answer["token_ids"] == tokens


def rendered(url: str, asked: Sequence[Task]) -> dict[str, list[int]]:
    """The token ids of each task's chat, by the engine's template."""
    dialect = VllmDialect(model="tiny-moe")
    with httpx.Client(base_url=url, trust_env=False) as client:
        requests = {task.id: dialect.render(task.chat) for task in asked}
        return {
            name: client.post(one.path, json=one.body).json()["tokens"]
            for name, one in requests.items()
        }


def until(true: Callable[[], bool], process: subprocess.Popen[str], said: Path) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.02)


def over(folder: Path) -> int:
    """Requests that the journal has as over."""
    return sum(path.read_bytes().count(b'"final":true') for path in folder.glob("records/*/*"))


def refused(
    result: subprocess.CompletedProcess[str], *words: str, code: int = 2, said: int = 0
) -> None:
    """One message behind `said` lines of what went on before, and nothing on stdout."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    message = "\n".join(result.stderr.splitlines()[said:])
    assert message.startswith("enginediff: ") and message.count("enginediff: ") == 1, result.stderr
    for word in words:
        assert word in message, message


# What a run comes to.


@pytest.mark.parametrize(
    ("transport", "suite"),
    [
        ("aiohttp", "tiny-tasks"),
        ("aiohttp", "tiny-tasks-raw"),
        ("openai", "tiny-tasks"),
        ("openai", "tiny-tasks-raw"),
    ],
)
def test_every_request_is_answered_once_and_as_the_engine_says_it(
    place: Place, transport: str, suite: str
) -> None:
    with chaos(place.path) as url:
        spec = place.spec(url, transport=transport, suite=suite)
        done = place.run(spec, "--json")
        assert done.returncode == 0, done.stderr
        require_right(place.folder, url, registry.suite(Given(name=suite)))
    require_once(place.folder, 20)

    summary = (place.folder / "summary.json").read_text("utf-8")
    assert done.stdout == summary
    (engine,) = json.loads(summary)["engines"]
    assert (engine["asked"], engine["answered"], engine["attempts"]) == (20, 20, 20)
    answers = lines(only(place.folder / "answers"))
    counted = sum(one["usage"]["completion_tokens"] for one in answers)
    assert engine["completion_tokens"] == counted
    assert "20 of 20 answered" in (place.folder / "report.md").read_text("utf-8")

    scores = only(place.folder / "scores")
    compared = place.call("compare", scores, scores, "--json")
    assert compared.returncode == 3, compared.stderr
    assert json.loads(compared.stdout)

    # It is all done, so the engine may be gone by now.
    again = place.run(spec, "--json")
    assert (again.returncode, again.stdout) == (0, summary), again.stderr


WRONG, FAILING = (3, 11), (0, 7, 12, 19)  # of the first 20 tasks: 14 are right


def partly_right(handler: BaseHTTPRequestHandler, n: int) -> None:
    if n in FAILING:
        answer(handler, 500, b'{"error": "no"}')
    else:
        say(handler, "no idea" if n in WRONG else f" {TASKS[n].expected}\n")


def test_what_failed_stays_in_the_denominator(place: Place) -> None:
    with serving(Scripted(reply=partly_right)) as url:
        done = place.run(place.spec(url, attempts=2))
    assert done.returncode == 4, done.stderr
    require_once(place.folder, 20)
    report = (place.folder / "report.md").read_text("utf-8")
    for text in (done.stdout, report):
        assert "16 of 20 answered" in text
        assert "tiny-tasks: 0.700 (" in text and "14 of 20" in text
        assert "4 failed and counted as not right (4 server)" in text
        assert "0.875" not in text
    (engine,) = json.loads((place.folder / "summary.json").read_bytes())["engines"]
    (row,) = engine["suites"]
    assert (row["score"], row["points"], row["over"]) == (0.7, 14.0, 20)
    assert row["failed"] == {"server": 4} and row["low"] < 0.7 < row["high"]
    assert (engine["answered"], engine["attempts"]) == (16, 24)
    scores = Counter(one["score"] for one in lines(only(place.folder / "scores")))
    assert scores == {1.0: 14, 0.0: 2, None: 4}


# What is refused.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head": "colour = 1"}, ["run.toml", "colour"]),
        ({"suite": "tiny-taks"}, ["tiny-taks", "tiny-tasks-raw"]),
        ({"cases": 100_000}, ["tiny-tasks", "cases is 100000"]),
        ({"url": "http://me:pass@host"}, ["http://host", "ENGINEDIFF_API_KEY"]),
        (
            {"temperature": "inf"},
            ["sampling.thinking.temperature", "inf"],
        ),
        (
            {"cases": '5\n[[suites]]\nname = "tiny-tasks"\ncases = 10'},
            ["suites", "'tiny-tasks' stands twice"],
        ),
        (
            {"engine": 'contract = "kimi-k2.6"', "temperature": 0.0},
            ["invalid temperature: it is 0.0", "only 1 is allowed", "override_reason"],
        ),
    ],
)
def test_a_spec_that_is_wrong_is_refused_before_anything_is_written(
    place: Place, changes: Mapping[str, Any], words: list[str]
) -> None:
    spec = place.spec(**{"url": "http://127.0.0.1:1", **changes})
    refused(place.run(spec), *words)
    assert sorted(place.path.iterdir()) == [spec]


def test_a_spec_that_is_no_file_is_refused(place: Place) -> None:
    refused(place.run(place.path), str(place.path), "is a folder")
    refused(place.run(place.path / "absent.toml"), "absent.toml", "cannot be read")
    assert not list(place.path.iterdir())


def test_a_folder_that_is_no_runs_is_refused_and_left_alone(place: Place) -> None:
    spec = place.spec("http://127.0.0.1:1")
    notes = place.path / "notes"
    notes.mkdir()
    (notes / "mine.txt").write_text("kept")
    refused(place.call("run", spec, "--run", notes), str(notes), "holds no run")
    refused(place.call("run", spec, "--run", spec), str(spec), "is a file")
    refused(place.call("status", notes), str(notes), "holds no run")
    refused(place.call("status", place.folder), str(place.folder), "holds no run")
    assert [path.name for path in notes.iterdir()] == ["mine.txt"]
    assert not place.home.exists()


def test_a_folder_below_a_file_is_refused(place: Place) -> None:
    spec = place.spec("http://127.0.0.1:1")
    refused(place.call("run", spec, "--run", spec / "run"), str(spec), "is a file")


def test_a_port_that_is_taken_is_refused_before_anything_is_written(place: Place) -> None:
    spec = place.spec("http://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(place.run(spec, "--metrics", port), f"--metrics {port}", "cannot be listened on")
    assert sorted(place.path.iterdir()) == [spec]


def require_no_results(folder: Path) -> None:
    """A run may have begun, but nothing looks as if it had come to something."""
    for name in ("summary.json", "report.md", "answers", "scores", "tokens"):
        assert not (folder / name).exists()
    assert not list(folder.rglob("*.partial"))


def test_a_url_where_nothing_listens_is_refused_and_can_be_gone_on_with(place: Place) -> None:
    port = free_port()
    spec = place.spec(f"http://127.0.0.1:{port}", cases=2)
    refused(place.run(spec), f"http://127.0.0.1:{port}", "no HTTP server answers", said=1)
    require_no_results(place.folder)
    engine = [sys.executable, "-S", CHAOS, "--port", str(port)]
    with subprocess.Popen(engine, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        done = place.run(spec)
        process.kill()
    assert done.returncode == 0, done.stderr
    require_once(place.folder, 2)


def page(handler: BaseHTTPRequestHandler) -> None:
    received(handler)
    answer(handler, 200, b"<html>Please sign in.</html>")


def unauthorised(handler: BaseHTTPRequestHandler) -> None:
    received(handler)
    answer(handler, 401, b'{"error": "the key is wrong: ' + SECRET.encode() + b'"}')


@pytest.mark.parametrize(
    ("respond", "model", "words"),
    [
        (page, "", ["no engine that enginediff knows"]),
        (page, "#some-model", ["no engine that serves 'some-model'"]),
        (unauthorised, "", ["answers 401", "ENGINEDIFF_API_KEY is missing, wrong"]),
    ],
)
def test_a_server_that_is_no_engine_or_wants_another_key_is_refused(
    tmp_path: Path, respond: Callable[[BaseHTTPRequestHandler], None], model: str, words: list[str]
) -> None:
    place = Place(path=tmp_path, folder=tmp_path / "run", key=SECRET)
    with serving(respond) as url:
        result = place.run(place.spec(f"{url}{model}"))
    refused(result, url, *words, said=1)
    require_no_results(place.folder)
    assert not holders(SECRET, place.folder) and SECRET not in result.stderr


@contextmanager
def https(folder: Path) -> Generator[int]:
    """A server whose certificate nobody has signed; yields its port."""
    if subprocess.run(["which", "openssl"], capture_output=True, check=False).returncode:
        pytest.skip("openssl is not installed, and nothing else here makes a certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        capture_output=True,
        check=True,
    )

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            del format, args

    class Server(HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            del request, client_address  # the client leaves: that is the point

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_certificate_that_nobody_has_signed_is_refused(place: Place) -> None:
    with https(place.path) as port:
        result = place.run(place.spec(f"https://127.0.0.1:{port}"))
    refused(result, f"https://127.0.0.1:{port}", "no TLS connection", "SSL_CERT_FILE", said=1)
    require_no_results(place.folder)


def test_sampling_outside_the_contract_needs_a_reason_which_the_report_gives(place: Place) -> None:
    reason = "the vendor asked for greedy answers"
    changes = {
        "engine": 'contract = "kimi-k2.6"',
        "temperature": 0.0,
        "head": f'override_reason = "{reason}"',
    }
    with chaos(place.path) as url:
        done = place.run(place.spec(url, cases=2, **changes))
        assert done.returncode == 0, done.stderr
    report = (place.folder / "report.md").read_text("utf-8")
    for text in (done.stdout, report):
        assert reason in text
        assert "invalid temperature: it is 0.0, but only 1 is allowed" in text
    summary = json.loads((place.folder / "summary.json").read_bytes())
    assert summary["override_reason"] == reason and len(summary["breaches"]) == 1


def test_a_run_of_another_spec_or_of_another_server_is_not_gone_on_with(place: Place) -> None:
    scripted = Scripted(reply=partly_right)
    held = threading.Event()

    def holding(handler: BaseHTTPRequestHandler, n: int) -> None:
        if n == 5:
            held.wait(20)
        partly_right(handler, n)

    scripted.reply = holding
    with serving(scripted) as url:
        spec = place.spec(url, attempts=1)
        with place.begun(spec) as driver:
            until(lambda: over(place.folder) > 5, driver, place.told)
        before = journal_of(place.folder).read_bytes()

        refused(
            place.run(place.spec(url, attempts=3, epochs=2)),
            "another spec",
            "epochs: 1 became 2",
            "limits.attempts: 1 became 3",
        )
        spec = place.spec(url, attempts=1)
        scripted.version = "0.33.0"
        result = place.run(spec)
        assert result.returncode == 2, result.stderr
        assert "'0.32.0'" in result.stderr and "'0.33.0'" in result.stderr
        assert "Traceback" not in result.stderr and result.stdout == ""
        whole = [line for line in before.splitlines(keepends=True) if line.endswith(b"\n")]
        assert journal_of(place.folder).read_bytes() == b"".join(whole)
        require_no_results(place.folder)

        held.set()
        scripted.version = "0.32.0"
        assert place.run(spec).returncode == 4
    require_once(place.folder, 20)


# One run, several processes.


@dataclass(slots=True, kw_only=True)
class Holding:
    """Answers the first few rightly, and the others when it is let go."""

    first: int
    text: Callable[[int], str] = lambda n: TASKS[n].expected
    let_go: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, handler: BaseHTTPRequestHandler, n: int) -> None:
        with self.lock:
            self.first -= 1
            held = self.first < 0
        if held:
            self.let_go.wait(30)
        say(handler, self.text(n))


def test_a_second_run_is_refused_and_a_killed_one_is_gone_on_with(place: Place) -> None:
    reply = Holding(first=6)
    with serving(Scripted(reply=reply)) as url:
        spec = place.spec(url, in_flight=4)
        with place.begun(spec) as driver:
            until(lambda: over(place.folder) == 6, driver, place.told)
            refused(place.run(spec), f"process {driver.pid}", f"enginediff status {place.folder}")
            shown = place.call("status", place.folder)
            assert shown.returncode == 0, shown.stderr
            assert f"process {driver.pid}" in shown.stdout
            assert f"{url}: running, 6 of 20 done, 4 running, 0 failed" in shown.stdout
            table = json.loads(place.call("status", place.folder, "--json").stdout)
            assert (table["process"], table["engines"][0]["done"]) == (driver.pid, 6)
            assert driver.poll() is None

        shown = place.call("status", place.folder)
        assert shown.returncode == 0 and "nobody works on it" in shown.stdout

        reply.let_go.set()
        done = place.run(spec)
        assert done.returncode == 0, done.stderr
    assert f"found of {url}: 6 of 20 answered, 0 failed" in done.stderr
    assert "of 4 that were under way, 0 are whole" in done.stderr
    assert "20 of 20 answered" in done.stdout and "1.000 (" in done.stdout
    require_once(place.folder, 20)


def test_a_run_that_is_stopped_by_either_signal_goes_on_afterwards(place: Place) -> None:
    with chaos(place.path, token_s=0.004) as url:
        spec = place.spec(url, epochs=2, in_flight=4)
        before = 0
        for signum in (signal.SIGTERM, signal.SIGINT):
            with place.begun(spec) as driver:
                until(lambda least=before: over(place.folder) > least, driver, place.told)
                began = time.monotonic()
                driver.send_signal(signum)
                out, _ = driver.communicate(timeout=20)
            assert time.monotonic() - began < 10
            assert driver.returncode == 130, place.told.read_text()
            assert "stopping" in place.told.read_text()
            assert "Traceback" not in place.told.read_text()
            before = over(place.folder)
            assert f"INCOMPLETE: {before} of 40 requests are over" in out
            summary = json.loads((place.folder / "summary.json").read_bytes())
            assert (summary["complete"], summary["stopped"]) == (False, True)
        done = place.run(spec, "--json")
        assert done.returncode == 0, done.stderr
        require_right(place.folder, url, registry.suite(Given(name="tiny-tasks")))
    require_once(place.folder, 40)
    summary = json.loads(done.stdout)
    assert (summary["complete"], summary["stopped"]) == (True, False)


@contextmanager
def stuck() -> Generator[tuple[str, threading.Event]]:
    """A server that breaks every answer off, and then does not say whether it is there.

    Yields its URL, and what is set when it is asked for that.
    """
    asked, released = threading.Event(), threading.Event()

    def broken(handler: BaseHTTPRequestHandler, n: int) -> None:
        del n
        handler.close_connection = True

    scripted = Scripted(reply=broken)

    def respond(handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "GET" and scripted.attached:
            asked.set()
            released.wait(30)
            handler.close_connection = True
        else:
            scripted(handler)

    with serving(respond) as url:
        try:
            yield url, asked
        finally:
            released.set()


def test_a_second_ctrl_c_ends_at_once_a_run_whose_server_says_nothing(place: Place) -> None:
    with stuck() as (url, asked), place.begun(place.spec(url, attempts=1)) as driver:
        until(asked.is_set, driver, place.told)
        driver.send_signal(signal.SIGINT)
        time.sleep(0.3)
        driver.send_signal(signal.SIGINT)
        driver.communicate(timeout=2)
    assert driver.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in place.told.read_text()


# What must not be told.


def holders(secret: str, folder: Path) -> list[str]:
    """Files that hold a secret, or enough of it to be of use."""
    least = secret[:12].encode()
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and least in path.read_bytes()
    )


def error_of(text: str) -> str:
    return json.dumps({"error": {"message": f"invalid key {text}", "code": 500}})


def refusing(status: int, body: str) -> Reply:
    return lambda handler, _: answer(handler, status, body.encode())


def streaming(*events: str) -> Reply:
    return lambda handler, _: stream(handler, *events)


def in_two_pieces(handler: BaseHTTPRequestHandler, n: int) -> None:
    """A network cuts where it likes."""
    del n
    content = f"data: {error_of(SECRET)}\n\ndata: [DONE]\n\n".encode()
    middle = content.index(SECRET.encode()) + 20
    handler.send_response(200)
    handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:middle])
    time.sleep(0.1)
    handler.wfile.write(content[middle:])


ECHOES: Mapping[str, Reply] = {
    "500": refusing(500, error_of(SECRET)),
    "429": refusing(429, error_of(SECRET)),
    "400": refusing(400, error_of(SECRET)),
    "401": refusing(401, f"Bearer {SECRET}"),
    "404 page": refusing(404, f"<html>{SECRET}</html>"),
    "told in the stream": streaming(error_of(SECRET), "[DONE]"),
    "told in words": streaming(json.dumps({"error": f"bad key {SECRET}"}), "[DONE]"),
    "an event that is no JSON": streaming(f"key {SECRET}", "[DONE]"),
    "an event that is no answer": streaming(json.dumps({"choices": [SECRET]}), "[DONE]"),
    "a list": streaming(json.dumps([SECRET]), "[DONE]"),
    "200 and JSON": refusing(200, error_of(SECRET)),
    "200 and words": refusing(200, f"hello {SECRET}\n"),
}
CUT_ECHOES: Mapping[str, Reply] = {
    "where a long answer is cut": refusing(500, "x" * 480 + SECRET),
    "where the network cuts": in_two_pieces,
}


@pytest.mark.parametrize("transport", ["aiohttp", "openai"])
@pytest.mark.parametrize("echoes", [ECHOES, CUT_ECHOES])
def test_a_key_that_the_server_echoes_is_nowhere(
    tmp_path: Path, transport: str, echoes: Mapping[str, Reply]
) -> None:
    place = Place(path=tmp_path, folder=tmp_path / "run", key=SECRET)
    seen: set[str] = set()

    def echo(handler: BaseHTTPRequestHandler, n: int) -> None:
        seen.add(handler.headers.get("authorization", ""))
        (*echoes.values(),)[n](handler, n)

    with serving(Scripted(reply=echo)) as url:
        spec = place.spec(url, transport=transport, cases=len(echoes), attempts=1)
        done = place.run(spec)
    assert done.returncode == 4, done.stderr
    assert seen == {f"Bearer {SECRET}"}
    told_of = {
        kind: one["why"]
        for one in lines(only(place.folder / "answers"))
        for kind in [(*echoes,)[one["n"]]]
    }
    assert set(told_of) == set(echoes)
    assert [kind for kind, why in told_of.items() if SECRET[:12] in why] == []
    assert holders(SECRET, place.folder) == []
    shown = place.call("status", place.folder)
    for text in (done.stdout, done.stderr, shown.stdout):
        assert SECRET[:12] not in text


def test_a_key_that_is_echoed_for_a_prompts_token_ids_is_nowhere(tmp_path: Path) -> None:
    place = Place(path=tmp_path, folder=tmp_path / "run", key=SECRET)
    with serving(Scripted(reply=partly_right, whole=error_of(SECRET).encode())) as url:
        done = place.run(place.spec(url, suite="tiny-tasks-raw", cases=1, attempts=1))
    assert done.returncode == 4, done.stderr
    (one,) = lines(only(place.folder / "answers"))
    assert one["outcome"] == "malformed" and "token ids" in one["why"]
    assert holders(SECRET, place.folder) == []
    assert SECRET[:12] not in done.stdout + done.stderr


# Numbers from outside.


def scraped(url: str) -> dict[str, float]:
    """Series with its labels, the engine's left out -> value."""
    found: dict[str, float] = {}
    for line in httpx.get(url, trust_env=False).text.splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name = re.sub(r'engine="[^"]*",?', "", series).replace("{}", "")
            found[name.removeprefix("enginediff_run_")] = float(value)
    return found


def listening(port: int) -> list[str]:
    """The addresses, as the kernel writes them, that are listened on."""
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
    ]
    return [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]


def counted(found: Mapping[str, float]) -> float:
    """Requests that are over, of metrics."""
    return sum(value for name, value in found.items() if name.startswith("requests_over_total"))


def test_the_metrics_are_on_loopback_and_agree_with_the_result(place: Place) -> None:
    released = threading.Event()

    def holding(handler: BaseHTTPRequestHandler, n: int) -> None:
        if n == 1:
            released.wait(30)
        partly_right(handler, n)

    port = free_port()
    url_of = f"http://127.0.0.1:{port}/metrics"
    with (
        serving(Scripted(reply=holding)) as url,
        place.begun(place.spec(url, attempts=2), "--metrics", str(port)) as driver,
    ):
        try:
            until(lambda: over(place.folder) == 19, driver, place.told)
            assert url_of in place.told.read_text()
            # The journal is a tick ahead of whoever counts.
            until(lambda: counted(scraped(url_of)) == 19, driver, place.told)
            found = scraped(url_of)
            assert listening(port) == [f"0100007F:{port:04X}"]
        finally:
            released.set()
        driver.communicate(timeout=20)
    (engine,) = json.loads((place.folder / "summary.json").read_bytes())["engines"]
    assert (engine["over"], engine["answered"], engine["attempts"]) == (20, 16, 24)
    assert found["requests"] == 20
    assert found["requests_in_flight"] == 1
    assert found["requests_allowed"] == 8
    assert found['requests_over_total{outcome="answered"}'] == 15
    assert found['requests_over_total{outcome="server"}'] == 4
    assert found['attempts_failed_total{kind="server"}'] == 8
    assert found['attempts_failed_total{kind="stalled"}'] == 0
    assert found["tokens_received_total"] == found["first_token_seconds_count"] == 15
    assert found["whole_answer_seconds_count"] == 19
    assert found["without_room"] == 0
    with pytest.raises(httpx.ConnectError):
        scraped(url_of)


# A full disk.


@contextmanager
def small_disk(path: Path, size: str) -> Generator[tuple[Sequence[str], Path]]:
    """A file system of its own at `path`, in a namespace of its own: what to put before a command
    that is to see it, and where it is seen from here."""
    path.mkdir()
    mount = f"mount -t tmpfs -o size={size} tmpfs {path} && echo made && exec sleep 600"
    made = subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", mount],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with made:
        try:
            assert made.stdout is not None and made.stderr is not None
            if made.stdout.readline() != "made\n":
                pytest.skip(f"no file system can be made here: {made.stderr.read().strip()}")
            enter = ["nsenter", "--preserve-credentials", "-U", "-m", "-t", str(made.pid)]
            yield enter, Path(f"/proc/{made.pid}/root{path}")
        finally:
            made.kill()


def filled(path: Path) -> None:
    """All the room that there is."""
    with path.open("ab", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def test_a_run_waits_while_the_disk_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with ExitStack() as open_:
        enter, seen = open_.enter_context(small_disk(disk, "4m"))
        url = open_.enter_context(chaos(tmp_path, token_s=0.004))
        place, outside = Place(path=tmp_path, folder=disk / "run", before=enter), seen / "run"
        driver = open_.enter_context(place.begun(place.spec(url, epochs=2, in_flight=4)))
        until(lambda: over(outside) > 3, driver, place.told)
        filled(seen / "filler")
        until(lambda: "the run waits until there is" in place.told.read_text(), driver, place.told)
        filled(seen / "filler")
        before = over(outside)
        until(
            lambda: "waits for room on the disk" in place.call("status", place.folder).stdout,
            driver,
            place.told,
        )
        assert over(outside) == before < 40
        (seen / "filler").unlink()
        until(lambda: "there is room again" in place.told.read_text(), driver, place.told)
        out, _ = driver.communicate(timeout=30)
        assert driver.returncode == 0, place.told.read_text()
        assert "40 of 40 answered" in out
        require_once(outside, 40)
        require_right(outside, url, registry.suite(Given(name="tiny-tasks")))
        ends = [line for line in journal.read(journal_of(outside)) if line["kind"] == "ended"]
        assert [line["outcome"] for line in ends] == ["answered"] * 40


def test_a_disk_that_is_full_at_first_leaves_nothing_in_the_way_of_the_next_try(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "1m") as (enter, seen), chaos(tmp_path) as url:
        place = Place(path=tmp_path, folder=disk / "run", before=enter)
        spec = place.spec(url, cases=2)
        filled(seen / "filler")
        refused(place.run(spec), "No space left on device", code=4)
        (seen / "filler").unlink()
        done = place.run(spec)
        assert done.returncode == 0, done.stderr
        require_once(seen / "run", 2)


def test_a_run_whose_last_answers_end_while_the_disk_is_full_waits_too(tmp_path: Path) -> None:
    disk, reply = tmp_path / "disk", Holding(first=16, text=lambda n: f"{n}" * 2000)
    with ExitStack() as open_:
        enter, seen = open_.enter_context(small_disk(disk, "2m"))
        url = open_.enter_context(serving(Scripted(reply=reply)))
        open_.callback(reply.let_go.set)
        place, outside = Place(path=tmp_path, folder=disk / "run", before=enter), seen / "run"
        driver = open_.enter_context(place.begun(place.spec(url)))
        until(lambda: over(outside) == 16, driver, place.told)
        filled(seen / "filler")
        reply.let_go.set()
        until(lambda: "the run waits until there is" in place.told.read_text(), driver, place.told)
        (seen / "filler").unlink()
        out, _ = driver.communicate(timeout=30)
        assert driver.returncode == 0, place.told.read_text()
        assert "20 of 20 answered" in out and "20 attempts" in out
        require_once(outside, 20)
