"""The count of a prompt's tokens is exact, and the cases that say it are read strictly."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.base.errors import ConfigError
from harness.base.held import Held, How
from harness.base.reply import Reply
from harness.base.suite import Given, Suite
from suites import registry
from suites.outside import VARIABLE
from tests.suites.replies import NEITHER, answer, bodies, held, refusal

HELLO = {"messages": [{"role": "user", "content": "Hello."}]}
LINES = (
    {"id": "one", "request": HELLO, "expected_prompt_tokens": 1},
    {"id": "two-turns", "request": {**HELLO, "max_tokens": 3}, "expected_prompt_tokens": 154},
)


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    return path


def of_file(path: Path | None) -> Suite:
    return registry.suite(Given(name="prompt-tokens", file=path))


@pytest.fixture
def made(tmp_path: Path) -> Suite:
    return of_file(written(tmp_path / "cases.jsonl", *LINES))


def counted(tokens: object, finish_reason: str = "stop") -> Reply:
    return answer("Hi", finish_reason, usage={"prompt_tokens": tokens, "completion_tokens": 154})


@pytest.mark.parametrize(
    ("case", "reply", "how"),
    [
        ("two-turns", counted(154), How.KEPT),
        ("two-turns", counted(154, "length"), How.KEPT),
        ("two-turns", counted(153), How.BROKEN),
        ("two-turns", counted(155), How.BROKEN),
        ("two-turns", counted(1), How.BROKEN),
        ("two-turns", counted(0), How.BROKEN),
        ("two-turns", counted(154.0), How.BROKEN),
        ("two-turns", counted("154"), How.BROKEN),
        ("two-turns", counted(None), How.BROKEN),
        ("two-turns", answer(usage={"completion_tokens": 154}), How.BROKEN),
        ("two-turns", answer(usage={}), How.BROKEN),
        ("two-turns", answer(), How.BROKEN),
        ("one", counted(1), How.KEPT),
        ("one", counted(2), How.BROKEN),
        ("one", counted(154), How.BROKEN),
        ("one", counted(True), How.BROKEN),
        ("one", refusal("messages: not supported"), How.BROKEN),
        ("one", refusal("messages: not supported", 422), How.BROKEN),
        ("one", refusal("messages: not supported", None), How.BROKEN),
        *(("one", neither, How.UNANSWERED) for neither in NEITHER),
    ],
)
def test_a_count_is_exact_or_broken(made: Suite, case: str, reply: Reply, how: How) -> None:
    assert held(made, case, reply).how is how


def test_what_is_counted_is_told_and_how_far_off_it_is(made: Suite) -> None:
    for tokens, found in (
        (154, Held(how=How.KEPT, why="154 prompt tokens")),
        (157, Held(how=How.BROKEN, why="157 prompt tokens, +3")),
        (150, Held(how=How.BROKEN, why="150 prompt tokens, -4")),
        (None, Held(how=How.BROKEN, why="usage has no prompt_tokens")),
    ):
        assert held(made, "two-turns", counted(tokens)) == found


def test_a_request_is_sent_as_it_is_and_ends_soon_where_it_does_not_say(made: Suite) -> None:
    assert bodies(made) == {
        "one/streamed": {**HELLO, "max_tokens": 16},
        "one/whole": {**HELLO, "max_tokens": 16},
        "two-turns/streamed": {**HELLO, "max_tokens": 3},
        "two-turns/whole": {**HELLO, "max_tokens": 3},
    }


def test_the_vendors_cases_are_of_both_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Given(name="prompt-tokens-kimi-k3")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError, match="the data 'prompt_tokens' is not here"):
        registry.suite(given)
    folder = tmp_path / "prompt_tokens"
    folder.mkdir()
    written(folder / "cases.jsonl", LINES[0])
    written(folder / "cases.partial.jsonl", {**LINES[1], "description": "two turns"})
    vendors = registry.suite(given)
    assert {task.id for task in vendors.tasks if task.id.endswith("/whole")} == {
        "one/whole",
        "two-turns/whole",
    }
    assert held(vendors, "two-turns", counted(153)).how is How.BROKEN
    written(folder / "cases.partial.jsonl", LINES[0])
    with pytest.raises(ConfigError, match=r"cases.partial.jsonl: the id 'one' occurs twice"):
        registry.suite(given)


def test_a_suite_without_a_file_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="prompt-tokens: file is missing"):
        of_file(None)
    with pytest.raises(ConfigError, match=r"nowhere.jsonl: cannot be read"):
        of_file(tmp_path / "nowhere.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(ConfigError, match=r"bytes.jsonl: is not UTF-8 text"):
        of_file(tmp_path / "bytes.jsonl")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "a"', "it is no line of JSON"),
        ('{"id": "a", "id": "b"}', "the key 'id' stands twice"),
        ("[1]", "it must be a JSON object"),
        ('{"id": "a", "request": {}}', "the key 'expected_prompt_tokens' is missing"),
        ('{"id": "a", "request": {}, "expected_prompt_tokens": "4"}', "expected_prompt_tokens is"),
        ('{"id": "a", "request": {}, "expected_prompt_tokens": 4, "x": 1}', "unknown key 'x'"),
        (
            '{"id": "a", "request": {"seed": 1180591620717411303424}, "expected_prompt_tokens": 4}',
            "cannot be sent as JSON: Integer exceeds",
        ),
        (
            '{"id": "a", "request": {"user": "\\ud800"}, "expected_prompt_tokens": 4}',
            "cannot be sent as JSON: str is",
        ),
        (
            '{"id": "\\ud800", "request": {}, "expected_prompt_tokens": 4}',
            "cannot be sent as JSON: str is",
        ),
    ],
)
def test_a_bad_line_is_refused_with_file_and_number(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(f"{json.dumps(LINES[0])}\n\n{line}\n")
    with pytest.raises(ConfigError, match=re.escape(f"{path}: line 3")) as refused:
        of_file(path)
    assert said in str(refused.value)


def test_an_id_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the id 'one' occurs twice"):
        of_file(written(tmp_path / "cases.jsonl", LINES[0], LINES[0]))
