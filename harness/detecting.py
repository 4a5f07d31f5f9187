"""What the detectors find in the answers of any run's directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

from harness.base.errors import ConfigError
from harness.checker.detected import Counted
from harness.nodes import prepared
from harness.runs import folder as folders
from harness.runs import spec as specs
from harness.runs.plan import Cases
from harness.verifying import noticing


def of_run(folder: Path) -> Mapping[str, Counted]:
    """By engine, in the order of the spec. Raises ConfigError where there is no run, or none with
    results."""
    own = folder / folders.SPEC
    if not own.is_file():
        raise ConfigError(f"{folder}: holds no run: there is no {folders.SPEC} in it")
    spec = specs.load(own)
    cases = prepared.cases(spec)
    files = {
        " ".join([table.name, *table.changes, *(["enforced"] if table.enforce else [])]): (
            folder / "answers" / f"{prepared.file(n, table.name)}.jsonl"
        )
        for n, table in enumerate(spec.engines)
    }
    _require_same(folder, cases)
    if not any(path.is_file() for path in files.values()):
        raise ConfigError(f"{folder}: has no answers yet; `enginediff run` writes them at its end")
    return {name: noticing.noticed(cases, path) for name, path in files.items()}


def _require_same(folder: Path, cases: Cases) -> None:
    """Raises ConfigError where a suite is another one by now: its answers would be taken for those
    to other requests."""
    provenance = folder / folders.PROVENANCE
    if not provenance.is_file():
        raise ConfigError(f"{folder}: was not begun: there is no {folders.PROVENANCE} in it")
    decides = orjson.loads(provenance.read_bytes())["decides"]
    for one in cases:
        if decides.get(f"suite {one.suite.name}") != one.suite.fingerprint:
            raise ConfigError(
                f"{folder}: was asked {one.suite.name} as it was in another version; use that one"
            )
