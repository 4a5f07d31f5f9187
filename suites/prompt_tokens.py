"""How many tokens a prompt has: `usage.prompt_tokens` is exact, for what users pay and truncate by.

The truth stands in a file of cases, of the model's own tokenizer and template; JSON, one a line, as
Kimi-Vendor-Verifier has it:

    {"id": "two-turns", "request": {"messages": [...]}, "expected_prompt_tokens": 154}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from harness.base.errors import ConfigError
from harness.base.held import Held, broken, kept, taken
from harness.base.reply import Reply
from harness.base.strict_json import parsed, require_sendable
from harness.base.strict_toml import convert
from harness.base.suite import Given, Suite
from suites import outside, owed
from suites.owed import Owed

RULES = "1"
FEW = 16  # tokens of an answer, where a case does not say: they are not what is counted
OUTSIDE = ("cases.jsonl", "cases.partial.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCase:
    """One line."""

    id: str
    request: Mapping[str, Any]
    expected_prompt_tokens: int
    description: str = ""  # for who reads the file


def of_file(given: Given) -> Suite:
    """Raises ConfigError where a spec names no file, or one that is wrong."""
    if given.file is None:
        raise ConfigError(f"suites: {given.name}: file is missing; it must name a file of cases")
    return owed.suite(given.name, RULES, _cases([given.file]))


def kimi_k3(given: Given) -> Suite:
    """Kimi K3's, from outside. Raises ConfigError where they are not here."""
    folder = outside.required("prompt_tokens", given.name)
    return owed.suite(given.name, RULES, _cases([folder / name for name in OUTSIDE]))


def _cases(paths: list[Path]) -> Iterator[Owed]:
    seen: set[str] = set()
    for path in paths:
        for case in read(path):
            if case.id in seen:
                raise ConfigError(f"{path}: the id {case.id!r} occurs twice")
            seen.add(case.id)
            yield Owed(
                id=case.id,
                what=f"usage.prompt_tokens is {case.expected_prompt_tokens}",
                body={"max_tokens": FEW, **case.request},
                hold=_counting(case.expected_prompt_tokens),
            )


def read(path: Path) -> Iterator[PromptCase]:
    """All cases; a ConfigError names file and line."""
    try:
        lines = path.read_bytes().decode().split("\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: {error.reason}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _case(line, f"{path}: line {number}")


def _case(line: str, where: str) -> PromptCase:
    try:
        row = parsed(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: it is no line of JSON: {error}") from error
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: it must be a JSON object")
    require_sendable(cast("object", row), where)
    return convert(PromptCase, cast("dict[str, Any]", row), where)


def _counting(expected: int) -> Callable[[Reply], Held]:
    def count(reply: Reply) -> Held:
        found = (reply.usage or {}).get("prompt_tokens")
        if type(found) is not int:
            return broken("usage has no prompt_tokens")
        if found != expected:
            return broken(f"{found} prompt tokens, {found - expected:+d}")
        return kept(f"{found} prompt tokens")

    def hold(reply: Reply) -> Held:
        return taken(reply, count, whole=False)

    return hold
