"""What one node of a cluster says of itself, for `doctor --cluster`; nothing is started."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version

from harness.base.errors import LaunchError
from harness.nodes import survey
from harness.nodes.survey import Facts
from hw_profiles import node as profiles
from hw_profiles import probe
from hw_profiles.audit import audit
from launchers import process
from launchers.pins import LoadedPin

REACHED_S = 5.0  # a connection that is not refused, and not made by then, meets a firewall
HEAD_PORT = re.compile(r"\{head\}:(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where Ray says that a server is."""

    name: str  # that no other server has
    label: str  # what it was named by `ray start --labels`; empty: nothing
    address: str
    port: int  # of its raylet, which every other server's must reach
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a node is to find out beside what it is."""

    address: str  # its own
    ports: tuple[int, ...]  # that it needs there as the first node of an engine
    others: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """One node."""

    facts: Facts
    ray: str
    profiles: tuple[str, ...]  # the shipped ones whose demands it meets
    taken: Mapping[str, str]  # address of a port that cannot be had -> why
    unreached: Mapping[str, str]  # node -> why


def checkup(question: Question) -> Checkup:
    """Of this node, in seconds. Raises LaunchError where nothing can be written."""
    node = probe.probe(None)
    return Checkup(
        facts=survey.facts(),
        ray=version("ray"),
        profiles=tuple(
            name
            for name in profiles.known()
            if all(
                one.severity != "blocking" for one in audit(profiles.load(name), node, needs=None)
            )
        ),
        taken=_taken(question.address, question.ports),
        unreached=_unreached(question.others),
    )


def head_ports(loaded: LoadedPin) -> tuple[int, ...]:
    """At which the first of several nodes is to be met: `"{head}:20500"`, or `...-port = 20500`."""
    table = loaded.pin.deployment
    join = {} if table is None or table.join is None else table.join.args
    named = [value for key, value in join.items() if key.endswith("port")]
    met = [match[1] for value in join.values() if (match := HEAD_PORT.search(str(value)))]
    return tuple(sorted({int(port) for port in (*named, *met)}))


def _taken(address: str, ports: Sequence[int]) -> dict[str, str]:
    taken: dict[str, str] = {}
    try:
        process.free_port()
    except LaunchError as error:
        taken["127.0.0.1"] = str(error)
    for port in ports:
        with socket.socket() as probed:
            # As engines do: a port whose last connections are still closing is free.
            probed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probed.bind((address, port))
                probed.listen()
            except OSError as error:
                taken[f"{address}:{port}"] = str(error.strerror)
    return taken


def _unreached(others: Sequence[Place]) -> dict[str, str]:
    with ThreadPoolExecutor(max(1, len(others))) as pool:
        found = zip(others, pool.map(_refusal, others), strict=True)
        return {other.name: why for other, why in found if why is not None}


def _refusal(other: Place) -> str | None:
    """Why no connection is made; None: it is."""
    try:
        socket.create_connection((other.address, other.port), timeout=REACHED_S).close()
    except TimeoutError:
        return f"nothing within {REACHED_S:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return None
