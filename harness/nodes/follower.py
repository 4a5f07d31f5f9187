"""A node's part of an engine that other nodes have parts of too, and that the first of them leads.

It is started anew with every launch of the leader's: neither engine comes back by itself from the
loss of the other's half.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from harness.base.errors import LaunchError
from launchers import environments, gpu_lock, process
from launchers.pins import LoadedPin
from launchers.process import RunningProcess
from launchers.registry import launcher

GRACE_S = 5.0


class Follower:
    """`end` it. Not thread-safe."""

    def __init__(self, placed: LoadedPin, log: Path) -> None:
        """`placed`: the node's part, of `launchers.joining`."""
        self._placed, self._log = placed, log
        self._open = ExitStack()
        self._life, self._process = "", None

    _process: RunningProcess | None

    def keep(self, life: str) -> str:
        """Its process of that launch is there, started where it was not. Why it ended, if it has.

        Raises LaunchError or BuildError where it cannot be started.
        """
        if life != self._life:
            self.end()
            self._start()
            self._life = life
        if self._process is None or self._process.alive():
            return ""
        try:
            self._process.require_alive()
        except LaunchError as error:
            return str(error)
        return ""

    def end(self) -> None:
        """Nothing is left of its process."""
        self._open.close()
        self._life, self._process = "", None

    def _start(self) -> None:
        pin = self._placed.pin
        environment = environments.build(pin.engine.environment, announce=lambda _: None)
        command = launcher(pin.engine.name).command(
            self._placed, python=environment.python, port=process.free_port()
        )
        held = self._open.enter_context(gpu_lock.held(self._placed))
        self._process = self._open.enter_context(
            process.started(command, log=self._log, grace_s=GRACE_S, held=held)
        )
