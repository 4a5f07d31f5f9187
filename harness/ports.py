"""The port that a server is to listen on: claimed before anything slow begins."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path

from harness.base.errors import ConfigError
from launchers.process import free_port

LOOPBACK = "127.0.0.1"
LISTENS = "0A"  # the state, in /proc/net/tcp


def bound(host: str, port: int | None) -> socket.socket:
    """A socket bound to `host` and `port` (None: any free one); `listening` has it listen.

    Raises ConfigError where the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port or free_port(), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host {host}: is no address ({error})") from error
    listener = socket.socket(family, kind, protocol)
    # As engines do: a port whose last connections are still closing is free.
    _reusing(listener, on=True)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"--port {port}: is taken{_holder(port or 0)}") from error
        what = f"--host {host}" if error.errno == errno.EADDRNOTAVAIL else f"--port {port}"
        raise ConfigError(f"{what}: cannot be listened on: {error.strerror}") from error
    # Two that may both reuse an address may both be bound to it until one listens, minutes later.
    _reusing(listener, on=False)
    return listener


def listening(listener: socket.socket, backlog: int) -> None:
    """Has a bound socket listen. What it accepts may keep the port, closing, from no successor."""
    _reusing(listener, on=True)
    listener.listen(backlog)


def _reusing(listener: socket.socket, *, on: bool) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, on)


def url(host: str, port: int) -> str:
    """The base URL of a server; of one on every address, what this machine calls it by."""
    name = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _holder(port: int) -> str:
    """ " by NAME (process N)", as far as we may see it."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it is closed by now, or another user's
            if str(descriptor.readlink()) in sockets:
                process = descriptor.parents[1]
                return f" by {(process / 'comm').read_text().strip()} (process {process.name})"
    return ""


def _listening(port: int) -> set[str]:
    """The inodes of the sockets that listen on `port`."""
    inodes: set[str] = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == LISTENS:
                inodes.add(fields[9])
    return inodes
