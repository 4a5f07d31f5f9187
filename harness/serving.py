"""Serves a pin until it is stopped: the engine alone, or behind the gateway of its contract."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket

from harness import candidate, gateway, ports
from harness.base.errors import ConfigError
from harness.candidate import Announce
from harness.session import new_run
from launchers import contracts
from launchers.contracts import Contract
from launchers.pins import LoadedPin

POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen."""

    host: str
    port: int | None  # None: any free one


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A pin that is served. `require_running` raises an EnginediffError once it is not."""

    url: str
    require_running: Callable[[], None]


def serve(
    name: str,
    changes: Sequence[str],
    *,
    address: Address,
    enforce: bool,
    announce: Announce,
    tell: Callable[[str], None],
) -> None:
    """Tells the base URL once it answers, and ends by an exception alone: Ctrl-C, or LaunchError
    where the engine has died."""
    with served(name, changes, address=address, enforce=enforce, announce=announce) as serving:
        tell(serving.url)
        while True:
            serving.require_running()
            time.sleep(POLL_S)


@contextmanager
def served(
    name: str, changes: Sequence[str], *, address: Address, enforce: bool, announce: Announce
) -> Generator[Serving]:
    """Serves for the length of the block. What can be refused is refused before a launch."""
    loaded = candidate.prepared(name, changes)
    if loaded is None:
        raise ConfigError(f"{name} is a running server; serve starts the engine of a pin")
    contract = _contract(loaded) if enforce or loaded.pin.serving.enforced else None
    log = new_run() / "engine.log"
    with ports.bound(address.host, address.port) as listener:
        if contract is None:
            with _alone(loaded, listener, address.host, log, announce) as serving:
                announce(f"serving {loaded.title} as it is; log: {log}")
                yield serving
        else:
            with _held(loaded, contract, listener, address.host, log, announce) as serving:
                announce(f"serving {loaded.title}, held to {contract.family}; log: {log}")
                yield serving


@contextmanager
def _alone(
    loaded: LoadedPin, listener: socket, host: str, log: Path, announce: Announce
) -> Generator[Serving]:
    """The engine listens itself, on the port that was found to be free."""
    port = listener.getsockname()[1]
    listener.close()
    with candidate.launched(loaded, log=log, announce=announce, host=host, port=port) as engine:
        yield Serving(url=engine.endpoint.url, require_running=engine.process.require_alive)


@contextmanager
def _held(
    loaded: LoadedPin,
    contract: Contract,
    listener: socket,
    host: str,
    log: Path,
    announce: Announce,
) -> Generator[Serving]:
    """The engine stands on loopback, and the gateway before it."""
    url = ports.url(host, listener.getsockname()[1])
    with (
        candidate.launched(loaded, log=log, announce=announce) as engine,
        gateway.running(listener, engine=engine.endpoint.url, contract=contract) as front,
    ):

        def require_running() -> None:
            engine.process.require_alive()
            front.require_running()

        yield Serving(url=url, require_running=require_running)


def _contract(loaded: LoadedPin) -> Contract:
    family = loaded.pin.serving.contract
    if family is None:
        raise ConfigError(
            f"{loaded.name} names no sampling contract to enforce; "
            "say --set serving.contract=FAMILY, a file in launchers/contracts"
        )
    return contracts.load(family)
