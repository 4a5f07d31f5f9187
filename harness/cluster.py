"""Servers of a Ray cluster as a run's nodes: one actor on each. Only this module imports ray.

A server is named by its label `enginediff-node`, by a resource of that name, by its host name or
address: `ray start --labels enginediff-node=server-a`.

Ray tells a death from a cut, after a while: until it says that a server is dead, no word from it
means that it may be at work, and what it was given stays its own.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.attendant import Attendant
from harness.base.errors import ConfigError, EnginediffError, LaunchError
from harness.checkup import Checkup, Place, Question
from harness.doctor import Diagnosis
from harness.nodes import LostError, SilentError
from harness.prepared import Prepared
from harness.runs.shard import Shard
from harness.runs.spec import RunSpec
from harness.survey import EngineThere, Facts, Survey
from harness.worker import News, Orders

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
WORD_S = 2.0  # within which an exchange is answered, or there was no word
AGAIN_S = 0.5
CLOSE_S = 60.0  # for an engine to stop, and for what is asked at the end
TOLD_S = 30.0  # between two lines of whom is waited for
RESTORED_BYTES = 4 << 20  # of a journal, at a time
NO_IMPORT = "failed to import on the worker"  # in what Ray says of an actor
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
IDS = re.compile(r"^\s*(class_name|actor_id|namespace|pid|ip): .*$|Node Id: \w+", re.MULTILINE)
Announce = Callable[[str], None]


class Remote:
    """A server. Its threads: the one that minds it, and that of the survey before."""

    fetched = True

    def __init__(self, name: str, stopped: Callable[[], bool]) -> None:
        """`stopped`: whether nobody waits for an answer any more."""
        self.name, self._stopped = name, stopped
        self.address = ""  # since it was present
        self._place = ""  # Ray's id of the server
        self._actor: Any = None
        self._run = ""
        self._spec: RunSpec | None = None  # surveyed there
        self._before: RunSpec | None = None  # the same, of its life before
        self._known: Survey | None = None  # what it was at first, or is to be
        self._pending: Any = None  # an exchange that was not answered yet

    def present(self) -> bool:
        """Whether Ray says so now; it is not, where Ray cannot be asked."""
        if self._actor is None:
            try:
                nodes = ray.nodes()
            except exceptions.RayError:
                return False
            alive = [node for node in nodes if node["Alive"] and self.name in _names(node)]
            if not alive:
                return False
            # One that was lost and has come back may be listed twice until Ray sees it.
            place = next((node for node in alive if node["NodeID"] != self._place), alive[0])
            self._place = place["NodeID"]
            self.address = place["NodeManagerAddress"]
            pinned = NodeAffinitySchedulingStrategy(place["NodeID"], soft=False)
            made = ray.remote(Attendant).options(
                num_cpus=0, max_restarts=0, max_concurrency=8, scheduling_strategy=pinned
            )
            self._actor = made.remote(self.name)
        return True

    def survey(self, spec: RunSpec) -> Survey:
        """What it is, and the engines of a spec, verified and built. Takes minutes."""
        engines: tuple[EngineThere, ...] = self._called("engines", spec, str(Path.cwd()))
        found = Survey(
            node=self.name, facts=self.facts(), engines=engines, clock_ahead_s=self.ahead_s()
        )
        self._spec, self._known = spec, self._known or found
        return found

    def expect(self, survey: Survey, spec: RunSpec) -> None:
        """It is away now, and is to be as another is when it comes."""
        self._before, self._known = spec, survey

    def facts(self) -> Facts:
        return self._called("facts")

    def checkup(self, question: Question) -> Checkup:
        return self._called("checkup", question)

    def diagnose(
        self, names: Sequence[str], changes: Sequence[str], profile: str | None
    ) -> list[Diagnosis]:
        return self._called("diagnose", list(names), list(changes), profile)

    def ahead_s(self) -> float:
        """How far its clock is ahead of ours, give or take half of what the answer took."""
        before = time.time()
        there = self._called("clock")
        return there - (before + time.time()) / 2

    def enter(self, run: str) -> None:
        self._run = run

    def begin(self, engine: Prepared, n: int, shard: Shard) -> None:
        del engine  # it has its own, of the same hash
        self.require_surveyed()
        self._called("take", self._run)
        if shard.size and self._called("chain_at", self._run, n, shard.size) != shard.chain:
            self._restore(n, shard)
        self._called("begin", self._run, n, self.address)

    def exchange(self, orders: Orders) -> News:
        if self._pending is None:
            self._pending = self._actor.exchange.remote(orders)
        return self._awaited(WORD_S)

    def stop(self) -> None:
        if self._actor is not None:
            self._actor.stop.remote()

    def close(self) -> None:
        self._pending = None
        if self._actor is None:
            return
        try:
            self._called("end", within_s=CLOSE_S)
        except LostError:
            return
        except EnginediffError:  # it hangs, or what it has started does
            ray.kill(self._actor)
            self._lose()

    def forget(self, folder: Path, files: Sequence[str]) -> bool:
        """Keeps the ends of its engines' logs in `folder`; whether all else there is removed."""
        try:
            for n, file in enumerate(files):
                log: bytes = self._called("log_end", self._run, n, within_s=CLOSE_S)
                if log:
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / f"{file}-{self.name}.log").write_bytes(log)
            self._called("forget", self._run, within_s=CLOSE_S)
        except EnginediffError:
            return False
        return True

    def follow(self, n: int, life: str, rank: int, head: str) -> tuple[str, str]:
        """Its part of the `n`-th engine, which `head` leads, of that launch of it. A launch, that
        one or the one before, and why its part has ended, where it has.

        Raises LostError, LaunchError where it cannot be started, SilentError.
        """
        if self._pending is None:
            given = self._run, n, life, rank, head, self.address
            self._pending = self._actor.follow.remote(*given)
        return self._awaited(0.0)

    def require_surveyed(self) -> None:
        """A server that has come back is to be what it was. Raises ConfigError."""
        if self._spec is None:
            self._survey_again()

    def _awaited(self, within_s: float) -> Any:
        """The answer that is pending; SilentError leaves it so, or forgets it where it is lost."""
        try:
            answer = _answer(self.name, self._pending, within_s)
        except exceptions.GetTimeoutError as error:
            raise SilentError(f"{self.name}: no word") from error
        except SilentError:
            self._pending = None  # it may not have reached it
            time.sleep(AGAIN_S)
            raise
        except LostError:
            self._lose()
            raise
        except BaseException:
            self._pending = None
            raise
        self._pending = None
        return answer

    def _survey_again(self) -> None:
        """It is to be what it was, or what the others are. Raises ConfigError, each time."""
        assert self._before is not None and self._known is not None
        there, before = self.survey(self._before), self._known
        try:
            if there.facts.source != before.facts.source:
                raise ConfigError(f"{self.name}: runs another enginediff since it is back")
            for one, known in zip(there.engines, before.engines, strict=True):
                if one.error is not None:
                    raise one.error
                if one.prepared and known.prepared and one.prepared.hash != known.prepared.hash:
                    raise ConfigError(f"{self.name}: {one.name} is another pin since it is back")
        except EnginediffError:
            self._spec = None
            raise

    def _restore(self, n: int, shard: Shard) -> None:
        with shard.path.open("rb") as file:
            while piece := file.read(min(RESTORED_BYTES, shard.size - file.tell())):
                at = file.tell() - len(piece)
                self._called("restore", self._run, n, at, piece)

    def _called(self, method: str, *given: Any, within_s: float = math.inf) -> Any:
        """However long it takes, through cuts too: what is called may be called again.

        Raises LostError, SilentError where nobody waits any more, or what it raised.
        """
        until = time.monotonic() + within_s
        if not self.present():
            raise LostError(f"{self.name}: is not in the cluster")
        asked = getattr(self._actor, method).remote(*given)
        while True:
            try:
                return _answer(self.name, asked, WORD_S)
            except exceptions.GetTimeoutError:
                if self._stopped() or time.monotonic() > until:
                    raise SilentError(f"{self.name}: no word") from None
            except SilentError:
                if self._stopped() or time.monotonic() > until:
                    raise
                time.sleep(AGAIN_S)
                asked = getattr(self._actor, method).remote(*given)
            except LostError:
                self._lose()
                raise

    def _lose(self) -> None:
        self._actor = self._pending = None
        self._before, self._spec = self._spec or self._before, None


def surveyed(
    nodes: Sequence[Remote], spec: RunSpec, stop: Callable[[], None], announce: Announce
) -> list[Survey]:
    """All at once, which takes as long as models are read. Raises what the first of them raises.

    `stop`: has who waits for a node stop waiting, where this is interrupted.
    """
    with ThreadPoolExecutor(len(nodes)) as pool:
        asked = {pool.submit(node.survey, spec): node.name for node in nodes}
        try:
            while waiting := wait(asked, TOLD_S).not_done:
                announce(f"waiting for {', '.join(sorted(asked[one] for one in waiting))}")
            return [one.result() for one in asked]
        except LostError as error:
            raise LostError(f"while it was looked at: {error}") from error
        except BaseException:
            stop()
            raise


@contextmanager
def opened(
    names: Sequence[str] | None, stopped: Callable[[], bool], *, away: bool = False
) -> Generator[list[Remote]]:
    """The cluster that this machine is in, or that RAY_ADDRESS names; None: all of its servers.
    `away`: all but one of `names` may be.

    Ray prints of its own accord, on stdout too, which is kept for results. Raises ConfigError.
    """
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
            known = _alive()
            ids = [known[name]["NodeID"] for name in names or () if name in known]
            if len(set(ids)) < len(ids):
                raise ConfigError(f"nodes: {', '.join(names or ())}: two of them are one server")
            for name in names or ():
                if name not in known and not (away and known.keys() & set(names or ())):
                    raise ConfigError(
                        f"nodes: {name!r} is not in the Ray cluster; there are "
                        f"{', '.join(_named())}"
                    )
            yield [Remote(name, stopped) for name in names or _named()]
        finally:
            ray.shutdown()


def version() -> str:
    return ray.__version__


def places() -> list[Place]:
    """The servers that the cluster has, and those that it had. Inside `opened`."""
    alive = _by_own_name()
    found = {name: _place(name, node) for name, node in alive.items()}
    again = {name for node in alive.values() for name in _names(node)}
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


def _named() -> list[str]:
    """Each server that is alive."""
    return sorted(_by_own_name())


def _by_own_name() -> dict[str, Mapping[str, Any]]:
    """Servers that are alive, each by the first of its names that no other has: a resource can be
    that of many."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    count = Counter(name for node in alive for name in set(_names(node)))
    return {next(name for name in _names(node) if count[name] == 1): node for node in alive}


def _alive() -> dict[str, Mapping[str, Any]]:
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


COMMON = ("CPU", "GPU", "memory", "object_store_memory", "accelerator_type:")


def _answer(name: str, asked: Any, within_s: float) -> Any:
    """Raises GetTimeoutError, LostError, SilentError, or what the actor raised.

    ConfigError where there can be no actor, LaunchError for a disk that does not do its work.
    """
    try:
        return ray.get(asked, timeout=within_s)
    except exceptions.GetTimeoutError:
        raise
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
