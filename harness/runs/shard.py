"""A node's journal as a run's directory has it: the same bytes, chain and all.

On this machine it is the very file that the worker writes; of another node it is fetched, and its
chain followed, as it grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    identity: Mapping[str, Any] | None  # that the engine gave of itself first, or was to have
    strangers: tuple[Mapping[str, Any], ...]  # other ones; what ended at these is not in `ends`


class Shard:
    """Read from where its ends are known."""

    def __init__(self, path: Path, full: Full, *, fetched: bool) -> None:
        """`full` as a journal's. Raises ConfigError where its chain is broken."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = Journal(path, full=full)
        self.size, self.chain = opened.size, opened.chain
        self._copy = opened if fetched else None
        if not fetched:
            opened.close()
        self._strange = False  # what comes is of another engine than it should be

    def found(self, start: int, identity: Mapping[str, Any] | None) -> Found:
        """In what is there already, from `start` on. `identity`: that the engine has; None: any."""
        return self._found(journal.bodies(self.path, start, self.size), identity)

    def grown(self, lines: bytes, size: int, identity: Mapping[str, Any] | None) -> Found:
        """In what has come since then. Raises ConfigError where that does not follow."""
        if self._copy is None:
            start, self.size = self.size, size
            return self._found(journal.bodies(self.path, start, size), identity)
        bodies = self._copy.append(lines)
        self.size, self.chain = self._copy.size, self._copy.chain
        return self._found((body + b"}" for body in bodies), identity)

    def sync(self) -> None:
        if self._copy is not None:
            self._copy.sync()

    def close(self) -> None:
        if self._copy is not None:
            self._copy.close()

    def _found(self, bodies: Iterable[bytes], identity: Mapping[str, Any] | None) -> Found:
        ends, strangers = list[tuple[int, str, int]](), list[Mapping[str, Any]]()
        for body in bodies:
            if not body.startswith(TOLD):
                continue
            line = orjson.loads(body)
            if line["kind"] == "opened":
                identity = identity or line["identity"]
                self._strange = line["identity"] != identity
                if self._strange:
                    strangers.append(line["identity"])
            elif line["final"] and not self._strange:
                ends.append((line["n"], line["outcome"], line.get("tokens", 0)))
        return Found(
            upto=self.size, ends=tuple(ends), identity=identity, strangers=tuple(strangers)
        )
