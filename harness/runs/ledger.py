"""Who is to answer which request of an engine, and whose answer counts: a journal of its own.

    given      node  n          these are the node's to ask
    back       node  n          they are not any more: it gave them back, or was lost
    ended      node  upto       of the node's own journal, so far: what `counted`, as [n, outcome,
                                tokens], and what had ended before elsewhere (`again`)
    identity   identity         what the engine says that it is, on whatever node
    forgotten  node             its journal lost its end: what it has is counted anew
    node       node  what       what became of it, for people

A request counts once: with what was told of it first. The journals of the nodes are not parsed for
that, but for their ends since then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.base.errors import ConfigError
from harness.runs.journal import SCHEMA, Full, Journal

NAME = "ledger.jsonl"


class Ledger:
    """One engine's. `close` it."""

    def __init__(self, path: Path, spec: str, full: Full) -> None:
        """Begins it, or goes on with it. `spec`: its hash. `full` as a journal's.

        Raises ConfigError.
        """
        self.over: dict[int, str] = {}  # -> outcome
        self.by: dict[int, str] = {}  # -> node whose answer counts
        self.has: dict[int, str] = {}  # not over -> node that is to ask it
        self.tokens: dict[int, int] = {}  # of answers
        self.identity: Mapping[str, Any] | None = None
        self.again = 0  # answers that do not count: there was one
        self.upto: dict[str, int] = {}  # node -> bytes of its journal
        self._path, self._spec = path, spec
        path.parent.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(path, self._tell, full)
        if not self._journal.size:
            self._write("opened", schema=SCHEMA, spec=spec)

    def given(self, node: str, numbers: Sequence[int]) -> None:
        if numbers:
            self._write("given", node=node, n=list(numbers))
            self.has.update(dict.fromkeys(numbers, node))

    def back(self, node: str, numbers: Iterable[int]) -> None:
        own = [n for n in numbers if self.has.get(n) == node]
        if own:
            self._write("back", node=node, n=own)
            self._forget(own)

    def of(self, node: str) -> list[int]:
        """What it is to ask, in the order in which it was given."""
        return [n for n, other in self.has.items() if other == node]

    def ended(self, node: str, upto: int, ends: Iterable[tuple[int, str, int]]) -> list[int]:
        """What ended in a node's journal up to there: number, outcome, tokens. Those that count."""
        ends = list(ends)
        counted = [end for end in ends if end[0] not in self.over]
        again = [n for n, _, _ in ends if n in self.over]
        if upto > self.upto.get(node, 0) and ends:
            self._write("ended", node=node, upto=upto, counted=counted, again=again)
            self.again += len(again)
        self._count(node, upto, counted)
        return [n for n, _, _ in counted]

    def forgotten(self, node: str) -> None:
        """Its journal is shorter than what was counted of it."""
        self._write("forgotten", node=node)
        self._forget_counted(node)

    def identified(self, identity: Mapping[str, Any] | None) -> None:
        if self.identity is None and identity is not None:
            self._write("identity", identity=identity)
            self.identity = identity

    def became(self, node: str, what: str) -> None:
        self._write("node", node=node, what=what)

    def sync(self) -> None:
        self._journal.sync()

    def close(self) -> None:
        self._journal.close()

    def _write(self, kind: str, **fields: Any) -> None:
        self._journal.write([{"kind": kind, **fields}])

    def _tell(self, line: Mapping[str, Any]) -> None:
        kind = line["kind"]
        if kind == "opened" and (line["schema"], line["spec"]) != (SCHEMA, self._spec):
            raise ConfigError(f"{self._path}: is of schema {line['schema']}, spec {line['spec']}")
        if kind == "given":
            self.has.update(dict.fromkeys(line["n"], line["node"]))
        elif kind == "back":
            self._forget(line["n"])
        elif kind == "ended":
            self._count(line["node"], line["upto"], line["counted"])
            self.again += len(line["again"])
        elif kind == "forgotten":
            self._forget_counted(line["node"])
        elif kind == "identity":
            self.identity = line["identity"]

    def _count(self, node: str, upto: int, counted: Iterable[tuple[int, str, int]]) -> None:
        self.upto[node] = max(upto, self.upto.get(node, 0))
        for n, outcome, tokens in counted:
            self.over[n], self.by[n] = outcome, node
            self.has.pop(n, None)
            if tokens:
                self.tokens[n] = tokens

    def _forget(self, numbers: Collection[int]) -> None:
        for n in numbers:
            self.has.pop(n, None)

    def _forget_counted(self, node: str) -> None:
        for n in [n for n, other in self.by.items() if other == node]:
            del self.over[n], self.by[n]
            self.tokens.pop(n, None)
            self.has[n] = node
        self.upto[node] = 0
