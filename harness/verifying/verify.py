"""A deployment verified before users see it: the check, and what it owes, in one directory.

    doctor -> reference -> checks -> suites of what is owed, by a run -> held -> one word

runs/verify-<hash>/  verify.json (what was asked)  reference.json (against which trace)
                     prompt-tokens.jsonl (owed, by the trace)
                     candidates/<n>/ (a check's own directory)
                     owed.toml  owed/ (a run's own directory)
                     verification.json  report.html

The same command goes on where it was stopped: a check that has ended is not done again, and the run
goes on as every run does.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import orjson

from harness import candidate, doctor, run
from harness.base import atomic
from harness.base.errors import ConfigError
from harness.recording import Trace
from harness.report import verification_page
from harness.run import Terminal
from harness.runs import folder as folders
from harness.verifying import checks, deployments, how, owing, reference, verification
from harness.verifying.deployments import Answers, Named
from harness.verifying.how import How
from harness.verifying.spec import OWED, Asked, spec_text, suites
from harness.verifying.verification import Deployment, Verification

RESULT, PAGE = "verification.json", "report.html"


def verify(asks: How, chosen: Path | None, terminal: Terminal) -> tuple[Verification, Path] | None:
    """What it comes to, and where it is. None: it was stopped; the same command goes on.

    Raises an EnginediffError for what can be refused before anything is asked.
    """
    how.refuse(asks)
    folder = (chosen or asks.place()).absolute()
    tell = terminal.announce
    loaded = [candidate.prepared(name, asks.changes_of(name), tell) for name in asks.names]
    rules = owing.rules(asks, loaded)
    owing.refuse_unreadable(asks)
    with folders.locked(folder, how.FILE):
        served = owing.servers(asks)
        choices = owing.choices(asks, loaded, served)
        pins = {one.title: one.hash for one in loaded if one is not None}
        choices = how.begin(folder, asks, {"pins": pins, "servers": served}, choices)
        _refuse_unfit(asks, tell)
        against = reference.found(asks, loaded, folder, tell)
        owed = owing.asked(asks, loaded, rules, against.trace, folder, choices)
        checked = checks.checked(asks, loaded, against, folder, tell)
        atomic.write_bytes(folder / OWED, spec_text(owed).encode())
        report = run.run(folder / OWED, folder / "owed", 0, terminal)
        if report.stopped:
            return None
        named = {
            name: Named(loaded=one, checked=row)
            for name, one, row in zip(asks.names, loaded, checked, strict=True)
        }
        answers = deployments.answers(owed, named, report)
        found = deployments.deployments(owed, named, answers, against.why, folder)
        result = _result(owed, answers, found, against.trace, asks.command(chosen))
        return _written(result, folder, tell), folder


def _result(
    owed: Asked, answers: Answers, found: list[Deployment], trace: Trace | None, command: str
) -> Verification:
    word, reasons = verification.together(found)
    return Verification(
        schema=verification.SCHEMA,
        word=word,
        reasons=reasons,
        family=owed.rules.family,
        against=None if trace is None else trace.path.name,
        deployments=tuple(found),
        rows=tuple(answers.rows),
        not_run={one.name: one.not_run for one in suites(owed) if one.not_run is not None},
        command=command,
        exit_code=verification.exit_code(found),
        provenance={
            "enginediff": version("enginediff"),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


def _written(result: Verification, folder: Path, tell: Callable[[str], None]) -> Verification:
    """With the day on which it was verified: what is done is told again, and not asked again."""
    if (folder / RESULT).exists():
        written = orjson.loads((folder / RESULT).read_bytes())["provenance"]["written"]
        tell(f"done on {written}, and nothing was asked now; --run names a folder to begin anew in")
        result = replace(result, provenance={**result.provenance, "written": written})
    atomic.write_bytes(folder / RESULT, verification.to_json(result, folder))
    atomic.write_bytes(folder / PAGE, verification_page.page(result).encode())
    return result


def _refuse_unfit(asks: How, tell: Callable[[str], None]) -> None:
    """Raises ConfigError for what the doctor finds in the way."""
    names = [name for name in asks.names if not candidate.is_url(name)]
    if not names:
        return
    tell("doctor: looking at the pins and this node")
    wrong = [
        f"  {one.title}, {line.area}: {line.what}"
        for one in doctor.of_pins(names, asks.changes, None, tell)
        for line in one.lines
        if line.severity in doctor.EXIT_CODES
    ]
    if wrong:
        raise ConfigError("the doctor finds in the way:\n" + "\n".join(wrong))
