"""What a run's files say of each deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.comparison import Row as Checked
from harness.nodes import prepared
from harness.runs.plan import Cases
from harness.runs.report import Report
from harness.verifying import checks, holding, known, noticing, spec, triggered, verification
from harness.verifying.holding import Row
from harness.verifying.spec import Asked
from harness.verifying.verification import Deployment
from launchers.pins import LoadedPin
from suites import trigger_cases

PROBE, TRIGGER = "ending", "tool-trigger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What was named on the command line."""

    loaded: LoadedPin | None  # None: a URL
    checked: Checked | None  # None: there is no reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """All answers of a run."""

    cases: Cases
    files: Mapping[str, Path]  # by engine's title, in the order of the spec
    rows: Sequence[Row]
    problems: Sequence[str]  # of engines that were given up


def answers(asked: Asked, named: Mapping[str, Named], report: Report) -> Answers:
    """Reads how they are held."""
    cases = prepared.cases(report.spec)
    titles = [_title(asked, named, n) for n in range(len(asked.engines))]
    files = {
        title: report.folder / "answers" / f"{prepared.file(n, one.name)}.jsonl"
        for n, (title, one) in enumerate(zip(titles, asked.engines, strict=True))
    }
    rows = holding.rows(cases, files)
    return Answers(cases=cases, files=files, rows=rows, problems=report.problems)


def deployments(
    asked: Asked, named: Mapping[str, Named], found: Answers, why: str | None, folder: Path
) -> list[Deployment]:
    """In the order of the spec. `why` there is no reference; `folder`: of the checks."""
    return [
        _deployment(asked, named, n, title, found, why, folder)
        for n, title in enumerate(found.files)
    ]


def _deployment(
    asked: Asked,
    named: Mapping[str, Named],
    n: int,
    title: str,
    found: Answers,
    why: str | None,
    folder: Path,
) -> Deployment:
    engine, path = asked.engines[n], found.files[title]
    one = named[engine.name]
    suites = tuple(holding.counts(found.rows, title))
    own = () if one.loaded is None else one.loaded.pin.serving.known
    excused = known.judged(found.rows, title, own)
    start = f"{title}: "
    failed = next((p.removeprefix(start) for p in found.problems if p.startswith(start)), None)
    word, reasons = verification.decided(
        one.checked,
        suites,
        enforced=engine.enforce,
        failed=failed,
        unchecked=why,
        known=excused,
        not_run=[chosen.name for chosen in spec.suites(asked) if chosen.not_run is not None],
    )
    trigger = None
    if asked.trigger is not None:
        recorded = trigger_cases.load(Path(asked.trigger))
        trigger = triggered.found(recorded, found.cases, path, TRIGGER, asked.seed)
    return Deployment(
        name=title,
        enforced=engine.enforce,
        checked=one.checked,
        unchecked=why,
        applied=checks.applied(folder, one.checked),
        suites=suites,
        known=excused,
        noticed=noticing.noticed(found.cases, path),
        endings=noticing.probed(found.cases, path, PROBE),
        trigger=trigger,
        failed=failed,
        word=word,
        reasons=reasons,
    )


def _title(asked: Asked, named: Mapping[str, Named], n: int) -> str:
    engine = asked.engines[n]
    loaded = named[engine.name].loaded
    return prepared.title(engine.name, loaded, enforce=engine.enforce)
