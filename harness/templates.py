"""Chats that a trace holds rendered and not scored: thinking, tools, turns, odd content.

A further member of a trace, `templates.jsonl`: a line a chat, with the reference's token ids.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.base.case import Case, Chat
from harness.base.errors import RequestError
from harness.candidate import Opened
from harness.client import BUSY, in_parallel
from launchers.dialect import Tokens
from suites import corpus

MEMBER = "templates.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One chat, and what the reference makes of it."""

    case_id: str
    chat: Chat
    token_ids: Tokens


def recorded(opened: Opened, announce: Callable[[str], None]) -> dict[str, bytes]:
    """The member by its name; empty where the reference has no tokenizer.

    A chat that the model's own template refuses is left out: no engine owes it anything.
    """
    if opened.identity["no_tokenizer"] is not None:
        return {}
    cases = corpus.load(corpus.TEMPLATES)
    announce(f"rendering {len(cases)} chats for the template alone")
    answers = in_parallel(lambda case: _rendered(opened, case), cases, BUSY)
    lines = [_line(case, ids) for case, ids in zip(cases, answers, strict=True) if ids is not None]
    return {MEMBER: "".join(lines).encode()}


def read(member: bytes) -> Iterator[Rendered]:
    for line in member.splitlines():
        row = json.loads(line)
        tools = row["tools"]
        yield Rendered(
            case_id=row["id"],
            chat=Chat(
                messages=tuple(row["messages"]),
                tools=None if tools is None else tuple(tools),
                thinking=row["thinking"],
            ),
            token_ids=tuple(row["token_ids"]),
        )


def _rendered(opened: Opened, case: Case) -> Tokens | None:
    asker = opened.asker
    request = asker.dialect.render(case.prompt)
    reply = asker.endpoint.ask(request)
    if reply.status == 200:
        return asker.dialect.rendered(reply.body)
    if reply.status == 400:
        return None
    what = reply.problem or f"answered {reply.status}: {reply.body[:300]!r}"
    raise RequestError(f"{asker.endpoint.url}{request.path}: {what}")


def _line(case: Case, ids: Tokens) -> str:
    chat = case.prompt
    assert isinstance(chat, Chat)
    row = {
        "id": case.id,
        "messages": chat.messages,
        "tools": chat.tools,
        "thinking": chat.thinking,
        "token_ids": ids,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"
