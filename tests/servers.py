"""Servers on this one machine, for tests of Ray: each with address, name and processes of its own.

Ray listens on every address that its host has, so it may run only in networks of our own making:

    the network: net, pid, mount, uts     bridge br0 of port0, port1, ...; ends when its stdin does
      |- folder/a/network: net            eth0 is 10.77.0.1, joined to port0; a file, no process
      |    `- server a: pid, mount, uts   /tmp/ray is its own, its hostname is "a"
      `- folder/b/network: net            eth0 is 10.77.0.2, joined to port1
           `- server b

A server's network outlives its processes: whoever talks to a server that was killed is told so by
the kernel, as on real machines, and whoever talks to one without power hears nothing.

The network's stdin is a pipe from the process that made it. However that process ends, by SIGKILL
too, the pipe closes, process 1 of the network ends, and the kernel kills whatever ran in there.

Trade-offs accepted: a process that the test forks, without an exec, holds that pipe as well. Users,
IPC and the file system outside /tmp/ray are shared. Stands on iproute2, util-linux, coreutils 8.31.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.base.home import home

RAY_PORT = 6379
RAY_FOLDER = Path("/tmp/ray")
UNSHARE = ("unshare", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc")
BRIDGE = "ip link set lo up; ip link add br0 type bridge; ip link set br0 up"
STAY = "echo up; exec env --ignore-signal=CHLD"  # a process 1 that reaps orphans
BOOT = f'mount -t tmpfs ray {RAY_FOLDER}; echo "$0" > /proc/sys/kernel/hostname'
PLUG = """
    unshare --net="$0" true
    ip link add "$1" type veth peer name eth0 netns "$0"
    ip link set "$1" master br0 up
    nsenter --net="$0" ip address add "$2/24" dev eth0
    nsenter --net="$0" ip link set eth0 up
    nsenter --net="$0" ip link set lo up
"""
# When Ray takes a silent server for dead. Measured with these: 36 s after its power went, 6 s after
# a kill; three calls made as a cut of 20 or 24 s began were answered by the same actor after 27 s,
# for TCP sends again some 26 s after the first loss, and not between 13 s and that. A threshold of
# 5 would end at 30 s, too near to it.
PATIENCE = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "6",
}


def can_make_namespaces() -> bool:
    """Whether this user may, on this machine: root or CAP_SYS_ADMIN, on Linux, with iproute2."""
    if shutil.which("unshare") is None:
        return False
    trial = f"{BRIDGE}; ip link add port0 type veth peer name eth0"
    command = [*UNSHARE, "--net", "sh", "-ec", trial]
    return subprocess.run(command, capture_output=True).returncode == 0


def pid_of(process: subprocess.Popen[str]) -> int:
    """The one child of `process`: what `Servers.run` started, by this machine's numbers.

    Signals to what `run` returned reach nsenter; SIGINT and the like are to be sent to this one.
    Raises ValueError where it has not begun, or has ended.
    """
    return _child_of(process.pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """All on one network. The first is the head of Ray's cluster, where there is one."""

    folder: Path  # absolute
    names: tuple[str, ...]
    network_pid: int
    alive: dict[str, subprocess.Popen[str]] = field(
        default_factory=dict[str, subprocess.Popen[str]]
    )
    commands: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def address(self, name: str) -> str:
        """10.77.0.1 for the first; the same in every life of the server."""
        return f"10.77.0.{self.names.index(name) + 1}"

    def home(self, name: str) -> Path:
        """The server's $ENGINEDIFF_HOME: this machine's environments, all else is its own."""
        return self.folder / name

    def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
    ) -> subprocess.Popen[str]:
        """Starts `command` on a server that is alive, with `env` besides this process's own.

        Ends as the command does. Whatever ends the returned process first kills the command, but
        no children of it; see also `pid_of`. Pipes are closed when the servers go.
        """
        started = subprocess.Popen(
            _inside(self._first_pid(name), command, cwd=cwd or Path.cwd()),
            env={**os.environ, "ENGINEDIFF_HOME": str(self.home(name)), **(env or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )
        self.commands.append(started)
        return started

    def start_ray(self, name: str, *, env: Mapping[str, str] | None = None) -> None:
        """Returns once Ray runs there, labelled enginediff-node=NAME; the first has to be first.

        Actors on the server inherit `env`. Raises CalledProcessError with Ray's output.
        """
        if name == self.names[0]:
            role = ["--head", f"--port={RAY_PORT}", "--include-dashboard=false"]
        else:
            role = [f"--address={self.address(self.names[0])}:{RAY_PORT}"]
        command = [
            *(str(Path(sys.executable).with_name("ray")), "start", *role),
            *(f"--node-ip-address={self.address(name)}", f"--labels=enginediff-node={name}"),
            *("--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats"),
        ]
        log = self.home(name) / "ray-start.log"
        with log.open("w") as file:
            settings = {**PATIENCE, **(env or {})}
            code = self.run(name, command, env=settings, stdout=file, stderr=file).wait()
        if code != 0:
            raise subprocess.CalledProcessError(code, command, log.read_text())

    def cut(self, name: str) -> None:
        """Nothing reaches the server any more, nor comes from it; nobody is told."""
        self._in_network("ip", "link", "set", self._port(name), "down")

    def mend(self, name: str) -> None:
        """The opposite of `cut`."""
        self._in_network("ip", "link", "set", self._port(name), "up")

    def kill(self, name: str) -> None:
        """SIGKILL to all that runs there; returns when it is gone. Peers are told by the kernel."""
        os.kill(self._first_pid(name), signal.SIGKILL)
        self.alive.pop(name).wait()

    def power_off(self, name: str) -> None:
        """`kill`, of which nobody is told."""
        self.cut(name)
        self.kill(name)

    def start(self, name: str) -> None:
        """A killed server boots: its link is up, /tmp/ray is empty, Ray does not run yet."""
        self.mend(name)
        boot = [*UNSHARE, "sh", "-ec", f"{BOOT}; {STAY} sleep infinity", name]
        command = ["nsenter", f"--net={self._network_file(name)}", *boot]
        log = self.home(name) / "boot.log"
        self.alive[name] = _up(
            _inside(self.network_pid, command, cwd=self.folder), log, stdin=subprocess.DEVNULL
        )

    def plug_in(self, name: str) -> None:
        """Makes the server's folder and network: once, before its first `start`."""
        self.home(name).mkdir()
        (self.home(name) / "environments").symlink_to(home() / "environments")
        if (hashes := home() / "model-hashes.jsonl").is_file():
            shutil.copy(hashes, self.home(name))
        file = self._network_file(name)
        file.touch()
        self._in_network("sh", "-ec", PLUG, str(file), self._port(name), self.address(name))

    def _network_file(self, name: str) -> Path:
        return self.home(name) / "network"

    def _port(self, name: str) -> str:
        return f"port{self.names.index(name)}"

    def _first_pid(self, name: str) -> int:
        """Of the server's process 1, by this machine's numbers: the child of unshare."""
        return _child_of(pid_of(self.alive[name]))

    def _in_network(self, *command: str) -> None:
        subprocess.run(_inside(self.network_pid, command, cwd=self.folder), check=True)


@contextmanager
def servers(folder: Path, names: Sequence[str]) -> Generator[Servers]:
    """Servers that have booted, the first at 10.77.0.1; all that runs there is killed at the end.

    Makes `folder`, and in it a folder for each, which must not be there yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    RAY_FOLDER.mkdir(exist_ok=True)  # each mounts its own over it
    command = [*UNSHARE, "--net", "sh", "-ec", f"{BRIDGE}; {STAY} cat"]
    with _up(command, folder / "network.log", stdin=subprocess.PIPE) as network:
        made = Servers(folder=folder.absolute(), names=tuple(names), network_pid=pid_of(network))
        try:
            for name in names:
                made.plug_in(name)
                made.start(name)
            yield made
        finally:
            assert network.stdin is not None
            network.stdin.close()
            for process in (*made.alive.values(), *made.commands):
                with process:  # closes its pipes and waits
                    pass


def _inside(pid: int, command: Sequence[str], *, cwd: Path) -> list[str]:
    """`command` in the namespaces of process `pid`; it is killed as soon as its nsenter ends."""
    return [
        *("nsenter", f"--target={pid}", "--net", "--pid", "--mount", "--uts"),
        *("setpriv", "--pdeathsig=KILL", "env", f"--chdir={cwd}", *command),
    ]


def _up(command: Sequence[str], log: Path, *, stdin: int) -> subprocess.Popen[str]:
    """Starts it and returns when it says that it is up. Raises ChildProcessError."""
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=file, text=True
        )
    assert process.stdout is not None
    with process.stdout as lines:
        if lines.readline() == "up\n":
            return process
    process.communicate()
    raise ChildProcessError(f"{' '.join(command)}: {log.read_text()}")


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
