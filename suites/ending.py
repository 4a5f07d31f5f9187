"""The end-of-sequence probe: one request, asked again and again; a spec's `cases` says how often.

An engine that now and then ends an answer before it has begun moves no score, and is found by
nothing else. Each answer is held by itself; how many there were, and what share of silent ones is
not excluded, is for `harness.checker.ending`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.base.held import Held, broken, kept, taken
from harness.base.reply import Reply
from harness.base.suite import Given, Suite
from suites import owed
from suites.owed import STREAMED, Owed

RULES = "2"
REPEATS = 3000  # as many as novita's verifier asks
ASKED = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


def suite(given: Given) -> Suite:
    body = {**ASKED, "max_tokens": given.max_tokens}
    return owed.suite(given.name, RULES, [_case(n, body) for n in range(REPEATS)])


def _case(n: int, body: Mapping[str, Any]) -> Owed:
    return Owed(id=f"repeat-{n}", what="says something", body=body, hold=_held, ways=(STREAMED,))


def _held(reply: Reply) -> Held:
    return taken(reply, _says, whole=False)


def _says(reply: Reply) -> Held:
    if reply.content.strip() or reply.calls or reply.finish_reason == "length":
        return kept(reply.content[:80])
    return broken(f"finish_reason {reply.finish_reason!r}, and nothing is said")
