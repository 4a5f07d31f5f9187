"""The prompt tokens that are owed, as the trace knows them, are cases that the suite reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.base.case import Chat
from harness.base.suite import Given
from harness.templates import Rendered
from harness.verifying import truth
from launchers import contracts
from suites import prompt_tokens

RULES = contracts.rules("kimi-k2.6")
PLAIN: dict[str, Any] = {"role": "user", "content": "é"}
BEFORE = {"role": "assistant", "content": "a", "reasoning": "r", "reasoning_content": "r"}


def rendered(
    name: str, *messages: Any, tools: Any = None, thinking: bool | None = None
) -> Rendered:
    chat = Chat(messages=messages, tools=tools, thinking=thinking)
    return Rendered(case_id=name, chat=chat, token_ids=(1, 2, 3))


def cases(folder: Path, *of: Rendered) -> dict[str, prompt_tokens.PromptCase]:
    path = folder / "cases.jsonl"
    path.write_text("".join(truth.lines(of, RULES)), "utf-8")
    assert len(prompt_tokens.of_file(Given(name="prompt-tokens", file=path)).tasks) > 0
    return {case.id: case for case in prompt_tokens.read(path)}


def test_a_chat_is_asked_as_it_was_rendered(tmp_path: Path) -> None:
    tools = ({"type": "function", "function": {"name": "f"}},)
    found = cases(tmp_path, rendered("a", PLAIN), rendered("b", PLAIN, tools=tools, thinking=False))
    assert found["a"].request == {"messages": [PLAIN]}
    assert found["a"].expected_prompt_tokens == 3
    assert found["b"].request["tools"] == list(tools)
    assert found["b"].request["chat_template_kwargs"] == {"thinking": False}


def test_reasoning_of_earlier_turns_is_asked_by_both_names_and_by_kimis_alone(
    tmp_path: Path,
) -> None:
    found = cases(tmp_path, rendered("a", PLAIN, BEFORE, PLAIN, thinking=True))
    assert list(found) == ["a", "a/reasoning_content-alone"]
    alone = found["a/reasoning_content-alone"]
    assert alone.request["messages"][1] == {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "r",
    }
    assert alone.request["chat_template_kwargs"] == {"thinking": True}
    assert alone.expected_prompt_tokens == found["a"].expected_prompt_tokens == 3
