"""A server of a Ray cluster as a run's node, by an actor on it.

Ray tells a death from a cut, after a while: until it says that a server is dead, no word from it
means that it may be at work, and what it was given stays its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.base.errors import ConfigError, EnginediffError
from harness.doctor import Diagnosis
from harness.nodes import raylets
from harness.nodes.attendant import Attendant
from harness.nodes.checkup import Checkup, Question
from harness.nodes.node import LostError, SilentError
from harness.nodes.prepared import Prepared
from harness.nodes.raylets import PendingError
from harness.nodes.survey import EngineThere, Facts, Survey
from harness.nodes.worker import News, Orders
from harness.runs.shard import Shard
from harness.runs.spec import RunSpec

WORD_S = 2.0  # within which an exchange is answered, or there was no word
AGAIN_S = 0.5
CLOSE_S = 60.0  # for an engine to stop, and for what is asked at the end
RESTORED_BYTES = 4 << 20  # of a journal, at a time


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
            if (place := raylets.found(self.name, self._place)) is None:
                return False
            self._place, self.address = place
            self._actor = raylets.attending(Attendant, self._place, self.name)
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
            raylets.kill(self._actor)
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
            answer = raylets.answer(self.name, self._pending, within_s)
        except PendingError:
            raise
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
                return raylets.answer(self.name, asked, WORD_S)
            except PendingError:
                if self._stopped() or time.monotonic() > until:
                    raise
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
