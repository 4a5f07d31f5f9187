"""A pin: one TOML file that fixes everything that can change an engine's output.

Named by `MODEL/NAME` (shipped under `launchers/pins/`) or by a path, so that users keep their own.
`derive` changes single keys (`--set KEY=VALUE`) and gives a pin with a hash of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.base import strict_toml
from harness.base.errors import ConfigError
from launchers import derivation
from launchers.model_files import Announce, hash_files, hash_names, names, require_model, silent

SHIPPED = Path(__file__).parent / "pins"
MODELS = Path(__file__).parent / "models"
# What a pin can promise, the strictest first.
NUMERICS_CLASSES = ("fp32", "bf16", "int4-weights", "mxfp4-weights")
STATES = ("verified", "unverified", "unsupported")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTable:
    """Which engine, exactly."""

    name: str  # a row of launchers.registry
    version: str
    environment: str  # a lock file in launchers/locks
    ready_deadline_s: float  # from start to the first good answer
    parser: str | None = None  # the lock whose argument parser reads `args`; None: `environment`
    shims: tuple[str, ...] = ()  # folders of launchers/shims that it is started with


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTable:
    """Which weights, tokenizer and template, exactly."""

    name: str
    revision: str
    path: str  # a folder shipped in launchers/models, an absolute path, or one beside the pin
    files: Mapping[str, str]  # file name -> sha256, for every file that can change an output
    hub: str | None = None  # where the weights are published: ORGANISATION/NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingTable:
    """What a request of ours sends when nothing else is asked: always all of it."""

    temperature: float
    top_p: float
    top_k: int  # 0: off
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float


OWN = SamplingTable(  # the model's own distribution, untouched
    temperature=1.0,
    top_p=1.0,
    top_k=0,
    min_p=0.0,
    repetition_penalty=1.0,
    presence_penalty=0.0,
    frequency_penalty=0.0,
)
GREEDY = replace(OWN, temperature=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTable:
    """Cases of a contract that a release is known not to keep."""

    cases: str  # SUITE/CASE/WAY, with * for any text
    why: str
    share: float = 1.0  # of these cases in each suite, at most
    how: tuple[str, ...] = ("broken", "unanswered")  # they come out


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingTable:
    """How the engine is meant to face its users."""

    enforced: bool  # behind the gateway that refuses what the contract does not allow
    contract: str | None = None  # a file in launchers/contracts; None: the model has none
    # Raw answers (suites/data/streams.jsonl) that the release is known to parse otherwise than it
    # ought to: STREAM, or STREAM/unstreamed, STREAM/tokens, STREAM/pieces for some cuttings alone.
    # No part of the hash: it changes no output.
    known_deviations: tuple[str, ...] = ()
    known: tuple[KnownTable, ...] = ()  # likewise, of what `enginediff verify` asks


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentTable:
    """What the recipe needs. Memory and disk in GB (1e9 bytes), as model cards state them."""

    nodes: int
    gpus_per_node: int  # 0: it runs on processors alone
    gpu_memory_gb: float  # over all GPUs of all nodes: weights, and what the engine needs beside
    host_memory_gb: float  # of each node
    disk_gb: float  # the model's folder, on each node
    cpu_features: tuple[str, ...] = ()  # what its kernels want, in the Linux kernel's spelling
    join: JoinTable | None = None  # how several nodes become one engine; None: one node


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinTable:
    """Flags and variables that join nodes; launchers.joining has what stands in braces."""

    how: str  # in words
    args: Mapping[str, Any]  # as `Pin.args`
    worker_args: Mapping[str, Any]  # more, on every node but the first
    env: Mapping[str, str] = field(default_factory=dict[str, str])  # as `Pin.env`


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenanceTable:
    """Where the recipe comes from, and how far it was tried. Not part of the hash."""

    source: str
    state: str  # one of STATES; unsupported: `note` says why
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Everything that can change an output. `args` and `env` are the engine's own flags."""

    schema: int
    numerics: str  # the precision that this pin promises: it is judged by that class's tolerance
    hardware: str  # a hardware profile
    engine: EngineTable
    model: ModelTable
    args: Mapping[str, Any]  # flag without its dashes -> value
    env: Mapping[str, str]
    sampling: SamplingTable
    serving: ServingTable
    provenance: ProvenanceTable
    deployment: DeploymentTable | None = None  # None: any one machine


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPin:
    """A pin, its name, what `--set` changed in it, and its model's folder on this machine."""

    name: str
    pin: Pin
    changes: tuple[str, ...]
    model_path: Path

    @property
    def hash(self) -> str:
        """sha256 over all but what is only said of it: equal hashes promise equal outputs."""
        content = asdict(self.pin)
        del content["provenance"], content["serving"]["known_deviations"]
        del content["serving"]["known"]
        canonical = json.dumps(
            content, sort_keys=True, ensure_ascii=False, default=str
        )  # a TOML date
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def title(self) -> str:
        """What a reader sees: the name, and each change."""
        return " ".join([self.name, *(f"--set {change}" for change in self.shown_changes)])

    @property
    def shown_changes(self) -> tuple[str, ...]:
        """`changes` without the values of secrets: what is printed and written."""
        return tuple(map(derivation.shown, self.changes))


def load(name: str, changes: Sequence[str] = (), announce: Announce = silent) -> LoadedPin:
    """The pin `MODEL/NAME` or at a path, with `KEY=VALUE` changes. Raises ConfigError.

    Another `model.path` takes the hashes of that folder's files: large ones are read the first
    time, which `announce` tells of.
    """
    loaded = read(name, changes)
    if not takes_hashes(changes):
        return loaded
    model = replace(loaded.pin.model, files=hash_files(loaded.model_path, announce))
    return replace(loaded, pin=replace(loaded.pin, model=model))


def takes_hashes(changes: Sequence[str]) -> bool:
    """Whether the pin is derived with a model folder of the user's, whatever is in it."""
    return derivation.sets(changes, "model.path") and not derivation.sets(changes, "model.files")


def read(name: str, changes: Sequence[str] = ()) -> LoadedPin:
    """As `load`, with no file of a model read: those of another `model.path` are not known yet."""
    path = _locate(name)
    table = strict_toml.load(path)
    for change in changes:
        derivation.apply(table, change)
    where = f"{path} with {', '.join(changes)}" if changes else str(path)
    pin = strict_toml.convert(Pin, table, where)
    _check(pin, where)
    return LoadedPin(
        name=name,
        pin=pin,
        changes=tuple(changes),
        model_path=_model_folder(pin.model.path, path),
    )


def verify_model(loaded: LoadedPin, announce: Announce = silent) -> None:
    """Raises ConfigError unless the folder holds exactly the files that the pin fixes.

    Names are compared before anything is read, and weights are read last: they take minutes.
    """
    folder, pinned = loaded.model_path, loaded.pin.model.files
    require_model(folder)
    there = names(folder)
    missing = sorted(pinned.keys() - set(there))
    if missing:
        raise ConfigError(f"{folder}: {missing[0]} is missing; {loaded.name} pins it")
    unpinned = [name for name in there if name not in pinned]
    if unpinned:
        found = hash_names(folder, unpinned[:1], announce)
        raise ConfigError(
            f"{folder}: {unpinned[0]} can change outputs and is not pinned; add it to "
            f"[model.files] of {loaded.name}, with sha256 {found[unpinned[0]]}"
        )
    weights = [name for name in there if name.endswith(".safetensors")]
    for part in ([name for name in there if name not in weights], weights):
        _require_pinned(loaded, hash_names(folder, part, announce))


def _require_pinned(loaded: LoadedPin, found: Mapping[str, str]) -> None:
    for name, sha256 in found.items():
        pinned = loaded.pin.model.files[name]
        if sha256 != pinned:
            raise ConfigError(
                f"{loaded.model_path / name} has sha256 {sha256}, but {loaded.name} pins "
                f"{pinned}; if the change is meant, say --set model.path="
                f"{loaded.model_path}: the derived pin takes the hashes as they are"
            )


def tokenizer_hash(files: Mapping[str, str]) -> str:
    """One hash over the tokenizer's files: two models may share it."""
    return hashlib.sha256(json.dumps([files.get(n) for n in TOKENIZER_FILES]).encode()).hexdigest()


def shipped() -> list[str]:
    """The names of all shipped pins."""
    return sorted(str(p.relative_to(SHIPPED).with_suffix("")) for p in SHIPPED.glob("*/*.toml"))


def _locate(name: str) -> Path:
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"{name}: there is no such file")
        return path
    path = SHIPPED / f"{name}.toml"
    if not path.is_file():
        raise ConfigError(
            f"there is no pin {name!r}; {_others(name)}; "
            "your own is named by its path, which ends in .toml"
        )
    return path


def _others(name: str) -> str:
    """The shipped pins of the same model, or the models: all pins are too many for one line."""
    model = name.partition("/")[0]
    siblings = [other for other in shipped() if other.startswith(f"{model}/")]
    if siblings:
        return f"of {model} there are {', '.join(siblings)}"
    models = ", ".join(sorted({other.partition("/")[0] for other in shipped()}))
    return f"shipped are pins of {models}, such as tiny-moe/vllm-cpu"


def _model_folder(path: str, pin: Path) -> Path:
    shipped_model = MODELS / path
    if "/" not in path and shipped_model.is_dir():
        return shipped_model
    return (pin.parent / Path(path).expanduser()).absolute()


def _check(pin: Pin, where: str) -> None:
    if pin.schema != 1:
        raise ConfigError(f"{where}: schema is {pin.schema}; this enginediff reads 1")
    if pin.numerics not in NUMERICS_CLASSES:
        known = ", ".join(NUMERICS_CLASSES)
        raise ConfigError(f"{where}: numerics is {pin.numerics!r}; it must be one of {known}")
    if pin.provenance.state not in STATES:
        known = ", ".join(STATES)
        raise ConfigError(
            f"{where}: provenance: state is {pin.provenance.state!r}; it must be one of {known}"
        )
    if pin.engine.ready_deadline_s <= 0:
        raise ConfigError(f"{where}: engine.ready_deadline_s must be above 0")
    if pin.provenance.state == "verified" and not pin.model.files:
        raise ConfigError(f"{where}: model.files is empty; a verified pin fixes its model's files")
    if pin.deployment is not None:
        _check_deployment(pin.deployment, where)


def _check_deployment(table: DeploymentTable, where: str) -> None:
    on_gpus = ("gpus_per_node", "gpu_memory_gb")
    if not any(getattr(table, name) for name in on_gpus):
        on_gpus = ()
    for name in ("nodes", "disk_gb", *on_gpus):
        if not getattr(table, name) > 0:
            raise ConfigError(f"{where}: deployment.{name} must be above 0")
    if (table.nodes > 1) != (table.join is not None):
        raise ConfigError(
            f"{where}: deployment.join says how several nodes become one engine; it must be there "
            f"for more than one node and only then, and deployment.nodes is {table.nodes}"
        )
