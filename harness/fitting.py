"""Whether this node can run a pin: said before anything is downloaded, read or started."""

from __future__ import annotations

from pathlib import Path

from harness.base.errors import ConfigError, LaunchError
from hw_profiles import node as profiles
from hw_profiles import probe
from hw_profiles.audit import Needs, audit
from hw_profiles.finding import Finding
from hw_profiles.reading import Node
from launchers import derivation
from launchers.pins import LoadedPin


def needs(loaded: LoadedPin) -> Needs | None:
    """What the pin asks of one node; None for a pin that any machine can run."""
    table = loaded.pin.deployment
    if table is None:
        return None
    return Needs(
        gpu_memory_gb=table.gpu_memory_gb / table.nodes,
        host_memory_gb=table.host_memory_gb,
        disk_gb=table.disk_gb,
        folder=chosen_folder(loaded),
        cpu_features=table.cpu_features,
        gpus=table.gpus_per_node,
    )


def chosen_folder(loaded: LoadedPin) -> Path | None:
    """Where the model is or will be; None where a shipped pin leaves that to the user."""
    chosen = loaded.name.endswith(".toml") or derivation.sets(loaded.changes, "model.path")
    return loaded.model_path if chosen or loaded.model_path.is_dir() else None


def audited(loaded: LoadedPin, profile: str | None = None) -> tuple[Node, tuple[Finding, ...]]:
    """This node, and how it differs from the pin's hardware (or another profile) and needs."""
    wanted = profiles.load(profile or loaded.pin.hardware)
    asked = needs(loaded)
    node = probe.probe(None if asked is None else asked.folder)
    return node, audit(wanted, node, needs=asked)


def require_launchable(loaded: LoadedPin, *, joined: bool) -> None:
    """ConfigError for a pin that cannot be launched at all; LaunchError where this node is not the
    one for it. A pin for any machine is not audited: it runs or says why not within a minute.

    `joined`: other nodes do their parts.
    """
    provenance, table = loaded.pin.provenance, loaded.pin.deployment
    if provenance.state == "unsupported":
        raise ConfigError(f"{loaded.title} is not supported: {provenance.note}")
    if table is None:
        return
    if table.join is not None and not joined:
        raise ConfigError(
            f"{loaded.title} needs {table.nodes} nodes: `enginediff run` launches it on servers of "
            f"a Ray cluster (`nodes` of its spec). To join them by hand: {table.join.how}"
        )
    _node, findings = audited(loaded)
    blocking = [finding for finding in findings if finding.severity == "blocking"]
    if blocking:
        reasons = "\n".join(f"  {described(finding)}" for finding in blocking)
        raise LaunchError(f"{loaded.title} cannot be launched on this node:\n{reasons}")


def require_files(loaded: LoadedPin) -> None:
    """ConfigError where the pin fixes no model files yet."""
    if loaded.pin.model.files:
        return
    raise ConfigError(
        f"{loaded.title} fixes no model files yet: {where_to_get(loaded)}; "
        "--set model.path=FOLDER then takes their hashes as they are"
    )


def where_to_get(loaded: LoadedPin) -> str:
    """What the user has to bring, in words."""
    model, table = loaded.pin.model, loaded.pin.deployment
    size = "" if table is None else f" ({table.disk_gb:.0f} GB)"
    return f"get {model.hub or model.name} at revision {model.revision}{size}"


def described(finding: Finding) -> str:
    """One line: what is there, what must be, what to do."""
    return f"{finding.what}: {finding.found}; wanted {finding.wanted}; {finding.remedy}"
