"""A node's journal as a run's directory has it: the same bytes, chain and all.

On this machine it is the very file that the worker writes; of another node it is fetched, and its
chain followed, as it grows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.runs import journal
from harness.runs.journal import Full, Journal

TOLD = (b'{"kind":"ended"', b'{"kind":"opened"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a piece of a journal tells to whoever leads the run."""

    upto: int  # bytes
    ends: tuple[tuple[int, str, int], ...]  # number, outcome, tokens of an answer
    identities: tuple[dict[str, Any], ...]  # that the engine gave of itself


class Shard:
    """Read from where its ends are known."""

    def __init__(self, path: Path, full: Full, *, fetched: bool) -> None:
        """`full` as a journal's. Raises ConfigError where its chain is broken."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with Journal(path) as opened:
            self.size, self.chain = opened.size, opened.chain
        self._copy = Journal(path, full=full) if fetched else None

    def found(self, start: int) -> Found:
        """In what is there already, from `start` on."""
        return _found(journal.bodies(self.path, start, self.size), self.size)

    def grown(self, lines: bytes, size: int) -> Found:
        """In what has come since then. Raises ConfigError where that does not follow."""
        if self._copy is None:
            found = _found(journal.bodies(self.path, self.size, size), size)
            self.size = size
            return found
        bodies = self._copy.append(lines)
        self.size, self.chain = self._copy.size, self._copy.chain
        return _found((body + b"}" for body in bodies), self.size)

    def sync(self) -> None:
        if self._copy is not None:
            self._copy.sync()

    def close(self) -> None:
        if self._copy is not None:
            self._copy.close()


def _found(bodies: Iterable[bytes], upto: int) -> Found:
    ends, identities = list[tuple[int, str, int]](), list[dict[str, Any]]()
    for body in bodies:
        if not body.startswith(TOLD):
            continue
        line = orjson.loads(body)
        if line["kind"] == "opened":
            identities.append(line["identity"])
        elif line["final"]:
            ends.append((line["n"], line["outcome"], line.get("tokens", 0)))
    return Found(upto=upto, ends=tuple(ends), identities=tuple(identities))
