"""The prompt tokens that a deployment owes, by the trace: chats, and what the model's own template
and tokenizer make of them. Pure.

The corpus names the reasoning of earlier turns by both names that APIs have for it. A chat that has
any is asked once more with the one that Kimi's API knows: it is what customers send back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.base.case import Chat
from harness.base.sampling_rules import INSTANT, THINKING, Rules
from harness.templates import Rendered

OURS, KIMIS = "reasoning", "reasoning_content"


def lines(rendered: Iterable[Rendered], rules: Rules) -> Iterator[str]:
    """A file of cases for the suite `prompt-tokens`."""
    for one in rendered:
        for suffix, chat in _ways(one.chat):
            case = {
                "id": f"{one.case_id}{suffix}",
                "request": _request(chat, rules),
                "expected_prompt_tokens": len(one.token_ids),
            }
            yield json.dumps(case, ensure_ascii=False) + "\n"


def _ways(chat: Chat) -> Iterator[tuple[str, Chat]]:
    yield "", chat
    if any(KIMIS in message and OURS in message for message in chat.messages):
        sent_back = tuple(
            {name: value for name, value in message.items() if name != OURS}
            for message in chat.messages
        )
        alone = Chat(messages=sent_back, tools=chat.tools, thinking=chat.thinking)
        yield f"/{KIMIS}-alone", alone


def _request(chat: Chat, rules: Rules) -> Mapping[str, Any]:
    request: dict[str, Any] = {"messages": chat.messages}
    if chat.tools is not None:
        request["tools"] = chat.tools
    if chat.thinking is not None:
        request |= rules.asked_by[THINKING if chat.thinking else INSTANT]
    return request
