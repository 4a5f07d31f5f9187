"""Opens what a user named, a pin or the URL of a running server, as something to be asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness import fitting, ports
from harness.address import Address, address
from harness.base.errors import ConfigError, RequestError
from harness.client import Asker, Endpoint
from launchers import attached, environments, gpu_lock, pins, process, running, shimmed
from launchers.capabilities import Capabilities
from launchers.dialect import Reply, Request
from launchers.model_files import silent
from launchers.pins import LoadedPin
from launchers.prober import PROBE_TIMEOUT_S
from launchers.process import RunningProcess
from launchers.registry import launcher
from launchers.running import Comparison

Announce = Callable[[str], None]
RATE_LIMIT_RETRIES = 3  # of each request to somebody else's server
DYING_S = 1.0  # a broken connection is seen before the kernel has marked its process dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A running engine, and what is known of it."""

    asker: Asker
    title: str
    url: str
    pin: LoadedPin | None  # None: somebody else's server
    identity: dict[str, Any]
    launch_seconds: float | None
    running: Comparison | None  # the pin against what the engine says of itself; None: no pin
    capabilities: Capabilities | None = None  # None: all that its dialect can say
    bit_equal: str | None = None  # `Launcher.bit_equal`; None too where there is no pin
    process: RunningProcess | None = None  # None: no pin

    def described(self) -> dict[str, Any]:
        """For verdicts and traces."""
        pin = None
        if self.pin is not None:
            pin = {
                "name": self.pin.name,
                "hash": self.pin.hash,
                "changes": list(self.pin.shown_changes),
                "model_files": dict(self.pin.pin.model.files),
                "environment": self.pin.pin.engine.environment,
                "shims": {name: shimmed.digest(name) for name in self.pin.pin.engine.shims},
            }
        known = {"title": self.title, "pin": pin, "identity": self.identity}
        known["running"] = None if self.running is None else asdict(self.running)
        if self.capabilities is not None:
            known["capabilities"] = self.capabilities.table()
        return known


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """An engine that we started, and that answers."""

    process: RunningProcess
    endpoint: Endpoint
    began: float  # of the launch, by time.monotonic


def is_url(name: str) -> bool:
    return "://" in name


def prepared(
    name: str, changes: Sequence[str], announce: Announce = silent, *, joined: bool = False
) -> LoadedPin | None:
    """The pin, its model verified; None for a URL. Everything that can be refused cheaply is.

    `joined`: other nodes do their parts of a pin that takes several.

    A large model is read whole the first time, which `announce` tells of; then it is known.
    """
    if is_url(name):
        if changes:
            raise ConfigError(f"--set {changes[0]} changes a pin, but {name} is a running server")
        address(name)
        return None
    unread = pins.read(name, changes)
    launcher(unread.pin.engine.name)
    fitting.require_launchable(unread, joined=joined)
    loaded = pins.load(name, changes, announce)
    fitting.require_files(loaded)
    pins.verify_model(loaded, announce)
    return loaded


@contextmanager
def opened(
    name: str,
    loaded: LoadedPin | None,
    *,
    log: Path,
    announce: Announce,
    grace_s: float = process.GRACE_S,
    proceed: Callable[[], None] = lambda: None,
) -> Generator[Opened]:
    """Attaches to a URL, or starts the pin's engine and stops it when the block ends.

    `proceed` is called while it loads, and may raise EnginediffError to end that.

    It has `grace_s` to stop by itself. One that has died by then has answered nothing: LaunchError,
    whatever was heard.
    """
    if loaded is None:
        place = address(name)
        with Endpoint(place.base, retries=RATE_LIMIT_RETRIES) as endpoint:
            yield _attach(endpoint, place, announce)
        return
    with launched(loaded, log=log, announce=announce, grace_s=grace_s, proceed=proceed) as engine:
        asker = Asker(engine.endpoint, launcher(loaded.pin.engine.name).dialect(loaded))
        try:
            yield _opened(asker, loaded, log, engine)
            engine.process.require_alive()  # else another on its port may have answered for it
        except RequestError as error:
            time.sleep(DYING_S)
            engine.process.require_alive()  # a dead engine is the better explanation
            end = "\n".join(f"  {line}" for line in process.end_of_log(log))
            raise RequestError(f"{error}\nlog: {log}, which ends:\n{end}") from error


@contextmanager
def launched(
    loaded: LoadedPin,
    *,
    log: Path,
    announce: Announce,
    host: str = ports.LOOPBACK,
    port: int | None = None,
    grace_s: float = process.GRACE_S,
    proceed: Callable[[], None] = lambda: None,
) -> Generator[Launched]:
    """Starts the pin's engine, ready to answer on `host` and `port` (None: a free one), and stops
    it when the block ends."""
    environment = environments.build(loaded.pin.engine.environment, announce=announce)
    starter = launcher(loaded.pin.engine.name)
    port = port or process.free_port()
    command = starter.command(loaded, python=environment.python, port=port)
    if host != ports.LOOPBACK:  # every engine's parser takes the last of a flag given twice
        command = replace(command, argv=(*command.argv, "--host", host))
    announce(f"starting {loaded.title}")
    began = time.monotonic()
    with gpu_lock.held(loaded) as held, Endpoint(ports.url(host, port)) as endpoint:

        def ready() -> bool:
            proceed()
            try:
                return endpoint.get(starter.ready_path) is not None
            except ConfigError:  # nobody listens yet
                return False

        deadline = loaded.pin.engine.ready_deadline_s
        with process.running(
            command,
            log=log,
            ready=ready,
            deadline_s=deadline,
            announce=announce,
            grace_s=grace_s,
            held=held,
        ) as started:
            yield Launched(process=started, endpoint=endpoint, began=began)


def _opened(asker: Asker, loaded: LoadedPin, log: Path, engine: Launched) -> Opened:
    starter = launcher(loaded.pin.engine.name)
    # The first request with logprobs compiles (1.5 s, 15 s the very first time): it is launching.
    asker.score([(1, 2, 3)], 1, at_once=1)
    asked = {path: Request(path=path, body=None) for path in starter.questions}
    answers = {path: asker.endpoint.send(request) for path, request in asked.items()}
    reported = starter.reported(answers, log.read_text("utf-8", "replace"))
    return Opened(
        asker=asker,
        title=loaded.title,
        url=asker.endpoint.url,
        pin=loaded,
        identity=_identity(asker),
        launch_seconds=time.monotonic() - engine.began,
        running=running.compare(loaded.pin, reported),
        bit_equal=starter.bit_equal(loaded),
        process=engine.process,
    )


def _attach(endpoint: Endpoint, place: Address, announce: Announce) -> Opened:
    def ask(request: Request) -> Reply:
        return endpoint.ask(request, timeout_s=PROBE_TIMEOUT_S)

    dialect, capabilities = attached.attach(
        endpoint.get, ask, url=endpoint.url, model=place.model, announce=announce
    )
    asker = Asker(endpoint, dialect)
    return Opened(
        asker=asker,
        title=str(place),
        url=endpoint.url,
        pin=None,
        identity=_identity(asker),
        launch_seconds=None,
        running=None,
        capabilities=capabilities,
    )


def _identity(asker: Asker) -> dict[str, Any]:
    dialect = asker.dialect
    request = dialect.identity()
    return dialect.identified(b"" if request is None else asker.endpoint.send(request))
