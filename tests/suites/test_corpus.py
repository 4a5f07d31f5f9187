"""The shipped corpus is large enough to decide, and a bad line is named with its cause."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.base.case import Case, Chat
from harness.base.errors import ConfigError
from suites.corpus import TEMPLATES, fingerprint, load

TEXT: dict[str, Any] = {
    "id": "t",
    "stratum": "text",
    "messages": None,
    "tools": None,
    "thinking": None,
    "text": "Once",
}
CHAT: dict[str, Any] = {
    **TEXT,
    "id": "c",
    "messages": [{"role": "user", "content": "hi"}],
    "tools": [],
    "thinking": False,
    "text": None,
}


def written(path: Path, *rows: object) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "corpus.jsonl"


def test_the_shipped_corpus_has_eighty_prompts_in_each_of_its_strata() -> None:
    cases = load()
    strata = Counter(case.stratum for case in cases)
    assert len(cases) >= 400
    assert len(strata) >= 5
    assert set(strata.values()) == {80}
    assert len({case.id for case in cases}) == len(cases)


def test_the_shipped_corpus_has_chats_with_tools_with_thinking_and_plain_texts() -> None:
    prompts = [case.prompt for case in load()]
    chats = [prompt for prompt in prompts if isinstance(prompt, Chat)]
    assert any(isinstance(prompt, str) and prompt for prompt in prompts)
    assert any(chat.tools for chat in chats)
    assert {True, False} <= {chat.thinking for chat in chats}
    assert any(len(chat.messages) > 2 for chat in chats)
    assert len({repr(prompt) for prompt in prompts}) == len(prompts)


def test_lines_become_cases(path: Path) -> None:
    line = json.dumps({**TEXT, "text": "a\u2028b\u0085c"}, ensure_ascii=False).encode()
    assert load(written(path, line, CHAT)) == [
        Case(id="t", stratum="text", prompt="a\u2028b\u0085c"),
        Case(
            id="c",
            stratum="text",
            prompt=Chat(messages=({"role": "user", "content": "hi"},), tools=(), thinking=False),
        ),
    ]


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (b"{", "is not JSON"),
        (b"", "is not JSON"),
        (b'"\xff"', "is not JSON"),
        ([1], "must be a JSON object"),
        (7, "must be a JSON object"),
        ({**CHAT, "tool": 1}, "has the keys"),
        ({"id": "x"}, "has the keys"),
        ({**CHAT, "text": "both"}, "either messages or text"),
        ({**TEXT, "text": None}, "either messages or text"),
    ],
)
def test_a_bad_line_is_named_with_its_cause(path: Path, bad: object, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause) as caught:
        load(written(path, TEXT, bad))
    assert str(caught.value).startswith(f"{path}:2: ")


def test_an_id_twice_an_empty_file_and_none_are_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="'t' occurs twice"):
        load(written(path, TEXT, TEXT))
    with pytest.raises(ConfigError, match="holds no case"):
        load(written(path))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(path.with_name("absent"))


def test_the_fingerprint_is_that_of_the_file(path: Path) -> None:
    first = fingerprint(written(path, TEXT))
    assert fingerprint(written(path, TEXT)) == first
    assert fingerprint(written(path, TEXT, CHAT)) != first


def test_the_chats_for_the_template_alone_have_each_what_a_template_gets_wrong() -> None:
    chats = [case.prompt for case in load(TEMPLATES)]
    assert all(isinstance(chat, Chat) for chat in chats)
    switches = {chat.thinking for chat in chats if isinstance(chat, Chat)}
    assert switches == {None, True, False}
    messages = [m for chat in chats if isinstance(chat, Chat) for m in chat.messages]
    contents = {role: [m["content"] for m in messages if m["role"] == role] for role in ROLES}
    for role, given in contents.items():
        assert "" in given, role
        assert any(isinstance(content, list) for content in given), role
    assert None in contents["assistant"]
    assert any("<|im_end|>" in str(content) for content in contents["user"])
    assert {len(m["tool_calls"]) for m in messages if m.get("tool_calls")} == {1, 2}
    assert any(m.get("reasoning_content") for m in messages)
    assert not {case.id for case in load(TEMPLATES)} & {case.id for case in load()}


ROLES = ("system", "user", "assistant", "tool")
