"""A user's cases are read as they stand, in our form and in K2-Vendor-Verifier's, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from harness.base.errors import ConfigError
from harness.base.suite import Given
from harness.runs.plan import Plan
from launchers.vllm import VllmDialect
from suites import registry
from suites.trigger_cases import ReferenceCall, TriggerCase, fingerprint, load
from tests.harness.runs.made_up import SPEC, cases

MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather in Bonn?"}]
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
]
REQUEST: dict[str, Any] = {"messages": MESSAGES, "tools": TOOLS, "temperature": 0.6}
CALL = {"name": "weather", "arguments": '{"city": "Bonn"}'}
GOOD: dict[str, Any] = {
    "id": "bonn",
    "request": REQUEST,
    "reference": {"finish_reason": "tool_calls", "calls": [CALL]},
}
RESULT: dict[str, Any] = {
    "data_index": 7,
    "request": {"model": "kimi-k2-0905-preview", **REQUEST},
    "extra_body": {},
    "response": {
        "id": "chatcmpl-1",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {"id": "functions.weather:0", "type": "function", "function": CALL}
                    ],
                },
            }
        ],
        "usage": None,
    },
    "status": "success",
    "finish_reason": "tool_calls",
    "tool_calls_valid": True,
    "last_run_at": "2025-11-15T12:00:00",
    "duration_ms": 812,
    "hash": "00",
}
SAID = {"choices": [{"finish_reason": "stop", "message": {"content": "Hi", "tool_calls": None}}]}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def written(path: Path, *rows: object) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_a_line_of_our_form_is_read_as_it_stands(tmp_path: Path) -> None:
    (case,) = load(written(tmp_path / "cases.jsonl", GOOD))
    assert case == TriggerCase(
        id="bonn",
        request=REQUEST,
        finish_reason="tool_calls",
        calls=(ReferenceCall(name="weather", arguments='{"city": "Bonn"}'),),
    )
    assert case.called is True


def test_a_case_without_an_id_is_called_by_its_line(tmp_path: Path) -> None:
    bare = {"request": {"messages": MESSAGES}, "reference": {"finish_reason": "stop"}}
    first, second = load(written(tmp_path / "cases.jsonl", GOOD, bare))
    assert (first.id, second.id) == ("bonn", "2")
    assert (second.called, second.calls) == (False, None)


@pytest.mark.parametrize("finish", [None, "length"])
def test_what_the_reference_would_have_done_is_unknown_where_it_did_not_end(
    tmp_path: Path, finish: str | None
) -> None:
    (case,) = load(written(tmp_path / "c.jsonl", {**GOOD, "reference": {"finish_reason": finish}}))
    assert case.called is None


def test_results_of_k2_vendor_verifier_are_read(tmp_path: Path) -> None:
    said = {**RESULT, "data_index": 8, "finish_reason": "stop", "response": SAID}
    del said["extra_body"]  # earlier ones have none
    failed: dict[str, Any] = {
        **RESULT,
        "data_index": 9,
        "status": "failed",
        "finish_reason": None,
        "response": {"error": "Connection error."},
        "more": 1,
    }
    found = load(written(tmp_path / "results.jsonl", RESULT, said, failed))
    assert [(case.id, case.called) for case in found] == [("7", True), ("8", False), ("9", None)]
    assert found[0].request == RESULT["request"]
    assert found[0].calls == (ReferenceCall(name="weather", arguments=CALL["arguments"]),)
    assert (found[1].calls, found[2].calls) == ((), None)


def test_the_extra_body_was_part_of_the_request(tmp_path: Path) -> None:
    (case,) = load(written(tmp_path / "r.jsonl", {**RESULT, "extra_body": {"top_k": 1}}))
    assert case.request == {**RESULT["request"], "top_k": 1}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"", "is not JSON"),
        (b'{"id": "a", "id": "b"}', "the key 'id' stands twice"),
        (b'{"request": NaN}', "NaN is no JSON number"),
        ([], r"is \[\]; it must be a table"),
        ({**GOOD, "more": 1}, "unknown key 'more'"),
        ({"request": REQUEST}, "the key 'reference' is missing"),
        ({"reference": GOOD["reference"]}, "the key 'request' is missing"),
        ({**GOOD, "reference": {"calls": []}}, "reference: the key 'finish_reason' is missing"),
        ({**GOOD, "reference": {"finish_reason": 1}}, "finish_reason is 1; it must be a string"),
        ({**GOOD, "reference": {"finish_reason": ""}}, "finish_reason is ''"),
        (
            {**GOOD, "reference": {"finish_reason": "stop", "calls": [{"name": "f"}]}},
            r"calls\[0\]: the key 'arguments' is missing",
        ),
        ({**GOOD, "id": "a\n"}, "must be a printable name"),
        ({**GOOD, "request": {"tools": TOOLS}}, "request: messages is None"),
        ({**GOOD, "request": {"messages": []}}, "request: messages is empty"),
        ({**GOOD, "request": {"messages": MESSAGES, "tools": {}}}, r"request: tools is \{\}"),
        ({**GOOD, "reference": {"finish_reason": "\ud800"}}, "finish_reason is '"),
        ({**GOOD, "request": {"messages": [{"role": "\ud800"}]}}, "cannot be sent as JSON: str is"),
        ({**GOOD, "request": {**REQUEST, "\ud800": 1}}, "cannot be sent as JSON: str is"),
        (
            {**GOOD, "request": {**REQUEST, "seed": 2**70}},
            "cannot be sent as JSON: Integer exceeds",
        ),
        ({**GOOD, "request": {**REQUEST, "x": nested(300)}}, "cannot be sent as JSON: Recursion"),
        (b'{"request": {"messages": [{}], "top_p": 1e999}}', "beyond what a double holds"),
        (
            {**GOOD, "request": {"messages": [{"role": "system", "tools": ["x"]}]}},
            r"request: messages\[0\]: tools\[0\] is 'x'; it must be a table",
        ),
        (
            {**GOOD, "request": {"messages": [{"role": "system", "tools": "x"}]}},
            r"request: messages\[0\]: tools is 'x'; it must be an array",
        ),
        ({**RESULT, "extra_body": {"seed": 2**70}}, "cannot be sent as JSON: Integer exceeds"),
        ({**RESULT, "status": "ok"}, "status is 'ok'; it must be success or failed"),
        ({**RESULT, "response": {"choices": []}}, "response: has no 0"),
        ({**RESULT, "response": None}, "response: has no 'choices'"),
        (
            {**RESULT, "response": {"choices": [{"message": {"tool_calls": [{}]}}]}},
            "response: has no 'function'",
        ),
        ({**RESULT, "data_index": "7"}, "data_index is '7'; it must be an integer"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: object, why: str) -> None:
    path = written(tmp_path / "cases.jsonl", {**GOOD, "id": "first"}, row)
    with pytest.raises(ConfigError, match=why) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: line 2")


def test_what_is_read_can_be_asked_however_deeply_it_is_nested(tmp_path: Path) -> None:
    """A plan makes a request's id of more than its body."""
    asked = 0
    for levels in range(240, 260):
        deep = {"messages": [{"role": "user", "content": nested(levels)}]}
        path = written(tmp_path / "cases.jsonl", {**GOOD, "request": deep})
        try:
            suite = registry.suite(Given(name="tool-trigger", file=path))
        except ConfigError:
            continue
        plan = Plan(SPEC, cases(suite), VllmDialect(model="m"), "e")
        asked += len(orjson.dumps(plan.request(0).body)) > levels
    assert 0 < asked < 20


def test_an_id_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    nameless = {key: value for key, value in GOOD.items() if key != "id"}
    for row in (GOOD, {**GOOD, "id": "2"}):
        path = written(tmp_path / "twice.jsonl", row, nameless if row["id"] == "2" else GOOD)
        with pytest.raises(ConfigError, match=f"line 2: the id {row['id']!r} occurs twice"):
            load(path)


def test_a_file_that_is_empty_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no case"):
        load(written(tmp_path / "none.jsonl"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "nowhere.jsonl")


def test_another_file_is_another_fingerprint(tmp_path: Path) -> None:
    one, same, other = (
        fingerprint(written(tmp_path / name, {**GOOD, "id": name[0]}))
        for name in ("a.jsonl", "a2.jsonl", "b.jsonl")
    )
    assert one == same != other
