"""Several nodes as one engine: each node's part of a pin, as its `deployment.join` says.

{rank}       0 for the first node, which answers HTTP
{head}       the first node's address
{own}        this node's
{interface}  the network interface that has it
"""

from __future__ import annotations

import fcntl
import socket
import struct
from dataclasses import dataclass, replace
from typing import Any

from harness.base.errors import ConfigError
from launchers.pins import LoadedPin

SIOCGIFADDR = 0x8915  # the address of an interface: linux/sockios.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One node of an engine."""

    rank: int
    head: str
    own: str
    interface: str


def nodes(loaded: LoadedPin) -> int:
    """How many an engine of this pin takes."""
    return 1 if loaded.pin.deployment is None else loaded.pin.deployment.nodes


def here(rank: int, head: str, own: str) -> Part:
    """This machine as one. Raises ConfigError where it does not have that address."""
    for _, name in socket.if_nameindex():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            try:
                request = struct.pack("256s", name.encode())
                found = fcntl.ioctl(asked, SIOCGIFADDR, request)[20:24]
            except OSError:
                continue  # it has no IPv4 address
        if socket.inet_ntoa(found) == own:
            return Part(rank=rank, head=head, own=own, interface=name)
    raise ConfigError(f"no network interface of this machine has the address {own}")


def placed(loaded: LoadedPin, part: Part) -> LoadedPin:
    """What a node starts: the pin's flags and variables, and those that join it to the others.

    Its hash is none to speak of: the pin's own says it all.
    """
    table = loaded.pin.deployment
    if table is None or table.join is None:
        return loaded
    more = {**table.join.args, **(table.join.worker_args if part.rank else {})}
    args = {name: _filled(value, part) for name, value in more.items()}
    env = {name: str(_filled(value, part)) for name, value in table.join.env.items()}
    pin = replace(loaded.pin, args={**loaded.pin.args, **args}, env={**loaded.pin.env, **env})
    return replace(loaded, pin=pin)


def _filled(value: Any, part: Part) -> Any:
    if not isinstance(value, str):
        return value
    return value.format(rank=part.rank, head=part.head, own=part.own, interface=part.interface)
