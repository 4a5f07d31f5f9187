"""Ray, as far as it is used: the cluster that is joined, its servers and their names, an actor on
one of them, and what comes of a call. Only this module imports ray.

    PendingError    no answer yet: the call goes on
    SilentError     no word from the server: the call may not have reached it
    LostError       Ray says that the server, or the process there, is dead
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.base.errors import ConfigError, EnginediffError, LaunchError
from harness.nodes.checkup import Place
from harness.nodes.node import LostError, SilentError

try:
    import ray
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise ConfigError(
        "nodes other than local are servers of a Ray cluster, and ray is not installed: "
        'pip install "enginediff[ray]"'
    ) from error

LABEL = "enginediff-node"
NO_IMPORT = "failed to import on the worker"  # in what Ray says of an actor
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
IDS = re.compile(r"^\s*(class_name|actor_id|namespace|pid|ip): .*$|Node Id: \w+", re.MULTILINE)
COMMON = ("CPU", "GPU", "memory", "object_store_memory", "accelerator_type:")
AT_ONCE = 8  # calls of one actor
CONNECT_S = 10.0


class PendingError(SilentError):
    """A call was not answered in time; its answer can still be waited for."""


@contextmanager
def joined() -> Generator[None]:
    """The cluster that this machine is in, or that RAY_ADDRESS names.

    Ray prints of its own accord, on stdout too, which is kept for results. Raises ConfigError.
    """
    _refuse_nobody(os.environ.get("RAY_ADDRESS", ""))
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise ConfigError(
                f"no Ray cluster can be joined from here: {_brief(error)}\nstart one: ray start "
                f"--head --labels {LABEL}=NAME, and on each other server ray start --address=..."
            ) from error
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"the Ray cluster cannot be joined: {_brief(error)}") from error
        try:
            yield
        finally:
            ray.shutdown()


def _refuse_nobody(address: str) -> None:
    """Ray would wait for a minute for a head that is not there, and say nothing."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():  # that is for Ray to say
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"no Ray cluster can be joined from here: RAY_ADDRESS is {address}, and nobody "
            f"answers there ({error})"
        ) from error


def found(name: str, not_at: str) -> tuple[str, str] | None:
    """Ray's id and the address of a server that is alive; None: none is, or Ray cannot be asked.

    `not_at`: the id that it had. One that was lost and has come back may be listed twice until Ray
    sees it.
    """
    try:
        nodes = ray.nodes()
    except exceptions.RayError:
        return None
    alive = [node for node in nodes if node["Alive"] and name in _names(node)]
    if not alive:
        return None
    place = next((node for node in alive if node["NodeID"] != not_at), alive[0])
    return place["NodeID"], place["NodeManagerAddress"]


def attending(made_by: type, place: str, name: str) -> Any:
    """An actor on the server of that id; it dies with the server, and stays dead."""
    pinned = NodeAffinitySchedulingStrategy(place, soft=False)
    options = {"num_cpus": 0, "max_restarts": 0, "max_concurrency": AT_ONCE}
    return ray.remote(made_by).options(**options, scheduling_strategy=pinned).remote(name)


def kill(actor: Any) -> None:
    ray.kill(actor)


def places() -> list[Place]:
    """The servers that the cluster has, and those that it had. Inside `joined`."""
    there = _by_own_name()
    found = {name: _place(name, node) for name, node in there.items()}
    again = {name for node in there.values() for name in _names(node)}
    for node in ray.nodes():
        if not node["Alive"] and not again & set(_names(node)):
            name = _names(node)[0]
            found[name] = _place(name, node)
    return [found[name] for name in sorted(found)]


def _place(name: str, node: Mapping[str, Any]) -> Place:
    return Place(
        name=name,
        label=node["Labels"].get(LABEL, ""),
        address=node["NodeManagerAddress"],
        port=node["NodeManagerPort"],
        alive=node["Alive"],
    )


def names() -> list[str]:
    """Each server that is alive."""
    return sorted(_by_own_name())


def _by_own_name() -> dict[str, Mapping[str, Any]]:
    """Servers that are alive, each by the first of its names that no other has: a resource can be
    that of many."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    count = Counter(name for node in alive for name in set(_names(node)))
    return {next(name for name in _names(node) if count[name] == 1): node for node in alive}


def alive() -> dict[str, Mapping[str, Any]]:
    """Servers that are alive, as Ray describes them, by each of their names."""
    found: dict[str, Mapping[str, Any]] = {}
    for node in ray.nodes():
        if node["Alive"]:
            for name in _names(node):
                found[name] = node
    return found


def _names(node: Mapping[str, Any]) -> list[str]:
    label: str = node["Labels"].get(LABEL, "")
    own = [name for name in node["Resources"] if not name.startswith(("node:", *COMMON))]
    where = node["NodeManagerHostname"], node["NodeManagerAddress"], node["NodeID"]
    names = [label, *sorted(own), *where]
    return [name for name in names if name]


def answer(name: str, asked: Any, within_s: float) -> Any:
    """Of a call. Raises PendingError, SilentError, LostError, or what the actor raised.

    ConfigError where there can be no actor, LaunchError for a disk that does not do its work.
    """
    try:
        return ray.get(asked, timeout=within_s)
    except exceptions.GetTimeoutError as error:
        raise PendingError(f"{name}: no word") from error
    except exceptions.RayTaskError as error:
        if isinstance(error.cause, EnginediffError):
            raise type(error.cause)(f"{name}: {error.cause}") from None
        if isinstance(error.cause, OSError):
            raise LaunchError(f"{name}: {error.cause}") from None
        raise RuntimeError(f"on a server:\n{error}") from error
    except exceptions.ActorUnavailableError as error:
        raise SilentError(_brief(error)) from error
    except (exceptions.RayActorError, exceptions.ActorUnschedulableError) as error:
        if NO_IMPORT in str(error):
            raise ConfigError(
                f"{name}: Ray runs in a Python there that cannot import enginediff "
                f"({str(error).splitlines()[-1]}); start it from enginediff's own environment"
            ) from error
        raise LostError(_brief(error)) from error
    except exceptions.RayError as error:  # what it answered died with it, or it had no memory
        raise LostError(_brief(error)) from error


def _brief(error: BaseException) -> str:
    """What Ray says, without the many lines that it adds."""
    return " ".join(IDS.sub("", COLOUR.sub("", str(error))).split())[:500]
