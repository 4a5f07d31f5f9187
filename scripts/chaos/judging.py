"""Whether a disturbed run came to what the undisturbed one came to, and what that cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.runs import journal
from scripts.chaos.driving import Scene

SAME = ("suite", "case", "repeat", "outcome", "content", "reasoning", "finish_reason", "tokens")


@dataclass(slots=True, kw_only=True)
class Found:
    """One scene."""

    name: str
    requests: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])  # of faults, kills included
    drivers: int = 0
    continued: int = 0
    again: float | None = None  # tokens generated once more, of those needed; None: not counted
    problems: list[str] = field(default_factory=list[str])
    note: str = ""

    def line(self) -> str:
        if self.note:
            return f"{self.name:10} {self.note}"
        again = "tokens not counted" if self.again is None else f"{self.again:.2%} of tokens again"
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        return (
            f"{self.name:10} {self.requests} requests, {self.kinds.total()} kills and faults "
            f"({kinds}), {self.drivers} drivers or lives, {self.continued} answers continued, "
            f"{again}: {'WRONG' if self.problems else 'the same results'}"
        )


def judged(scene: Scene, *, kills: int, counted: bool = True) -> Found:
    """Reads both runs and their ledgers. `counted`: no engine was killed, which keeps no count."""
    found = Found(name=scene.name, kinds=Counter({"kill": kills}))
    right, given = results(scene, "undisturbed"), results(scene, "disturbed")
    found.requests = len(right)
    if given != right:
        lost, changed = right.keys() - given.keys(), [n for n in given if given[n] != right.get(n)]
        found.problems.append(
            f"{scene.name}: {len(lost)} lost, {len(changed)} other: {changed[:5]}"
        )
    lines = _journal(scene, "disturbed")
    final = Counter(line["n"] for line in lines if line["kind"] == "ended" and line["final"])
    if twice := [n for n, count in final.items() if count > 1]:
        found.problems.append(f"{scene.name}: ended twice: {twice[:5]}")
    found.drivers = sum(line["kind"] == "opened" for line in lines)
    found.continued = sum(bool(row["continued"]) for row in _answers(scene, "disturbed"))
    served = 0
    for row in _ledger(scene.ledger("disturbed")):
        if row["kind"] == "served":
            served += row["sent_tokens"]
        else:
            found.kinds[row["kind"]] += 1
    needed = sum(row["usage"]["completion_tokens"] for row in _answers(scene, "undisturbed"))
    probing = _served(scene.ledger("undisturbed")) - needed  # what attaching asks for, once a life
    if counted:
        found.again = (served - found.drivers * probing - needed) / needed
    return found


def results(scene: Scene, name: str) -> dict[int, tuple[Any, ...]]:
    """What came of each request."""
    return {row["n"]: tuple(row.get(key) for key in SAME) for row in _answers(scene, name)}


def _answers(scene: Scene, name: str) -> Iterator[dict[str, Any]]:
    (path,) = (scene.run_folder(name) / "answers").iterdir()
    return _ledger(path)


def _ledger(path: Path) -> Iterator[dict[str, Any]]:
    """JSON lines; a server that was killed may have left half a one."""
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        if line.endswith(b"\n"):
            yield json.loads(line)


def _served(path: Path) -> int:
    return sum(row["sent_tokens"] for row in _ledger(path) if row["kind"] == "served")


def _journal(scene: Scene, name: str) -> list[dict[str, Any]]:
    """Every line; ConfigError where its chain is broken."""
    (path,) = scene.run_folder(name).glob("records/*/local.jsonl")
    return list(journal.read(path))
