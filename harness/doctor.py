"""What stands between a pin and its launch on this node, found in seconds and with nothing started.

    recipe       how far it was tried, and whether it is supported
    flags        the engine's own argument parser, of the pinned version, and what that lets through
    environment  whether the engine's packages are there
    model        whether the folder holds the files that the pin fixes
    node         the hardware against the pin's profile, and against what its recipe needs

Without a pin: this node against a profile, or which of the shipped ones it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from harness import fitting
from harness.base.errors import ConfigError
from hw_profiles import node as profiles
from hw_profiles import probe
from hw_profiles.audit import audit
from hw_profiles.finding import Finding
from hw_profiles.reading import Driver, Gpu, Node, Unknown
from launchers import argv, contracts, environments, pins
from launchers.argv import Problem
from launchers.pins import LoadedPin
from launchers.registry import launcher

Announce = Callable[[str], None]
# wrong: the pin or what it names; blocking: the node; unknown revisions and the like only warn
Severity = Literal["good", "warning", "blocking", "wrong"]
EXIT_CODES: dict[Severity, int] = {"wrong": 2, "blocking": 4}
UNPINNED_REVISIONS = ("main", "master", "latest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was looked at."""

    area: str
    severity: Severity
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All that was looked at for one pin, or for the node alone."""

    title: str
    pin_hash: str | None  # None: the node alone
    lines: tuple[Line, ...]
    model_files: dict[str, str] | None  # hashes to be kept in a pin of the user's; None: none new


def exit_code(diagnoses: Sequence[Diagnosis]) -> int:
    """2 where a pin is wrong, else 4 where the node is not the one for it, else 0."""
    found = {line.severity for diagnosis in diagnoses for line in diagnosis.lines}
    return next((code for severity, code in EXIT_CODES.items() if severity in found), 0)


def to_table(diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    """For JSON."""
    content = [asdict(diagnosis) for diagnosis in diagnoses]
    return {"schema": 1, "exit_code": exit_code(diagnoses), "diagnoses": content}


def of_pins(
    names: Sequence[str], changes: Sequence[str], profile: str | None, announce: Announce
) -> list[Diagnosis]:
    """Raises ConfigError for a pin or profile that cannot be read, BuildError and LaunchError where
    a parser's environment cannot be built or run."""
    loaded = named(names, changes, profile)
    problems = _problems(loaded, announce)
    return [
        _of_pin(one, [*_recipe(one), *_flags(one, found)], profile, announce)
        for one, found in zip(loaded, problems, strict=True)
    ]


def named(names: Sequence[str], changes: Sequence[str], profile: str | None) -> list[LoadedPin]:
    """Pins whose engines and profiles there are. Raises ConfigError."""
    loaded = [pins.read(name, changes) for name in names]
    for one in loaded:
        launcher(one.pin.engine.name)
        profiles.load(profile or one.pin.hardware)
    return loaded


def of_recipes(
    names: Sequence[str], changes: Sequence[str], profile: str | None, announce: Announce
) -> list[Diagnosis]:
    """Of pins what is the same on every node. Raises as `of_pins`."""
    loaded = named(names, changes, profile)
    problems = _problems(loaded, announce)
    return [
        Diagnosis(
            title=one.title,
            pin_hash=one.hash,
            lines=(*_recipe(one), *_flags(one, found)),
            model_files=None,
        )
        for one, found in zip(loaded, problems, strict=True)
    ]


def of_pins_here(
    names: Sequence[str], changes: Sequence[str], profile: str | None
) -> list[Diagnosis]:
    """Of pins what is of this node; nothing is built for it. Raises ConfigError."""
    loaded = named(names, changes, profile)
    return [_of_pin(one, (), profile, lambda _: None) for one in loaded]


def of_node(profile: str | None) -> Diagnosis:
    """This node against a profile; against all shipped ones where none is named."""
    node = probe.probe(None)
    lines = [Line(area="node", severity="good", what=what) for what in _described(node)]
    if profile is not None:
        lines += _differences(profile, audit(profiles.load(profile), node, needs=None))
        return Diagnosis(
            title=f"this node against {profile}",
            pin_hash=None,
            lines=tuple(lines),
            model_files=None,
        )
    for name in profiles.known():
        found = audit(profiles.load(name), node, needs=None)
        if all(finding.severity != "blocking" for finding in found):
            lines += _differences(name, found)
    return Diagnosis(title="this node", pin_hash=None, lines=tuple(lines), model_files=None)


def _problems(loaded: Sequence[LoadedPin], announce: Announce) -> list[list[Problem] | None]:
    """None: there is no parser to be asked."""
    answers = iter(argv.check([one for one in loaded if argv.has_parser(one)], announce))
    return [next(answers) if argv.has_parser(one) else None for one in loaded]


def _of_pin(
    read: LoadedPin, said: Sequence[Line], profile: str | None, announce: Announce
) -> Diagnosis:
    """`said`: what is known of it already."""
    loaded, model = _model(read, announce)
    _node, findings = fitting.audited(loaded, profile)
    lines = [
        *said,
        *_environment(loaded),
        *model,
        *_differences(profile or loaded.pin.hardware, findings),
    ]
    taken = loaded is not read and pins.takes_hashes(loaded.changes)  # else its files are unknown
    files = loaded.pin.model.files if taken else None
    return Diagnosis(
        title=loaded.title,
        pin_hash=loaded.hash,
        lines=tuple(lines),
        model_files=None if files is None else dict(files),
    )


def _recipe(loaded: LoadedPin) -> Iterator[Line]:
    provenance, table = loaded.pin.provenance, loaded.pin.deployment
    severities: dict[str, Severity] = {
        "verified": "good",
        "unverified": "warning",
        "unsupported": "wrong",
    }
    yield Line(
        area="recipe",
        severity=severities[provenance.state],
        what=f"{provenance.state}: {provenance.note}",
    )
    if loaded.pin.serving.contract is not None:
        yield from _contract(loaded.pin.serving.contract)
    if table is not None and table.join is not None:
        how = f"needs {table.nodes} nodes, which `enginediff run` joins: {table.join.how}"
        yield Line(area="recipe", severity="warning", what=how)


def _contract(name: str) -> Iterator[Line]:
    try:
        contracts.load(name)
    except ConfigError as error:
        yield Line(area="recipe", severity="wrong", what=f"serving.contract: {error}")


def _flags(loaded: LoadedPin, problems: list[Problem] | None) -> Iterator[Line]:
    if problems is None:
        what = "read by our own server when it starts; it refuses a wrong one at once"
        yield Line(area="flags", severity="good", what=what)
        return
    for problem in problems:
        severity: Severity = "wrong" if problem.error else "warning"
        yield Line(area="flags", severity=severity, what=problem.what)
    if not any(problem.error for problem in problems):
        what = f"accepted by the argument parser of {argv.environment(loaded)}"
        yield Line(area="flags", severity="good", what=what)


def _environment(loaded: LoadedPin) -> Iterator[Line]:
    name = loaded.pin.engine.environment
    try:
        built = environments.find(name) is not None
    except ConfigError as error:
        yield Line(area="environment", severity="wrong", what=str(error))
        return
    if built:
        yield Line(area="environment", severity="good", what=f"{name} is built")
    else:
        what = f"{name} is not built: enginediff env build {loaded.name} does, and a launch too"
        yield Line(area="environment", severity="warning", what=what)


def _model(read: LoadedPin, announce: Announce) -> tuple[LoadedPin, list[Line]]:
    """The pin with its files known, and what is to be said of them."""
    lines: list[Line] = []
    if read.pin.model.revision in UNPINNED_REVISIONS:
        what = f"revision {read.pin.model.revision!r} moves: two folders of it can differ"
        lines.append(Line(area="model", severity="warning", what=what))
    if not read.model_path.is_dir():
        chosen = fitting.chosen_folder(read)
        where = "no folder is named" if chosen is None else f"{chosen} is not there"
        what = f"{where}: {fitting.where_to_get(read)}, and say --set model.path=FOLDER"
        return read, [*lines, Line(area="model", severity="blocking", what=what)]
    try:
        loaded = pins.load(read.name, read.changes, announce)
        fitting.require_files(loaded)
        pins.verify_model(loaded, announce)
    except ConfigError as error:
        return read, [*lines, Line(area="model", severity="wrong", what=str(error))]
    count = len(loaded.pin.model.files)
    if pins.takes_hashes(loaded.changes):
        what = f"{count} files in {loaded.model_path}, taken as they are"
        return loaded, [*lines, Line(area="model", severity="warning", what=what)]
    what = f"{count} files in {loaded.model_path}, as pinned"
    return loaded, [*lines, Line(area="model", severity="good", what=what)]


def _differences(profile: str, findings: Sequence[Finding]) -> Iterator[Line]:
    for finding in findings:
        yield Line(area="node", severity=finding.severity, what=fitting.described(finding))
    if all(finding.severity != "blocking" for finding in findings):
        yield Line(area="node", severity="good", what=f"as the profile {profile} demands")


def _described(node: Node) -> Iterator[str]:
    if isinstance(node.driver, Unknown):
        yield f"GPUs: {node.driver.reason}"
    else:
        yield from _gpus(node.driver)
    system = node.system
    yield f"processor: {_shown(system.cpu)}, {_shown(system.cores)} cores, {system.threads} threads"
    yield f"vector units: {_shown(system.cpu_features)}"
    memory, free = system.memory_gb, system.memory_available_gb
    yield f"host memory: {_shown(memory)} GB, {_shown(free)} GB of it free"


def _gpus(driver: Driver) -> Iterator[str]:
    yield f"driver {_shown(driver.version)}, CUDA {_shown(driver.cuda)}, {len(driver.gpus)} GPUs"
    for gpu in driver.gpus:
        if isinstance(gpu, Gpu):
            yield f"GPU {gpu.index}: {_shown(gpu.name)}, {_shown(gpu.memory_mib)} MiB"
        else:
            yield f"a GPU that cannot be read: {gpu.reason}"


def _shown(value: object) -> str:
    if isinstance(value, Unknown):
        return f"unknown ({value.reason})"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:.0f}" if isinstance(value, float) else str(value)
