"""Whether a disturbed run came to what the undisturbed one came to, and what that cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.runs import journal, ledger
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


def judged(scene: Scene, *, made: Mapping[str, int], counted: bool = True) -> Found:
    """Reads both runs and their ledgers. `made`: what was done to it, beside the engine's faults.
    `counted`: no engine was killed, which keeps no count."""
    found = Found(name=scene.name, kinds=Counter(made))
    right, given = results(scene, "undisturbed"), results(scene, "disturbed")
    found.requests = len(right)
    if given != right:
        lost, changed = right.keys() - given.keys(), [n for n in given if given[n] != right.get(n)]
        found.problems.append(
            f"{scene.name}: {len(lost)} lost, {len(changed)} other: {changed[:5]}"
        )
    nodes = journals(scene, "disturbed")
    found.problems += [f"{scene.name}: {problem}" for problem in _wrong(scene, nodes)]
    found.drivers = sum(line["kind"] == "opened" for lines in nodes.values() for line in lines)
    found.continued = sum(bool(row["continued"]) for row in _answers(scene, "disturbed"))
    served = 0
    for row in _lines(scene.ledger("disturbed")):
        if row["kind"] == "served":
            served += row["sent_tokens"]
        else:
            found.kinds[row["kind"]] += 1
    needed = sum(row["usage"]["completion_tokens"] for row in _answers(scene, "undisturbed"))
    probing = _served(scene.ledger("undisturbed")) - needed  # what attaching asks for, once a life
    if counted:
        found.again = (served - found.drivers * probing - needed) / needed
    return found


def received_again(scene: Scene) -> float:
    """Tokens that came once more, of those needed; what was sent, and never read, is not in it."""
    came = [
        sum(_received(lines) for lines in journals(scene, name).values())
        for name in ("disturbed", "undisturbed")
    ]
    return came[0] / came[1] - 1


def results(scene: Scene, name: str) -> dict[int, tuple[Any, ...]]:
    """What came of each request."""
    return {row["n"]: tuple(row.get(key) for key in SAME) for row in _answers(scene, name)}


def journals(scene: Scene, name: str) -> dict[str, list[dict[str, Any]]]:
    """Every line, by node; ConfigError where a chain is broken."""
    paths = scene.run_folder(name).glob("records/*/*.jsonl")
    return {path.stem: list(journal.read(path)) for path in paths if path.name != ledger.NAME}


def _wrong(scene: Scene, nodes: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Of a run that is done: each request ended once at a node, and counts once, as it is told."""
    for node, lines in nodes.items():
        ended = Counter(line["n"] for line in lines if line["kind"] == "ended" and line["final"])
        if twice := _repeated(ended):
            yield f"ended twice on {node}: {twice}"
    answered = [(row["n"], row["node"]) for row in _answers(scene, "disturbed")]
    if twice := _repeated(Counter(n for n, _ in answered)):
        yield f"answered twice: {twice}"
    (path,) = scene.run_folder("disturbed").glob(f"records/*/{ledger.NAME}")
    counted = [
        (n, line["node"]) for line in _valid(journal.read(path)) for n, _, _ in line["counted"]
    ]
    if sorted(counted) != sorted(answered):
        yield f"counted otherwise than answered: {set(counted) ^ set(answered)}"


def _valid(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What still counts of a ledger."""
    valid: list[Mapping[str, Any]] = []
    for line in lines:
        if line["kind"] == "forgotten":
            valid = [one for one in valid if one["node"] != line["node"]]
        elif line["kind"] == "ended":
            valid.append(line)
    return valid


def _repeated(counts: Mapping[int, int]) -> list[int]:
    """A few of what is there more than once."""
    return [n for n, count in counts.items() if count > 1][:5]


def _received(lines: Iterable[Mapping[str, Any]]) -> int:
    """Tokens; a piece that brought no ids counts as one."""
    return sum(
        len(part["token_ids"]) if "token_ids" in part else 1
        for line in lines
        if line["kind"] == "parts"
        for _, part in line["parts"]
        if part.keys() - {"done", "finish_reason"}
    )


def _answers(scene: Scene, name: str) -> Iterator[dict[str, Any]]:
    (path,) = (scene.run_folder(name) / "answers").iterdir()
    return _lines(path)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """JSON lines; a server that was killed may have left half a one."""
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        if line.endswith(b"\n"):
            yield json.loads(line)


def _served(path: Path) -> int:
    return sum(row["sent_tokens"] for row in _lines(path) if row["kind"] == "served")
