"""What of a spec can be looked at before anything is started: its cases, and each of its engines.

On every node alike: what comes out is compared by hash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness import candidate
from harness.base.errors import ConfigError
from harness.base.suite import Given
from harness.candidate import Announce
from harness.client import api_key
from harness.runs.plan import Asked, Cases, breaches
from harness.runs.spec import LOCAL, EngineTable, RunSpec, SuiteTable
from launchers import contracts
from launchers.pins import LoadedPin
from suites import registry

LEAST_KEY = 8  # characters of a key


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An engine of the spec."""

    table: EngineTable
    loaded: LoadedPin | None  # None: a URL
    file: str  # what its files are named by
    breaches: tuple[str, ...]  # of its model's sampling contract

    @property
    def title(self) -> str:
        return title(self.table.name, self.loaded, enforce=self.table.enforce)

    @property
    def hash(self) -> str | None:
        return None if self.loaded is None else self.loaded.hash


def cases(spec: RunSpec) -> Cases:
    """Raises ConfigError for a suite that there is not."""
    return Cases([_asked(spec, table) for table in spec.suites], spec.epochs)


def _asked(spec: RunSpec, table: SuiteTable) -> Asked:
    suite = registry.suite(
        Given(
            name=table.name,
            max_tokens=spec.sampling.max_tokens,
            rules=None if table.contract is None else contracts.rules(table.contract),
            file=None if table.file is None else Path(table.file),
        )
    )
    if table.cases is not None and table.cases > len(suite.tasks):
        raise ConfigError(
            f"suites: {table.name}: cases is {table.cases}; it has {len(suite.tasks)}"
        )
    return Asked(suite=suite, tasks=suite.tasks[: table.cases], continues=table.continues)


def engine(spec: RunSpec, asked: Cases, n: int, announce: Announce) -> Prepared:
    """The `n`-th engine of a spec, its model verified. Raises ConfigError."""
    table = spec.engines[n]
    joined = spec.nodes != (LOCAL,)
    loaded = candidate.prepared(table.name, table.changes, announce, joined=joined)
    if loaded is not None and table.contract is not None:
        raise ConfigError(f"engines: {table.name}: contract is a URL's; a pin names its own")
    family = table.contract if loaded is None else loaded.pin.serving.contract
    if table.enforce and (loaded is None or family is None):
        raise ConfigError(
            f"engines: {table.name}: enforce holds a pin's own contract, and this is no pin that "
            "names one"
        )
    broken = [] if family is None else breaches(spec, asked.asked, contracts.load(family))
    if broken and spec.override_reason is None:
        raise ConfigError(
            f"{table.name}: the sampling of this run breaks the contract of {family}:\n"
            + "\n".join(f"  {line}" for line in broken)
            + "\nkeep it, or say in override_reason why it is not kept"
        )
    return Prepared(table=table, loaded=loaded, file=file(n, table.name), breaches=tuple(broken))


def title(name: str, loaded: LoadedPin | None, *, enforce: bool) -> str:
    """What an engine of a spec is called."""
    called = name if loaded is None else loaded.title
    return f"{called}, enforced" if enforce else called


def file(n: int, name: str) -> str:
    """What the files of the `n`-th engine are named by."""
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
    return f"{n + 1}-{word}"[:100]


def secret() -> str:
    """What stands in no file. A word that is so short is no key, and would be hidden in answers."""
    key = api_key()
    return key if len(key) >= LEAST_KEY else ""
