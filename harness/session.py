"""One check from end to end: what can be refused is refused, then launch, ask, judge, write.

runs/<id>/  engine.log  reference.log  tokens/evidence.parquet  verdict.json  report.html
            issue.md and narrowing/ where it is DIFFERENT
"""

from __future__ import annotations

import platform
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import candidate, check, evidence, narrowing, recorder, sequences, verdict
from harness import live as live_reference
from harness.base import atomic, strict_toml
from harness.base.errors import ConfigError
from harness.base.home import home
from harness.candidate import Opened
from harness.checker.calibration import (
    AGREED,
    Calibration,
    changed,
    chosen,
    few_prompts,
    of_trace,
)
from harness.checker.diagnosis import diagnose
from harness.checker.features import Seen
from harness.checker.outcome import Word
from harness.checker.tolerance import ALL, ClassTolerances
from harness.levels import forced as forced_level
from harness.levels import reproduction
from harness.levels.state import Check, Settings
from harness.narrowing import Narrower
from harness.recorder import Known
from harness.recording import Trace
from harness.report import issue_text, page
from harness.verdict import Verdict
from launchers import pins
from launchers.model_files import silent
from launchers.pins import LoadedPin
from launchers.reference import RECORDED, ReferenceDialect, recorded
from launchers.registry import launcher
from suites import corpus

Announce = Callable[[str], None]


def new_run() -> Path:
    """A run directory of its own; made when its first file is written."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return home() / "runs" / f"{stamp}-{secrets.token_hex(3)}"


def check_candidate(
    name: str,
    changes: Sequence[str],
    *,
    against: Trace,
    numerics: str | None,
    settings: Settings,
    announce: Announce,
    run: Path | None = None,
    live: str | None = None,
    narrow: bool | None = False,
) -> tuple[Verdict, Path]:
    """The verdict of one candidate and its run directory. Raises an EnginediffError.

    `live`: the pin, the URL or the trace of a reference that is kept running meanwhile.
    `narrow`: whether a difference is narrowed by relaunching; None: where a launch is cheap.
    """
    loaded = candidate.prepared(name, changes, announce)
    tolerances = promised(loaded, numerics, against)
    wanted = None if live is None else live_reference.prepared(live, against, loaded, announce)
    run = run or new_run()
    log = run / "engine.log"
    with (
        live_reference.opened(wanted, against, run=run, announce=announce) as reference,
        candidate.opened(name, loaded, log=log, announce=announce) as opened,
    ):
        state, seconds = checked(
            opened,
            against,
            tolerances,
            settings,
            file=run / evidence.FILE,
            announce=announce,
            live=reference,
        )
    result = _verdict(state, tolerances, seconds, file=run / evidence.FILE, live=live)
    write(result, run)
    narrower = Narrower(
        name=name,
        loaded=loaded,
        trace=against,
        tolerances=tolerances,
        settings=settings,
        run=run,
        announce=announce,
    )
    found = narrowing.narrow(result, narrow, narrower)
    if found is not None:
        seen = Seen(
            levels=result.levels,
            rows=result.statistics,
            breakdown=result.breakdown,
            misrendered=state.misrendered,
            narrowing=found,
        )
        result = replace(result, narrowing=found, diagnosis=diagnose(seen))
        write(result, run)
    return result, run


def write(result: Verdict, run: Path) -> None:
    """All that is written of a verdict, each file whole or not at all."""
    atomic.write_bytes(run / "verdict.json", verdict.to_json(result, run))
    atomic.write_bytes(run / "report.html", page.page(result).encode())
    for file, content in issue_text.files(result).items():
        atomic.write_bytes(run / file, content)


def promise(
    name: str, changes: Sequence[str], numerics: str | None, announce: Announce = silent
) -> str:
    """The numerics class that a candidate is judged by, unless a trace's strictest is another.

    Raises ConfigError where the candidate could not be checked against any trace.
    """
    loaded = candidate.prepared(name, changes, announce)
    if numerics is not None and numerics not in pins.NUMERICS_CLASSES:
        known = " or ".join(pins.NUMERICS_CLASSES)
        raise ConfigError(f"--numerics is {numerics!r}; it must be {known}")
    _refuse_other_promise(loaded, numerics)
    return loaded.pin.numerics if loaded is not None else numerics or pins.NUMERICS_CLASSES[0]


def promised(loaded: LoadedPin | None, asked: str | None, trace: Trace) -> ClassTolerances:
    """What a candidate is held to. ConfigError where the trace is of another model."""
    tolerances = tolerances_of(trace, _numerics(loaded, asked, trace))
    _refuse_other_model(loaded, trace)
    return tolerances


def checked(
    opened: Opened,
    trace: Trace,
    tolerances: ClassTolerances,
    settings: Settings,
    *,
    file: Path,
    announce: Announce,
    live: Opened | None = None,
) -> tuple[Check, float]:
    """One whole check of a running engine, its evidence in `file`, and how many seconds it took.

    `live`: the reference, where it is running too.
    """
    with evidence.written(file) as evidence_file:
        began = time.monotonic()
        state = Check(
            opened=opened,
            trace=trace,
            tolerances=tolerances,
            settings=settings,
            evidence=evidence_file,
            announce=announce,
            live=live,
        )
        check.run(state)
        return state, time.monotonic() - began


def record_trace(
    name: str,
    changes: Sequence[str],
    *,
    path: Path,
    announce: Announce,
    classes: Sequence[str] | None = None,
    tokens_from: str | None = None,
    calibration: Calibration = AGREED,
    further: Sequence[str] = (),
    longest: int | None = None,
    one_in: int = 1,
) -> None:
    """Launches a reference pin (or attaches to a running one) and records it to `path`.

    `classes`: the numerics classes that the trace can judge, the strictest first; None: all that
    there is a benign pool for.
    `tokens_from`: the pin or URL that continues the prompts, and renders them for a reference
    without a tokenizer; None: the reference does.
    `further`: pins of engines known to be right, for the benign pools of their classes.
    `longest`: tokens up to which strata of long prompts are added; None: none is.
    `one_in`: of so many prompts of the corpus one is taken.
    """
    cases = corpus.load()[::one_in]
    loaded = candidate.prepared(name, changes, announce)
    kept = _recordable(name, loaded, classes)
    if tokens_from is None:
        _refuse_without_tokenizer(loaded)
        continue_by = None
    else:
        continue_by = continuing(tokens_from, loaded, announce)
    pool = [known_right(one, loaded, kept, announce) for one in dict.fromkeys(further)]
    log = new_run() / "engine.log"
    with candidate.opened(name, loaded, log=log, announce=announce) as opened:
        recorder.record(
            opened,
            cases,
            corpus=corpus.fingerprint(),
            path=path,
            announce=announce,
            classes=kept,
            continue_by=continue_by,
            calibration=calibration,
            further=pool,
            longest=longest,
        )


def _recordable(name: str, loaded: LoadedPin | None, asked: Sequence[str] | None) -> Sequence[str]:
    """The classes that a trace shall hold. ConfigError for one without a benign pool."""
    possible = RECORDED if loaded is None else recorded(loaded.model_path)
    for numerics in asked or ():
        if numerics not in possible:
            raise ConfigError(
                f"a trace of {name} can hold tolerances for {', '.join(possible)}, and none for "
                f"{numerics!r}: its checkpoint holds no such weights"
            )
    return asked or possible


def _refuse_without_tokenizer(loaded: LoadedPin | None) -> None:
    """Said before the weights are read. A URL says it of itself (`sequences.told`)."""
    if loaded is None or "tokenizer.json" in loaded.pin.model.files:
        return
    if isinstance(launcher(loaded.pin.engine.name).dialect(loaded), ReferenceDialect):
        why = f"{loaded.model_path}: no tokenizer.json"
        raise ConfigError(sequences.without_tokenizer(loaded.title, why))


def continuing(name: str, reference: LoadedPin | None, announce: Announce) -> sequences.Open:
    """Opens the engine that continues a reference's prompts, for just that. Raises ConfigError."""
    if reference is not None and not candidate.is_url(name):
        model, other = reference.pin.model.name, pins.read(name).pin.model.name
        if other != model:
            raise ConfigError(
                f"--tokens-from {name}: serves {other!r}, but {reference.title} is of {model!r}; "
                "name an engine that serves the same model"
            )
    return _opening(name, candidate.prepared(name, ()), announce)


def known_right(
    name: str, reference: LoadedPin | None, classes: Sequence[str], announce: Announce
) -> Known:
    """An engine that widens the benign pool of the class that its pin promises.

    ConfigError where it is of another model, tokenizer or class than the trace.
    """
    if candidate.is_url(name):
        raise ConfigError(
            f"--pool {name}: a running server says of itself neither its numerics class nor its "
            "tokenizer; name a pin"
        )
    loaded = candidate.prepared(name, (), announce)
    assert loaded is not None
    model, own = loaded.pin.model, None if reference is None else reference.pin.model
    if own is not None and model.name != own.name:
        raise ConfigError(f"--pool {name}: serves {model.name!r}; the trace is of {own.name!r}")
    if own is not None and pins.tokenizer_hash(model.files) != pins.tokenizer_hash(own.files):
        raise ConfigError(f"--pool {name}: has another tokenizer than {own.name!r} of the trace")
    if loaded.pin.numerics not in classes:
        raise ConfigError(
            f"--pool {name}: promises {loaded.pin.numerics}; the trace holds tolerances for "
            f"{', '.join(classes)}"
        )
    return Known(
        title=loaded.title,
        numerics=loaded.pin.numerics,
        open=_opening(name, loaded, announce),
    )


def _opening(name: str, loaded: LoadedPin | None, announce: Announce) -> sequences.Open:
    def open_it() -> AbstractContextManager[Opened]:
        log = new_run() / "engine.log"
        return candidate.opened(name, loaded, log=log, announce=announce)

    return open_it


def settings(
    trace: Trace | None,
    *,
    seed: int,
    alpha: float | None,
    beta: float | None,
    every_level: bool = False,
) -> Settings:
    """As the trace says, unless alpha or beta is given. Without a trace as is agreed."""
    recorded = AGREED if trace is None else of_trace(trace.manifest, str(trace.path))
    spec = chosen(None, alpha, beta, recorded)
    return Settings(seed=seed, alpha=spec.alpha, beta=spec.beta, every_level=every_level)


def weaknesses(trace: Trace) -> list[str]:
    """Why a trace cannot support EQUIVALENT, or supports less than a usual one: in words."""
    tables: list[dict[str, Any]] = trace.manifest["tolerances"]
    said = [
        f"{trace.path.name} cannot support EQUIVALENT for {table['numerics']}: {table['weakness']}"
        for table in tables
        if table["weakness"] is not None
    ]
    return [*said, *few_prompts(_prompts(trace))]


def _prompts(trace: Trace) -> Counter[str]:
    return Counter(trace.stratum_of)


def trace_of(name: str, *, classes: Sequence[str], announce: Announce, one_in: int = 1) -> Trace:
    """The trace at a path, or of a reference pin: recorded once, then kept under its hash.

    What is recorded here can judge the numerics `classes` alone: a class costs a minute or two.
    `one_in`: a short trace will do, of one prompt in so many, where there is no whole one.
    """
    if name.endswith(".trace") or (Path(name).is_file() and not name.endswith(".toml")):
        return Trace(Path(name))
    if candidate.is_url(name):
        path = new_run() / "reference.trace"
        record_trace(name, (), path=path, announce=announce, classes=classes, one_in=one_in)
        return Trace(path)
    loaded = pins.load(name)
    kind = "-".join(classes)
    key = f"{loaded.hash[:16]}-{corpus.fingerprint()[:8]}-{recorder.RECIPE}-{kind}"
    path = home() / "traces" / f"{name.removesuffix('.toml').replace('/', '-')}-{key}.trace"
    if not path.is_file() and one_in > 1:
        path = path.with_name(f"{path.stem}-one-in-{one_in}.trace")
    if not path.is_file():
        record_trace(name, (), path=path, announce=announce, classes=classes, one_in=one_in)
    return Trace(path)


def tolerances_of(trace: Trace, numerics: str) -> ClassTolerances:
    """The tolerances that a trace carries for a numerics class."""
    tables: list[dict[str, Any]] = trace.manifest["tolerances"]
    for table in tables:
        if table["numerics"] == numerics:
            return strict_toml.convert(ClassTolerances, table, f"{trace.path}: tolerances")
    known = ", ".join(table["numerics"] for table in tables)
    raise ConfigError(f"{trace.path} has tolerances for {known}, and none for {numerics!r}")


def _numerics(loaded: LoadedPin | None, asked: str | None, trace: Trace) -> str:
    """What the candidate promises: its pin says so; of a URL the strictest unless it is said."""
    if loaded is None:
        return asked or trace.manifest["tolerances"][0]["numerics"]
    _refuse_other_promise(loaded, asked)
    return loaded.pin.numerics


def _refuse_other_promise(loaded: LoadedPin | None, asked: str | None) -> None:
    if loaded is not None and asked not in (None, loaded.pin.numerics):
        raise ConfigError(
            f"--numerics {asked}: the pin {loaded.name} promises {loaded.pin.numerics}; "
            f"to change the promise say --set numerics={asked}"
        )


def _refuse_other_model(loaded: LoadedPin | None, trace: Trace) -> None:
    if loaded is None:
        return
    recorded = trace.manifest["model"]
    model = loaded.pin.model
    if model.name != recorded["name"]:
        raise ConfigError(
            f"{trace.path} was recorded of {recorded['name']!r}, but {loaded.name} serves "
            f"{model.name!r}: record a trace of that model, or check another pin"
        )
    if recorded["tokenizer"] not in (None, pins.tokenizer_hash(model.files)):
        raise ConfigError(
            f"{trace.path} was recorded with another tokenizer than that of {loaded.name} "
            f"(tokenizer.json or tokenizer_config.json in {loaded.model_path})"
        )


def _verdict(
    state: Check, tolerances: ClassTolerances, seconds: float, *, file: Path, live: str | None
) -> Verdict:
    """`file`: the evidence, closed."""
    trace, settings, numerics = state.trace, state.settings, tolerances.numerics
    word, level = verdict.combine(state.levels, tolerances.weakness)
    deciding = [result for result in state.levels if result.level == level]
    reasons = [reason for result in deciding for reason in result.reasons]
    rows = [row for judge in state.judges for row in judge.rows()]
    breakdown = {
        **state.breakdown.table(),
        "histogram": state.histogram.table(),
        "benign": trace.manifest["benign"][numerics],
        "paths": {judge.level: judge.paths() for judge in state.judges},
    }
    differs = word is Word.DIFFERENT
    seen = Seen(levels=state.levels, rows=rows, breakdown=breakdown, misrendered=state.misrendered)
    return Verdict(
        schema=verdict.SCHEMA,
        verdict=word,
        level=level,
        candidate=state.opened.described(),
        reference={"trace": trace.path.name, "sha256": trace.sha256, **trace.manifest["reference"]},
        numerics=numerics,
        reasons=tuple(reasons or [tolerances.weakness or "no data"]),
        caveats=verdict.caveats(
            tolerances,
            numerics,
            attached=state.opened.pin is None,
            rendered_by=trace.rendered_by,
            further=(
                *changed(
                    of_trace(trace.manifest, str(trace.path)),
                    alpha=settings.alpha,
                    beta=settings.beta,
                ),
                *few_prompts(_prompts(trace)),
            ),
        ),
        tokens=state.tokens,
        seconds=round(seconds, 3),
        launch_seconds=state.opened.launch_seconds,
        alpha=settings.alpha,
        beta=settings.beta,
        seed=settings.seed,
        every_level=settings.every_level,
        live=live,
        levels=tuple(state.levels),
        statistics=tuple(rows),
        tolerances=asdict(tolerances),
        breakdown=breakdown,
        worst_segment=forced_level.worst_segment_table(state),
        diagnosis=diagnose(seen) if differs else (),
        narrowing=None,
        reproduction=reproduction.of(state, file) if differs else None,
        provenance={
            "enginediff": version("enginediff"),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "benign_scale": tolerances.of(ALL).benign_mean_d,
        },
    )
